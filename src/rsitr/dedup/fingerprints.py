"""Fingerprints: what an image, or a window of it, looks like when blurred, as a vector of unit length.

A fingerprint holds the 18 lowest cosine coefficients of lightness and of two opponent colours, without the constant
ones. So brightness, contrast and tint drop out, re-encoding and resizing hardly affect it, and the eight flips and
quarter turns only swap coefficients and change signs: every image has a canonical orientation in which its mirrored and
rotated copies look alike. A crop is found as the window of the original that looks like it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rsitr.dedup.thumbnails import SIZE, Pictures, Pixels

ORDER = 5
"""Cosines per axis."""
HIGHEST = 5
"""Maximum sum of the two frequencies of a kept coefficient."""
CHROMA = 0.7
"""Weight of the colours relative to lightness."""
DOUBT = 0.15
"""A sign or order of coefficients this close to undecided, in a vector of length 1, is taken both ways."""
SIDES = (1.0, 0.92, 0.83, 0.75)
"""Sides of the windows as shares of the image's; the smallest is the strongest crop that is searched for."""
STEPS = (1, 2, 3, 3)
"""Places of the windows along each axis, by side: the sides of any crop are within .09 of those of some window."""

BLANK = 0.5
"""Length, in grey values, below which a vector carries no information."""
_BATCH = 256

ORIENTATIONS = tuple((turn, down, right) for turn in (0, 1) for down in (0, 1) for right in (0, 1))
"""The eight: transposed or not, then flipped down or not, then flipped right or not."""
_OPPONENT = np.array([[1, 1, 1], [1, -1, 0], [0.5, 0.5, -1]], dtype=np.float32) / 3
_KEPT = [(u, v) for u in range(ORDER) for v in range(ORDER) if 0 < u + v <= HIGHEST]
_PLACE = {pair: place for place, pair in enumerate(_KEPT)}
DIMENSIONS = 3 * len(_KEPT)


class Window(NamedTuple):
    """A square part of an image, in shares of its sides."""

    top: float
    left: float
    side: float


def _starts(side: float, steps: int) -> list[float]:
    return [0.0] if steps == 1 else [(1 - side) * step / (steps - 1) for step in range(steps)]


WINDOWS = tuple(
    Window(top, left, side)
    for side, steps in zip(SIDES, STEPS, strict=True)
    for top in _starts(side, steps)
    for left in _starts(side, steps)
)
"""All 23; the first is the whole image."""


def _cosines(start: float, side: float) -> np.ndarray:
    """Means of the first cosines of a window over the pixels of a thumbnail: float32 [ORDER, SIZE]."""
    edges = np.clip((np.arange(SIZE + 1) / SIZE - start) / side, 0, 1)
    order = np.arange(ORDER)[:, None]
    integral = np.where(order == 0, edges, np.sin(np.pi * order * edges) / (np.pi * np.maximum(order, 1)))
    return (np.diff(integral, axis=1) * np.where(order == 0, 1, np.sqrt(2))).astype(np.float32)


def fingerprints(pixels: Pictures | Pixels, windows: tuple[Window, ...] = WINDOWS[:1]) -> np.ndarray:
    """Fingerprints of windows of thumbnails: float32 [N, W, 54] of unit length from uint8 [N, 64, 64, 3].

    A window that shows nothing has a zero fingerprint, which is similar to nothing.
    """
    bases: dict[tuple[float, float], int] = {}
    for window in windows:
        for start in (window.top, window.left):
            bases.setdefault((start, window.side), len(bases))
    basis = np.concatenate([_cosines(*key) for key in bases])  # [B * ORDER, SIZE]
    rows, columns = np.array(_KEPT).T
    top, left = (
        np.array([bases[window[axis], window.side] * ORDER for window in windows])[:, None] + frequency
        for axis, frequency in ((0, rows), (1, columns))
    )
    found = np.empty((len(pixels), len(windows), 3, len(_KEPT)), dtype=np.float32)
    for start in range(0, len(pixels), _BATCH):
        part = pixels[start : start + _BATCH].astype(np.float32) @ _OPPONENT.T
        projected = basis @ np.moveaxis(part, 3, 1) @ basis.T  # [n, 3, B * ORDER, B * ORDER]
        found[start : start + _BATCH] = projected[:, :, top, left].swapaxes(1, 2)
    found[:, :, 1:] *= CHROMA
    vectors = found.reshape(len(pixels), len(windows), DIMENSIONS)
    length = np.linalg.norm(vectors, axis=2, keepdims=True)
    return np.divide(vectors, length, out=np.zeros_like(vectors), where=length > BLANK)


