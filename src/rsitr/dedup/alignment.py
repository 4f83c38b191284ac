"""The exact stage: lay one image over a box of the other, and compare them there pixel by pixel."""

from __future__ import annotations

from functools import reduce
from typing import NamedTuple

import numpy as np
import torch
from torch.nn.functional import avg_pool2d, grid_sample

from rsitr.dedup.fingerprints import turn
from rsitr.dedup.thumbnails import SIZE, Pictures

LEVELS = ((16, 5, 0.35), (32, 3, 0.5), (SIZE, 3, float("-inf")))
"""Pixels per side, Gauss-Newton steps, and the correlation of detail below which a pair is discarded after them."""
FINE, COARSE, AROUND = 3, 7, 9
"""Sides in pixels: of the means whose difference is the detail, and of the area in which its strength is levelled."""
NOISE = 4.0
"""Square of the strength, in grey values, below which detail is not levelled."""
BLOCK, STRONG, FAINT, AGREE = 8, 4.0, 1.0, 0.5
"""For blocks that have to agree: side in pixels, squares of minimum strength and of noise, minimum correlation."""
BATCH, POOLED = 1024, 64
"""Pairs that are aligned at once, and images whose means are taken at once."""
LARGEST_STEP = 0.1


class Alignment(NamedTuple):
    """How well pairs of images agree when one is laid over a box of the other."""

    box: np.ndarray
    """float32 [N, 4]: top, left, height, width in shares of the whole image's sides."""
    detail: np.ndarray
    """float32 [N]: correlation of the detail at 64 x 64 pixels; -1 where the pair was discarded before."""
    agreement: np.ndarray
    """float32 [N]: share of the blocks with any detail whose detail agrees; 1 where no block has any."""


class Pyramid:
    """Lightness of a set's thumbnails, from coarse to fine; the coarsest level, which all pairs look at, is kept."""

    def __init__(self, pixels: Pictures | np.ndarray, rows: np.ndarray):
        """Of ``pixels``, uint8 [N, 64, 64, 3], the images that are looked at: ``rows``, each of them once or more."""
        self.pixels, self.rows = pixels, np.unique(rows)
        size = LEVELS[0][0]
        self.coarse = np.empty((len(self.rows), size, size), dtype=np.float16)
        for start in range(0, len(self.rows), BATCH):
            self.coarse[start : start + BATCH] = _lightness(pixels[self.rows[start : start + BATCH]], size)

    def take(self, size: int, rows: np.ndarray, orientation: np.ndarray | None = None) -> torch.Tensor:
        """Images of one level, turned by their orientations: float32 [N, 1, size, size]."""
        if size == LEVELS[0][0]:
            images = self.coarse[np.searchsorted(self.rows, rows)]
        else:
            distinct, place = np.unique(rows, return_inverse=True)
            images = _lightness(self.pixels[distinct], size)[place]
        if orientation is not None:
            for place in np.unique(orientation):
                chosen = orientation == place
                images[chosen] = turn(images[chosen][..., None], place)[..., 0]
        return torch.from_numpy(images.astype(np.float32))[:, None]


def _lightness(pixels: np.ndarray, size: int) -> np.ndarray:
    """Means of squares of pixels: float16 [N, size, size] of uint8 [N, 64, 64, 3]."""
    # Sums of slices are several times as fast as NumPy's sums over short axes.
    side = SIZE // size
    fine = (pixels[..., 0].astype(np.uint16) + pixels[..., 1] + pixels[..., 2]).astype(np.float32)
    squares = (fine / np.float32(3)).reshape(-1, size, side, size, side)
    rows = reduce(np.add, (squares[..., column] for column in range(side)))
    return (reduce(np.add, (rows[:, :, row] for row in range(side))) / np.float32(side * side)).astype(np.float16)


def align(
    wholes: Pyramid, parts: Pyramid, whole: np.ndarray, part: np.ndarray, orientation: np.ndarray, box: np.ndarray
) -> Alignment:
    """Refine the box of each whole image that shows the part, and compare them there.

    ``whole`` and ``part`` are rows of the two pyramids; ``orientation`` turns the part so that it looks like the whole
    image (indices into ``fingerprints.ORIENTATIONS``). First guesses, float32 [N, 4], have to be right to within about
    a tenth of the side. Gauss-Newton steps move the four sides of the box from coarse to fine, regardless of brightness
    and contrast.
    """
    pairs = len(whole)
    found = Alignment(box.copy(), np.full(pairs, -1, dtype=np.float32), np.zeros(pairs, dtype=np.float32))
    for start in range(0, pairs, BATCH):
        rows = np.arange(start, min(start + BATCH, pairs))
        # (y, x of the middle, half height, half width) in the coordinates of grid_sample, -1 to 1.
        corner, half = torch.from_numpy(found.box[rows]).split(2, dim=1)
        place = torch.cat([2 * corner + half - 1, half], dim=1)
        for size, steps, least in LEVELS:
            original = wholes.take(size, whole[rows])
            copy = parts.take(size, part[rows], orientation[rows])
            place = _refine(original, copy, place, steps)
            seen, shown = _detail(_sample(original, place, size)), _detail(copy)
            detail = (_standard(_levelled(seen)) * _standard(_levelled(shown))).mean(dim=(1, 2, 3))
            kept = (detail >= least).numpy()  # NaN never is
            rows, place = rows[kept], place[kept]
            if not len(rows):
                break
        else:
            middle, half = place.split(2, dim=1)
            found.box[rows] = torch.cat([(middle + 1 - half) / 2, half], dim=1).numpy()
            found.detail[rows] = detail[kept].numpy()
            found.agreement[rows] = _agreement(seen[kept], shown[kept]).numpy()
    return found


