"""The cache of a frozen backbone's tokens: what makes two of them the same, and what does not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from rsitr.nn.features import cached_tokens
from rsitr.nn.pixels import PixelFormat

PIXELS = PixelFormat(16, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bilinear")


class Grid(nn.Module):
    """One convolution, its output as tokens."""

    def __init__(self, **options):
        super().__init__()
        torch.manual_seed(0)
        self.convolution = nn.Conv2d(3, 4, 3, stride=8, **options)

    def forward(self, pixels):
        return self.convolution(pixels).flatten(2).transpose(1, 2)


@pytest.fixture
def pictures(tmp_path):
    paths = [tmp_path / f"{shade}.png" for shade in (20, 90, 200)]
    for path in paths:
        Image.new("RGB", (16, 16), (int(path.stem),) * 3).save(path)
    return paths


def tokens(backbone, pictures, tmp_path, pixels=PIXELS, hashes=("a", "b", "c")):
    return cached_tokens(backbone, pixels, pictures, list(hashes), tmp_path / "cache", "cpu")


def files(tmp_path):
    return len(list((tmp_path / "cache" / "tokens").glob("*.npy")))


def test_tokens_are_those_of_the_backbone(pictures, tmp_path):
    backbone = Grid()
    stored = tokens(backbone, pictures, tmp_path)
    assert (stored.shape, stored.dtype) == ((3, 4, 4), np.float16)
    flat = torch.stack([torch.full((3, 16, 16), (shade / 255 - 0.5) / 0.5) for shade in (20, 90, 200)])
    with torch.inference_mode():
        expected = backbone(flat)
    np.testing.assert_allclose(stored, expected.numpy(), atol=2e-3)


def test_the_same_backbone_and_images_are_computed_once(pictures, tmp_path):
    first = tokens(Grid(), pictures, tmp_path)
    for path in pictures:
        path.unlink()
    assert np.array_equal(tokens(Grid(), pictures, tmp_path), first)
    assert files(tmp_path) == 1


@pytest.mark.parametrize("damage", ["zeros", "cut", "no seal"])
def test_damaged_tokens_are_set_aside_and_computed_again(damage, pictures, tmp_path, capsys):
    first = np.array(tokens(Grid(), pictures, tmp_path))
    (path,) = (tmp_path / "cache" / "tokens").glob("*.npy")
    content = path.read_bytes()
    if damage == "no seal":
        path.with_name(f"{path.name}.sha256").unlink()
    else:
        path.write_bytes(content[:-8] + (bytes(8) if damage == "zeros" else b""))
    assert np.array_equal(tokens(Grid(), pictures, tmp_path), first)
    assert path.read_bytes() == content
    assert ("damaged: it is made again" in capsys.readouterr().err) == (damage != "no seal")


def test_equal_weights_in_other_layers_are_another_backbone(pictures, tmp_path):
    tokens(Grid(), pictures, tmp_path)
    padded = tokens(Grid(padding=1), pictures, tmp_path)
    assert files(tmp_path) == 2
    assert padded.shape == (3, 4, 4)


def test_other_pixels_and_other_images_are_computed_anew(pictures, tmp_path):
    tokens(Grid(), pictures, tmp_path)
    tokens(Grid(), pictures, tmp_path, pixels=PIXELS._replace(mean=(0.4, 0.5, 0.5)))
    tokens(Grid(), pictures, tmp_path, hashes=("a", "b", "d"))
    assert files(tmp_path) == 3
