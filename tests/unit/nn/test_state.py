"""Checkpoints as people have them."""

from __future__ import annotations

from argparse import Namespace
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from rsitr.errors import UnsafeWeights, WeightsMismatch
from rsitr.nn.state import load_state, read_state

STATE = {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.tensor([1.0, 2.0])}


def prefixed(prefix: str) -> dict[str, torch.Tensor]:
    return {f"{prefix}{name}": value for name, value in STATE.items()}


@pytest.mark.parametrize(
    "content",
    [
        STATE,
        OrderedDict(STATE),
        {"model": STATE, "config": {"lr": 1e-3}},
        {"epoch": 3, "model_state_dict": STATE, "optimizer_state_dict": {"lr": np.float32(0.1)}},
        {"state_dict": prefixed("module."), "best": np.int64(5), "seen": np.bool_(True), "half": np.float16(1)},
        {"state_dict": prefixed("model."), "hyper_parameters": Namespace(width=3)},
        {"model": {"state_dict": prefixed("module._orig_mod.")}},
        prefixed("_orig_mod."),
    ],
    ids=["plain", "ordered", "model", "model_state_dict", "numpy", "lightning", "nested", "compiled"],
)
def test_the_tensors_of_the_model_are_found(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "file.pt")
    found = read_state(tmp_path / "file.pt")
    assert found.keys() == STATE.keys()
    assert all(torch.equal(found[name], value) for name, value in STATE.items())
    module = nn.Linear(3, 2)
    assert load_state(module, tmp_path / "file.pt") == []
    assert torch.equal(module.weight, STATE["weight"])


def test_prefixes_of_safetensors_are_stripped_and_those_of_some_names_stay(tmp_path: Path) -> None:
    save_file(prefixed("module."), tmp_path / "file.safetensors")
    assert read_state(tmp_path / "file.safetensors").keys() == STATE.keys()
    save_file({}, tmp_path / "empty.safetensors")
    assert read_state(tmp_path / "empty.safetensors") == {}
    torch.save(prefixed("model.") | {"criterion.scale": torch.ones(1)}, tmp_path / "some.pt")
    assert sorted(read_state(tmp_path / "some.pt")) == ["criterion.scale", "model.bias", "model.weight"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"epoch": 3, "optimizer": {}}, "holds no tensors by name, only 'epoch', 'optimizer'"),
        ([1, 2], "holds no tensors by name: it is not the checkpoint of a model"),
        ({}, "holds no tensors by name: "),
        ({"model": {"a": 1}}, "holds no tensors by name, only 'model'"),
    ],
)
def test_what_holds_no_tensors_is_told(content: Any, message: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "file.pt")
    with pytest.raises(WeightsMismatch, match=message):
        read_state(tmp_path / "file.pt")


def test_programs_and_whole_models_are_refused_with_the_cause_and_without_advice_to_run_them(tmp_path: Path) -> None:
    torch.jit.script(nn.Linear(3, 2)).save(str(tmp_path / "program.pt"))
    with pytest.raises(
        WeightsMismatch, match=r"program\.pt is a program of TorchScript: get the state_dict"
    ) as program:
        read_state(tmp_path / "program.pt")
    torch.save(nn.Linear(3, 2), tmp_path / "whole.pt")
    with pytest.raises(
        UnsafeWeights, match=r"asks for code to be run \(GLOBAL torch\.nn\.modules\.linear\.Linear\)"
    ) as whole:
        read_state(tmp_path / "whole.pt")
    (tmp_path / "cut.pt").write_bytes((tmp_path / "whole.pt").read_bytes()[:200])
    with pytest.raises(WeightsMismatch, match="compare its size and checksum with those of its source") as cut:
        read_state(tmp_path / "cut.pt")
    for caught in (program, whole, cut):
        assert "weights_only" not in str(caught.value)


class TestPartly:
    """Files that fit a model in part."""

    @pytest.fixture
    def model(self) -> nn.Module:
        """Twenty tensors."""
        return nn.Sequential(*(nn.Linear(2, 2) for _ in range(10)))

    def test_nearly_all_may_be_loaded_where_the_rest_is_skipped(self, model: nn.Module, tmp_path: Path) -> None:
        state = {name: value for name, value in model.state_dict().items() if name not in ("9.weight", "9.bias")}
        save_file(state, tmp_path / "file.safetensors")
        assert load_state(model, tmp_path / "file.safetensors", "skip") == ["2 missing: 9.weight, 9.bias"]
        save_file({name: state[name] for name in state if name != "8.bias"}, tmp_path / "file.safetensors")
        with pytest.raises(WeightsMismatch) as caught:
            load_state(model, tmp_path / "file.safetensors", "skip")
        assert "17 of the model's 20 tensors fit; 3 missing: 8.bias, 9.weight, 9.bias" in str(caught.value)
        assert "skip" not in str(caught.value)

    def test_the_names_of_transformers_are_read(self, tiny_clip: str, clip_folder: Path) -> None:
        import open_clip

        with pytest.raises(WeightsMismatch, match=r"1 of the model's 38 tensors fit; 37 of another shape: "):
            load_state(open_clip.create_model(tiny_clip), clip_folder / "model.safetensors", "skip")