def _axis(size: int) -> torch.Tensor:
    return (torch.arange(size) + 0.5) * (2 / size) - 1


def _sample(images: torch.Tensor, place: torch.Tensor, size: int) -> torch.Tensor:
    """The boxes of images as pictures [N, 1, size, size]."""
    y, x = (place[:, axis, None] + place[:, 2 + axis, None] * _axis(size) for axis in (0, 1))
    grid = torch.stack([x[:, None, :].expand(-1, size, -1), y[:, :, None].expand(-1, -1, size)], dim=3)
    return grid_sample(images, grid, padding_mode="border", align_corners=False)


def _refine(whole: torch.Tensor, part: torch.Tensor, place: torch.Tensor, steps: int) -> torch.Tensor:
    size = part.shape[-1]
    target = _standard(part)
    for _ in range(steps):
        seen = _standard(_sample(whole, place, size))
        slopes = _slopes((target + seen) / 2)  # [N, 4, P]
        gradient = slopes @ (target - seen).flatten(1)[:, :, None]
        normal = slopes @ slopes.transpose(1, 2)
        ridge = 1e-3 * normal.diagonal(dim1=1, dim2=2).mean(dim=1) + 1e-6
        step = torch.linalg.solve(normal + ridge[:, None, None] * torch.eye(4), gradient)[:, :, 0]
        step = step.clamp(-LARGEST_STEP, LARGEST_STEP)
        # The step is in coordinates of the part; in those of the whole it is scaled by the box.
        half = place[:, 2:]
        place = torch.cat([place[:, :2] + half * step[:, :2], half * (1 + step[:, 2:])], dim=1)
    return place


def _slopes(images: torch.Tensor) -> torch.Tensor:
    """How the picture changes with the box: d/d(middle y, middle x, height, width), [N, 4, P]."""
    size = images.shape[-1]
    y, x = torch.gradient(images[:, 0], dim=(1, 2), spacing=2 / size)
    axis = _axis(size)
    slopes = torch.stack([y, x, y * axis[:, None], x * axis[None, :]], dim=1).flatten(2)
    return slopes - slopes.mean(dim=2, keepdim=True)


def _standard(images: torch.Tensor) -> torch.Tensor:
    centred = images - images.mean(dim=(2, 3), keepdim=True)
    return centred / centred.square().mean(dim=(2, 3), keepdim=True).sqrt().clamp_min(1e-3)


def _detail(images: torch.Tensor) -> torch.Tensor:
    """What is neither noise nor a gradual change."""
    smooth = _mean(images, FINE)
    return smooth - _mean(smooth, COARSE)


def _levelled(detail: torch.Tensor) -> torch.Tensor:
    """Detail of the same strength everywhere, so that one strong edge does not outweigh the rest."""
    return detail / (_mean(detail.square(), AROUND) + NOISE).sqrt()


def _agreement(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Runways and stadiums look alike at their edges; near duplicates look alike wherever there is anything to see."""

    def over_blocks(values: torch.Tensor) -> torch.Tensor:
        return avg_pool2d(values, BLOCK, BLOCK // 2).flatten(1)

    both, one, other = over_blocks(first * second), over_blocks(first.square()), over_blocks(second.square())
    strong = torch.maximum(one, other) > STRONG
    agreeing = strong & (both > AGREE * ((one + FAINT) * (other + FAINT)).sqrt())
    return torch.where(strong.any(dim=1), agreeing.sum(dim=1) / strong.sum(dim=1).clamp_min(1), 1.0)


def _mean(images: torch.Tensor, side: int) -> torch.Tensor:
    found = torch.empty_like(images)
    for part, means in zip(images.split(POOLED), found.split(POOLED), strict=True):
        # Images in the place of channels: PyTorch then adds those of many at once, to the same bits.
        channels = part.transpose(0, 1).contiguous(memory_format=torch.channels_last)
        means.copy_(avg_pool2d(channels, side, 1, side // 2, count_include_pad=False).transpose(0, 1))
    return found
