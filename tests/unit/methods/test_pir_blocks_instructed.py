"""A backbone with an instruction encoder: what it packs, what never learns, and what tells two instructions apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from torchvision.transforms import v2

from rsitr.errors import WeightsMismatch, WeightsUnavailable
from rsitr.methods.pir_blocks import InstructedBackbone, rescale
from rsitr.nn.features import cached_tokens
from rsitr.nn.pixels import PixelFormat
from rsitr.nn.seeds import seeded

SCENE_WEIGHTS = Path("checkpoints/scenes/tiny/resnet/model.safetensors")


def build(vision: str = "test_vit", instructor: str = "test_resnet", seed: int = 0, **more: Any) -> InstructedBackbone:
    with seeded(seed):
        return InstructedBackbone(
            name=vision, weights="none", size=160, instructor={"name": instructor, "weights": "none"} | more
        ).eval()


@pytest.mark.parametrize(
    ("vision", "instructor", "width"), [("test_vit", "test_resnet", 96), ("test_resnet", "test_vit", 64)]
)
@torch.no_grad()
def test_tokens_and_pooled_features_come_out_as_they_went_in(vision: str, instructor: str, width: int) -> None:
    backbone = build(vision, instructor)
    pixels = torch.rand(2, 3, 160, 160)
    packed = backbone(pixels)
    tokens, instruction = backbone.unpack(packed)
    with seeded(0):
        first = timm.create_model(vision, num_classes=0).eval()
        second = timm.create_model(instructor, num_classes=0).eval()
    found = first.forward_features(pixels)
    found = found if found.ndim == 3 else found.flatten(2).transpose(1, 2)
    assert packed.shape == (2, 1, found[0].numel() + width)
    torch.testing.assert_close(tokens, found, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(instruction, second(pixels), atol=1e-5, rtol=1e-4)


def test_both_models_see_the_same_image_each_in_its_own_statistics() -> None:
    image = torch.rand(2, 3, 4, 4)
    first = PixelFormat(4, (0.5, 0.4, 0.3), (0.5, 0.6, 0.7), "bicubic")
    second = PixelFormat(4, (0.1, 0.2, 0.3), (0.2, 0.2, 0.4), "bilinear")

    def seen(facts: PixelFormat) -> torch.Tensor:
        return (image - torch.tensor(facts.mean)[:, None, None]) / torch.tensor(facts.std)[:, None, None]

    torch.testing.assert_close(rescale(seen(first), first, second), seen(second))
    assert rescale(image, first, first) is image
    pixels = torch.rand(1, 3, 160, 160)
    other = build(mean=(0.1, 0.2, 0.3), std=(0.2, 0.2, 0.4))
    plain = build()
    assert plain.pixels.mean == (0.5, 0.5, 0.5)
    scaled = (pixels * 0.5 + 0.5 - torch.tensor([0.1, 0.2, 0.3])[:, None, None]) / torch.tensor([0.2, 0.2, 0.4])[
        :, None, None
    ]
    torch.testing.assert_close(other.instruct(pixels), plain.instruct(scaled), atol=1e-5, rtol=1e-4)


def test_an_instruction_encoder_may_have_a_size_of_its_own() -> None:
    pixels = torch.rand(2, 3, 160, 160)
    backbone = build(size=96)
    encoder = backbone._instructor[0]
    small = v2.functional.resize(pixels, [96, 96], v2.InterpolationMode(encoder.pixels.interpolation))
    assert (encoder.pixels.mean, encoder.pixels.std) == (backbone.pixels.mean, backbone.pixels.std)
    torch.testing.assert_close(backbone.instruct(pixels), encoder.model(small), atol=1e-4, rtol=1e-3)
    assert str(backbone) != str(build())


def test_the_instruction_encoder_never_learns() -> None:
    backbone = build("test_resnet").train()
    encoder = backbone._instructor[0]
    pixels = torch.rand(2, 3, 160, 160)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    backbone.requires_grad_(True)
    backbone(pixels).square().mean().backward()
    assert not encoder.training
    assert not any(parameter.requires_grad or parameter.grad is not None for parameter in encoder.parameters())
    # A batch norm in training mode would have moved its statistics.
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    assert all(parameter.grad is not None for parameter in backbone.model.parameters())
    assert set(backbone.state_dict()) == {f"model.{name}" for name in backbone.model.state_dict()}


def test_instructions_are_told_apart_by_weights_layers_and_statistics(tmp_path: Path) -> None:
    """The cache of tokens is keyed by how a backbone prints, which must therefore be the same for the same one."""
    plain = str(build())
    assert plain == str(build())
    assert len({plain, str(build(seed=1)), str(build(std=(0.2, 0.2, 0.2))), str(build(instructor="test_vit"))}) == 4


def test_tokens_are_cached_with_their_instruction(tmp_path: Path) -> None:
    from PIL import Image

    paths = [tmp_path / f"{number}.png" for number in range(2)]
    for number, path in enumerate(paths):
        Image.new("RGB", (160, 160), (number * 90, 40, 120)).save(path)
    found = []
    for instructor in ("test_resnet", "test_vit"):
        backbone = build(instructor=instructor)
        found.append(cached_tokens(backbone, backbone.pixels, paths, ["0", "1"], tmp_path, "cpu"))
    assert found[0].shape != found[1].shape
    assert len(list((tmp_path / "tokens").glob("*.npy"))) == 2
    assert not np.array_equal(found[0][0], found[0][1])


def test_a_scene_classifier_of_the_project_instructs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    location = "scenes://tiny/resnet"
    with pytest.raises(WeightsUnavailable, match="run `rsitr run scenes/tiny/resnet`"):
        build(weights=location)
    with seeded(5):
        classifier = timm.create_model("test_resnet", num_classes=0)
    SCENE_WEIGHTS.parent.mkdir(parents=True)
    save_file({name: value.contiguous() for name, value in classifier.state_dict().items()}, SCENE_WEIGHTS)
    state = build(weights=location)._instructor[0].model.state_dict()
    assert all(torch.equal(value, classifier.state_dict()[name]) for name, value in state.items())
    with pytest.raises(WeightsMismatch, match="belongs to another architecture"):
        build(instructor="test_vit", weights=location)