def _turned() -> tuple[np.ndarray, np.ndarray]:
    """For each orientation: where each coefficient goes, and with which sign: int and float32 [8, 54]."""
    place = np.array([[_PLACE[(v, u) if turn else (u, v)] for u, v in _KEPT] for turn, _, _ in ORIENTATIONS])
    signs = [[(-1) ** (down * u + right * v) for u, v in _KEPT] for _, down, right in ORIENTATIONS]
    channels = [place + channel * len(_KEPT) for channel in range(3)]
    return np.concatenate(channels, axis=1), np.tile(signs, 3).astype(np.float32)


_WHERE, _SIGN = _turned()


def oriented(vectors: np.ndarray, orientation: np.ndarray) -> np.ndarray:
    """Fingerprints of the same images after ``orientation`` (indices into ``ORIENTATIONS``): float32 [N, 54]."""
    answer = np.empty_like(vectors)
    for place in np.unique(orientation):
        rows = orientation == place
        answer[rows] = vectors[rows][:, _WHERE[place]] * _SIGN[place]
    return answer


def plausible(vectors: np.ndarray, doubt: float = DOUBT) -> np.ndarray:
    """Which orientations may be the canonical one: bool [N, 8].

    In the canonical one, lightness increases to the right and downwards, and more to the right.
    """
    down, right = vectors[:, _PLACE[1, 0]], vectors[:, _PLACE[0, 1]]
    answer = np.empty((len(vectors), len(ORIENTATIONS)), dtype=bool)
    for place, (turn, flip_down, flip_right) in enumerate(ORIENTATIONS):
        new_down, new_right = (right, down) if turn else (down, right)
        new_down, new_right = new_down * (-1) ** flip_down, new_right * (-1) ** flip_right
        answer[:, place] = (new_down >= -doubt) & (new_right >= -doubt) & (new_right - new_down >= -doubt)
    return answer


def canonical(vectors: np.ndarray) -> np.ndarray:
    """The canonical orientation of each fingerprint: indices into ``ORIENTATIONS``, int [N]."""
    return plausible(vectors, 0.0).argmax(axis=1)


def turn(images: np.ndarray, orientation: int) -> np.ndarray:
    """Images [..., H, W, C] after an orientation."""
    transpose, down, right = ORIENTATIONS[orientation]
    images = np.swapaxes(images, -3, -2) if transpose else images
    images = images[..., ::-1, :, :] if down else images
    return images[..., ::-1, :] if right else images


def undone(orientation: np.ndarray, then: np.ndarray) -> np.ndarray:
    """The orientation that undoes ``orientation`` and applies ``then``: indices, int [N]."""
    return _UNDONE[orientation, then]


_BOARD = np.arange(4).reshape(2, 2, 1)


def _undone() -> np.ndarray:
    """For each two orientations the x with first(x(board)) == second(board)."""
    seen = {turn(_BOARD, place).tobytes(): place for place in range(8)}
    after = [[seen[turn(turn(_BOARD, x), first).tobytes()] for x in range(8)] for first in range(8)]
    return np.array([[after[first].index(second) for second in range(8)] for first in range(8)], dtype=np.int64)


_UNDONE = _undone()
