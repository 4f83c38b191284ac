"""LW-MCR's image tower: bilinear pooling and attention against loops in float64, SqueezeNet's two maps."""

from __future__ import annotations

import math

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from rsitr.errors import ParamsError, WeightsUnavailable
from rsitr.methods.lw_mcr_blocks import (
    EPSILON,
    BilinearEmbedding,
    BilinearPooling,
    ChannelAttention,
    SpatialAttention,
    SqueezeNet,
)


def pooling(low=3, high=5, channels=2):
    torch.manual_seed(0)
    layer = BilinearPooling(low, high, channels).double().eval()
    for norm in (layer.low[1], layer.high_norm[0]):  # so that they do something, and not all of it is cut off
        norm.running_mean.uniform_(-0.5, 0.0)
        norm.running_var.uniform_(0.5, 2.0)
    return layer


def reduced(convolution, norm, maps):
    """The non-negative channels that a reduction makes of one image [C, h, w]."""
    weight, stride, border = convolution.weight, convolution.stride[0], convolution.padding[0]
    kernel = weight.shape[2]
    channels, height, width = maps.shape
    framed = torch.zeros(channels, height + 2 * border, width + 2 * border, dtype=torch.float64)
    framed[:, border : border + height, border : border + width] = maps
    sides = [(size - kernel) // stride + 1 for size in framed.shape[1:]]
    found = torch.zeros(len(weight), *sides, dtype=torch.float64)
    for k in range(len(weight)):
        for y in range(sides[0]):
            for x in range(sides[1]):
                patch = framed[:, y * stride : y * stride + kernel, x * stride : x * stride + kernel]
                value = (weight[k] * patch).sum() + convolution.bias[k]
                value = (value - norm.running_mean[k]) / math.sqrt(norm.running_var[k] + norm.eps)
                found[k, y, x] = max(float(value), 0.0)
    return found


@torch.no_grad()
@pytest.mark.parametrize(("side", "border"), [(8, 0), (15, 1)])
def test_bilinear_pooling_against_loops(side, border):
    """A high map of a quarter of the side; 15 halves to 8, twice 3 is 6, so one cell of zeros lies around it."""
    layer, (low, high) = (
        pooling(),
        (torch.rand(2, 3, side, side).double(), torch.rand(2, 5, side // 4, side // 4).double()),
    )
    found = layer(low, high)
    assert found.dtype == torch.float32
    for image in range(2):
        below = reduced(layer.low[0], layer.low[1], low[image])
        doubled = torch.zeros(5, *below.shape[1:], dtype=torch.float64)
        for y in range(2 * (side // 4)):
            for x in range(2 * (side // 4)):
                doubled[:, y + border, x + border] = high[image, :, y // 2, x // 2]
        above = reduced(layer.high, layer.high_norm[0], doubled)
        expected = torch.zeros(2, 2)
        for row in range(2):
            for column in range(2):
                expected[row, column] = math.sqrt(float((below[row] * above[column]).mean()) + EPSILON)
        for column in range(2):
            expected[:, column] /= math.sqrt(float((expected[:, column] ** 2).sum()))
        torch.testing.assert_close(found[image], expected, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(found[0], found[1], atol=1e-3)


def test_channels_that_never_answer_together_have_a_finite_gradient():
    layer = pooling().float()
    layer.low[1].bias.data.fill_(-100)
    low = torch.rand(1, 3, 8, 8, requires_grad=True)
    found = layer(low, torch.rand(1, 5, 2, 2))
    found.sum().backward()
    torch.testing.assert_close(found, torch.full((1, 2, 2), math.sqrt(0.5)))
    assert torch.isfinite(low.grad).all()


def test_channel_attention_by_hand():
    """Two channels squeezed into one, their sum, and excited by 1 and -1."""
    layer = ChannelAttention(2, 2)
    with torch.no_grad():
        layer.squeeze.weight.fill_(1)
        layer.excite.weight.copy_(torch.tensor([1.0, -1.0]).reshape(2, 1, 1, 1))
    maps = torch.tensor([[[[1.0, 3.0]], [[0.0, 2.0]]]])
    # Means 2 and 1 add up to 3, maxima 3 and 2 to 5: together 8 for the first channel, -8 for the second.
    gates = torch.tensor([8.0, -8.0]).sigmoid().reshape(1, 2, 1, 1)
    torch.testing.assert_close(layer(maps), maps * gates)


def test_spatial_attention_by_hand():
    """A kernel of one place: twice the mean less the maximum of the channels there."""
    layer = SpatialAttention(1)
    with torch.no_grad():
        layer.gate.weight.copy_(torch.tensor([2.0, -1.0]).reshape(1, 2, 1, 1))
    maps = torch.tensor([[[[1.0, 4.0]], [[3.0, 0.0]]]])
    torch.testing.assert_close(layer(maps), maps * torch.tensor([[[[1.0, 0.0]]]]).sigmoid())


def test_the_embedding_has_the_parameters_of_the_released_tower():
    tower = BilinearEmbedding(128, 512, 512, 0.2)
    # Counted from the layers of the authors' code: two reductions with their norms, two convolutions of 3 x 3 with norm
    # and one PReLU slope, channel attention 4-1-4 and 8-2-8, two of 7 x 7, linear 512-512.
    reductions = (128 * 9 + 1 + 2) * 64 + (512 + 1 + 2) * 64
    first = 4 * (9 + 1 + 2) + 1 + 8 + 98
    second = 8 * (4 * 9 + 1 + 2) + 1 + 32 + 98
    assert sum(p.numel() for p in tower.parameters()) == reductions + first + second + 512 * 513
    assert tower.eval()(torch.rand(2, 128, 63, 63), torch.rand(2, 512, 15, 15)).shape == (2, 512)


def test_squeezenet_gives_two_maps_that_pack_and_unpack():
    backbone = SqueezeNet("squeezenet1_1", "none", 256).eval()
    assert backbone.shapes == [(128, 63, 63), (256, 31, 31), (512, 15, 15)]
    assert backbone.pixels == (256, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "bilinear")
    pixels = torch.rand(2, 3, 256, 256)
    with torch.inference_mode():
        packed = backbone(pixels)
        maps = backbone.unpack(packed)
        assert packed.shape == (2, 1, sum(c * h * w for c, h, w in backbone.shapes))
        torch.testing.assert_close(maps.low[0], backbone.model.features[:5](pixels))
        torch.testing.assert_close(maps.high[-1], backbone.model.features(pixels))


def test_squeezenet_reads_torchvisions_file_and_leaves_out_its_classifier(tmp_path):
    from torchvision.models import squeezenet1_1

    whole = squeezenet1_1()
    save_file(whole.state_dict(), tmp_path / "squeezenet.safetensors")
    backbone = SqueezeNet("squeezenet1_1", str(tmp_path / "squeezenet.safetensors"), 64)
    assert torch.equal(backbone.model.features[0].weight, whole.features[0].weight)
    assert isinstance(backbone.model.classifier, nn.Identity)


def test_squeezenet_weights_that_cannot_be_had(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("rsitr.nn.weights.hub_reachable", lambda endpoint: False)
    with pytest.raises(WeightsUnavailable, match=r"squeezenet1_1-b8a52dc0.pth: the server cannot be reached: connect"):
        SqueezeNet("squeezenet1_1", "torchvision", 64)


@pytest.mark.parametrize("wrong", [{"weights": "timm"}, {"options": {"pad_type": "same"}}])
def test_squeezenet_is_not_timms(wrong):
    with pytest.raises(ParamsError, match="takes image_weights torchvision, none or a file, and no image_options"):
        SqueezeNet(**({"name": "squeezenet1_1", "weights": "none", "size": 64} | wrong))
