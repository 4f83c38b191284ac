"""From image files to batches of pixels, each augmentation drawn from its own seed."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from rsitr.datasets.images import load_rgb
from rsitr.nn.seeds import derive, seeded


class PixelFormat(NamedTuple):
    """How a backbone expects its pixels."""

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str


class PixelDataset(Dataset[Tensor]):
    """Images [3, size, size] of a list of files.

    With ``augment`` other than ``none`` an index is a pair (epoch, position), and the same pair gives the same pixels
    in any process and in any order, which exact resuming relies on.
    """

    def __init__(self, paths: list[Path], pixels: PixelFormat, augment: str = "none", seed: int = 0):
        self.paths = paths
        self.seed = seed
        self.transform = _transform(pixels, augment)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: tuple[int, int]) -> Tensor:
        """Pixels of image ``position`` as epoch ``epoch`` sees it."""
        epoch, position = index
        with seeded(derive(self.seed, "augment", epoch, position)):
            return self.transform(load_rgb(self.paths[position]))


def preprocess(images: Tensor, pixels: PixelFormat) -> Tensor:
    """Pixels [B, 3, size, size] of uint8 images [B, 3, H, W] of one size, as ``PixelDataset`` makes them of files."""
    return _transform(pixels, "none")(images)


def as_pixels(image: Image.Image, pixels: PixelFormat) -> Tensor:
    """Pixels [3, size, size] of a picture, as ``PixelDataset`` makes them of a file."""
    return _transform(pixels, "none")(image)


def _transform(pixels: PixelFormat, augment: str):  # type: ignore[no-untyped-def]
    from torchvision.transforms import v2

    mode = v2.InterpolationMode(pixels.interpolation)
    to_tensor = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(pixels.mean, pixels.std)]
    if augment == "none":
        return v2.Compose([v2.Resize(pixels.size, mode), v2.CenterCrop(pixels.size), *to_tensor])
    if augment == "rotate-crop":
        larger = v2.Resize(round(pixels.size * 278 / 256), mode)
        return v2.Compose([larger, v2.RandomRotation((0, 90), mode), v2.RandomCrop(pixels.size), *to_tensor])
    changes = [v2.RandomResizedCrop(pixels.size, (0.5, 1.0), interpolation=mode), v2.RandomHorizontalFlip()]
    if augment == "randaugment":
        changes.append(v2.RandAugment(2, 7))
    return v2.Compose([*changes, *to_tensor])
