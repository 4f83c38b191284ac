"""The pyramid of a backbone's maps, and MVSA against its equations written as loops in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import Tensor

from rsitr.errors import ParamsError
from rsitr.nn.pyramid import MVSA, Pyramid, PyramidBackbone, _together
from rsitr.nn.seeds import seeded


def pyramid(name: str = "test_resnet", size: int = 32, low_levels: int = 2) -> PyramidBackbone:
    with seeded(0):
        return PyramidBackbone(name=name, weights="none", size=size, low_levels=low_levels).eval()


@pytest.mark.parametrize(
    ("name", "size", "low_levels", "sides", "channels"),
    [
        ("test_resnet", 32, 2, [8, 4, 2, 1], [32, 48, 192, 96]),
        ("test_resnet", 64, 3, [32, 16, 8, 4, 2], [32, 32, 48, 192, 96]),
        ("resnet18", 64, 2, [16, 8, 4, 2], [64, 128, 256, 512]),
        # What follows the last level of a MobileNetV2, a convolution to 1,280 channels, belongs to it.
        ("mobilenetv2_100", 64, 2, [16, 8, 4, 2], [24, 32, 96, 1280]),
        ("tf_efficientnet_lite0", 64, 2, [16, 8, 4, 2], [24, 40, 112, 1280]),
    ],
)
def test_maps_of_all_levels(name: str, size: int, low_levels: int, sides: list[int], channels: list[int]) -> None:
    backbone = pyramid(name, size, low_levels)
    pixels = torch.rand(2, 3, size, size)
    with torch.inference_mode():
        packed = backbone(pixels)
        low, high = backbone.unpack(packed)
        last = backbone.model.forward_features(pixels)
        within = timm.create_model(name, features_only=True).feature_info.channels()
    assert packed.shape == (2, 1, sum(c * s * s for c, s in zip(channels, sides, strict=True)))
    assert [level.shape[2] for level in (*low, *high)] == sides
    assert [level.shape[1] for level in (*low, *high)] == channels
    assert (len(low), len(high)) == (low_levels, 2)
    torch.testing.assert_close(high[1], last)
    assert channels[:-1] == within[-len(channels) : -1]


def test_a_pyramid_is_told_from_other_tokens_of_the_same_layers() -> None:
    assert str(pyramid(low_levels=2)) != str(pyramid(low_levels=3))


@pytest.mark.parametrize(
    ("name", "size", "low_levels", "message"),
    [
        ("vit_tiny_patch16_224", 224, 2, "vit_tiny_patch16_224 has no feature maps of 4 levels"),
        ("test_resnet", 32, 4, "has no feature maps of 6 levels"),
        ("test_resnet", 40, 2, "image_size must halve evenly"),
    ],
)
def test_a_backbone_or_size_that_does_not_fit_is_refused(name: str, size: int, low_levels: int, message: str) -> None:
    with pytest.raises(ParamsError, match=message):
        pyramid(name, size, low_levels)


def maps() -> Pyramid:
    """Low features of 16 x 16 and high ones of 4 x 4, with odd channels."""
    generator = torch.Generator().manual_seed(0)

    def level(channels: int, side: int) -> Tensor:
        return torch.randn(2, channels, side, side, generator=generator, dtype=torch.float64)

    return Pyramid([level(2, 16), level(3, 8)], [level(4, 4), level(5, 2)])


def build(form: Any) -> MVSA:
    with seeded(1):
        return MVSA([(2, 16, 16), (3, 8, 8)], [(4, 4, 4), (5, 2, 2)], 7, form).double()


def larger(level: np.ndarray, side: int) -> np.ndarray:
    """Nearest neighbour."""
    step = side // level.shape[-1]
    return np.array([[[row[x // step] for x in range(side)] for row in np.repeat(c, step, 0)] for c in level])


def prelu(value: float, slope: float) -> float:
    return value if value > 0 else slope * value


def sigmoid(value: float) -> float:
    return 1 / (1 + np.exp(-value))


def halved(maps: np.ndarray, weights: dict[str, np.ndarray], layer: str) -> np.ndarray:
    """Eq. 14 once: 3 x 3 windows in steps of two, and a PReLU."""
    side, framed = maps.shape[1] // 2, np.pad(maps, ((0, 0), (1, 1), (1, 1)))
    kernel, bias, slope = (
        weights[f"{layer}.0.weight"],
        weights[f"{layer}.0.bias"],
        float(weights[f"{layer}.1.weight"][0]),
    )
    return np.array(
        [
            [
                [
                    prelu((kernel[c] * framed[:, 2 * y : 2 * y + 3, 2 * x : 2 * x + 3]).sum() + bias[c], slope)
                    for x in range(side)
                ]
                for y in range(side)
            ]
            for c in range(3)
        ]
    )


def slowly(mvsa: MVSA, low: list[np.ndarray], high: list[np.ndarray], form: str) -> np.ndarray:
    """Eqs. 7-9 and 14-19 for one image, cell by cell."""
    weights = {name: value.detach().numpy() for name, value in mvsa.state_dict().items()}
    below = np.concatenate([low[0], larger(low[1], 16)])
    above = np.concatenate([high[0], larger(high[1], 4)])
    slope = float(weights["high_act.weight"][0]) if form == "paper" else 1.0
    if form == "paper":
        # Two layers, to 8 x 8 and to 4 x 4, each framed by zeros.
        below = halved(halved(below, weights, "low.0"), weights, "low.1")
    attention = np.zeros((4, 4))
    for y in range(4):
        for x in range(4):
            window = below[:, 4 * y : 4 * y + 3, 4 * x : 4 * x + 3]
            first = (
                below[:, y, x]
                if form == "paper"
                else [(weights["low.weight"][c] * window).sum() + weights["low.bias"][c] for c in range(3)]
            )
            second = [
                prelu((weights["high.weight"][c, :, 0, 0] * above[:, y, x]).sum() + weights["high.bias"][c], slope)
                for c in range(3)
            ]
            mean = above[:, y, x].mean() if form == "paper" else np.mean(second)
            joint = np.array([*first, *second]) + mean
            if form == "paper":
                joint = joint / np.sqrt((joint**2).sum())
            content, gate = (
                (weights[f"{name}.weight"][0, :, 0, 0] * joint).sum() + weights[f"{name}.bias"][0]
                for name in ("content", "gate")
            )
            attention[y, x] = content * sigmoid(gate)
    return attention


@pytest.mark.parametrize("form", ["paper", "released"])
def test_mvsa_is_its_equations(form: str) -> None:
    mvsa, found = build(form), maps()
    attention = mvsa.attention(found).detach().numpy()
    for image in range(2):
        low, high = ([level[image].numpy() for level in side] for side in found)
        expected = slowly(mvsa, low, high, form)
        np.testing.assert_allclose(attention[image], expected, atol=1e-12)
        weight, bias = (mvsa.mask.state_dict()[name].numpy() for name in ("weight", "bias"))
        mask = sigmoid(weight @ expected.flatten() + bias)
        np.testing.assert_allclose(mvsa(found)[image].detach().numpy(), mask, atol=1e-12)


def test_saliency_goes_from_0_to_1_in_every_image() -> None:
    saliency = build("paper").saliency(maps())
    assert saliency.shape == (2, 4, 4)
    assert saliency.amin((1, 2)).tolist() == [0, 0]
    torch.testing.assert_close(saliency.amax((1, 2)), torch.ones(2).double())


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_the_first_layer_reads_the_enlarged_maps_without_enlarging_them(levels: int) -> None:
    shapes = [(5, 32, 32), (4, 16, 16), (3, 8, 8)][:levels]
    high = [(6, 16 >> levels - 1, 16 >> levels - 1), (6, 8 >> levels - 1, 8 >> levels - 1)]
    with seeded(0):
        mvsa = MVSA(shapes, high, 8, "paper").double()
        maps = [torch.randn(2, *shape, dtype=torch.float64) for shape in shapes]
    found, expected = mvsa._low(maps), mvsa.low(_together(maps))
    torch.testing.assert_close(found, expected)
    weights = list(mvsa.low.parameters())
    gradients = [torch.autograd.grad(side.square().sum(), weights) for side in (found, expected)]
    torch.testing.assert_close(*gradients)
