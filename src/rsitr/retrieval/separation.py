"""How far apart classes are, and images and texts, in the space in which a method compares them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.metrics import silhouette_score


class Separation(NamedTuple):
    """Of embeddings of unit length."""

    silhouette: float | None
    """Mean silhouette of images and texts together, by scene class and cosine distance, from -1 to 1: how much closer
    an item is to its own class than to the next (P. Rousseeuw, 1987). None with fewer than two classes."""
    gap: float
    """Distance between the mean image and the mean text, from 0 to 2 (W. Liang et al., NeurIPS 2022)."""


def separation(images: npt.NDArray[np.floating], texts: npt.NDArray[np.floating], classes: Sequence[str]) -> Separation:
    """Of images [I, D] and one text of each [I, D] with the class of each [I]; items without a class are ignored."""
    gap = float(np.linalg.norm(images.mean(0) - texts.mean(0)))
    named = np.flatnonzero([bool(name) for name in classes])
    labels = [name for name in classes if name] * 2
    # With as many classes as items, no item has a neighbour of its own class.
    if not 2 <= len(set(labels)) < len(labels):
        return Separation(None, gap)
    both = np.concatenate([images[named], texts[named]])
    return Separation(float(silhouette_score(both, labels, metric="cosine")), gap)
