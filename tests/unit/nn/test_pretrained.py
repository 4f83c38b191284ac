"""Pretrained weights are noted with the hash of their bytes where they are loaded, without a path of the machine."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from rsitr.nn import pretrained
from rsitr.nn.backbones import ImageBackbone
from rsitr.nn.pretrained import note, noted
from rsitr.nn.text import TransformerEncoder
from rsitr.records.artefact import Pretrained


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Those of a small ResNet."""
    torch.manual_seed(1)
    path = tmp_path / "own.safetensors"
    save_file(timm.create_model("test_resnet", num_classes=0).state_dict(), path)
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_file_is_noted_by_its_name_and_its_bytes(weights: Path) -> None:
    with noted() as found:
        ImageBackbone("test_resnet", str(weights), 32)
    assert found == {
        "image_weights": Pretrained(location="own.safetensors", files={"own.safetensors": sha256(weights)})
    }


def test_two_parts_of_a_model_are_told_apart_by_their_settings(weights: Path) -> None:
    with noted() as found:
        ImageBackbone("test_resnet", "none", 32)
        ImageBackbone("test_resnet", str(weights), 32, setting="instruction_weights")
    assert list(found) == ["instruction_weights"]


def test_blocks_may_be_nested_and_what_is_loaded_after_them_is_not_noted(weights: Path) -> None:
    with noted() as outer:
        note("first", "mirror://weights/own.safetensors", weights)
        with noted() as inner:
            note("second", "package://own/own.safetensors", weights)
    note("third", "own", weights)
    assert (list(outer), list(inner)) == (["first", "second"], ["second"])
    assert outer["first"].location == "mirror://weights/own.safetensors"


def test_a_file_is_hashed_once_while_it_stays_as_it_is_and_only_if_somebody_asks(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[Path] = []
    monkeypatch.setattr(pretrained, "sha256_file", lambda path: hashed.append(path) or str(len(hashed)))
    note("image_weights", "own", weights)
    assert hashed == []
    for _ in range(2):
        with noted() as found:
            note("image_weights", "own", weights)
    assert (hashed, found["image_weights"].files) == ([weights], {"own.safetensors": "1"})


def test_a_text_encoder_is_its_weights_its_shape_and_its_tokenizer(tiny_bert: Path) -> None:
    with noted() as found:
        TransformerEncoder(str(tiny_bert), 8)
    names = ["model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json"]
    expected = {name: sha256(tiny_bert / name) for name in names}
    assert found == {"text_weights": Pretrained(location=tiny_bert.name, files=expected)}
