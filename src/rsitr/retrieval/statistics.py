"""Is one method better than another? Spread over seeds, paired bootstrap over queries, correction for many tests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from rsitr.errors import DatasetError
from rsitr.retrieval.recall import CUTOFFS, Ranks

Metric = Literal["i2t_r1", "i2t_r5", "i2t_r10", "t2i_r1", "t2i_r5", "t2i_r10", "mr"]
"""A field of ``RecallReport``."""

LEVEL = 0.95
"""Of the confidence interval."""
CHUNK_BYTES = 64 * 2**20
"""Of the bootstrap weights drawn at a time."""


class Comparison(NamedTuple):
    """By how much method a beats method b, in percentage points."""

    difference: float
    """On the whole test set."""
    low: float
    high: float
    """Ends of the 95 % percentile interval."""
    p: float
    """Two-sided, of the hypothesis of no difference; below 0.05 only where the interval excludes zero."""


def paired_bootstrap(
    a: Sequence[Ranks],
    b: Sequence[Ranks],
    image_of: npt.NDArray[np.integer],
    *,
    metric: Metric = "mr",
    samples: int = 2000,
    seed: int,
) -> Comparison:
    """Compare two methods by their ranks on one test set (Efron and Tibshirani 1993, chapters 13 and 16).

    ``a`` and ``b`` hold the ranks of each of their seeds, whose metrics are averaged.

    Captions of one image are not independent queries: an image that is hard to tell from its neighbours is hard for all
    of them. So images are drawn with replacement, as clusters, each with its own query and those of all its captions
    (``image_of`` [C]). Both methods are judged on the same draw; the gallery stays complete.

    p is twice the share of draws on the far side of zero, with one added to both counts, so it is never below 2 /
    (samples + 1). It covers the test set's queries, not the seeds of training.

    Raises ``DatasetError`` when the ranks are not from the same test set.
    """
    sizes = {(len(ranks.i2t), len(ranks.t2i)) for ranks in (*a, *b)}
    if len(sizes) != 1 or {texts for _, texts in sizes} != {len(image_of)}:
        found = ", ".join(f"{images} images and {texts} captions" for images, texts in sorted(sizes)) or "nothing"
        raise DatasetError(
            f"Ranks of {found} cannot be paired ({len(image_of)} captions in image_of). Compare methods on the same "
            "split only."
        )
    n_images = len(a[0].i2t)
    captions = np.bincount(image_of, minlength=n_images).astype(np.float64)
    gains = _gains(a, b, image_of, metric)
    observed = float(_difference(np.ones((1, n_images)), gains, captions)[0])
    draws = np.concatenate([_difference(weights, gains, captions) for weights in _weights(n_images, samples, seed)])

    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    far_side = min(np.count_nonzero(draws <= 0), np.count_nonzero(draws >= 0))
    p = min(1.0, 2 * (far_side + 1) / (samples + 1))
    return Comparison(observed, float(low), float(high), p)


def holm(p_values: Sequence[float]) -> npt.NDArray[np.float64]:
    """Adjust the p-values of a family of tests for its size, in the given order (Holm 1979, step-down)."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    factors = np.arange(len(p), 0, -1)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(factors * p[order]))
    return adjusted


class _Gains(NamedTuple):
    """Hits of a minus hits of b, summed over the queries of each image and the cutoffs of the metric."""

    i2t: npt.NDArray[np.float64]
    """[I]"""
    t2i: npt.NDArray[np.float64]
    """[I]"""
    terms: int
    """How many recalls the metric averages."""


def _gains(a: Sequence[Ranks], b: Sequence[Ranks], image_of: npt.NDArray[np.integer], metric: Metric) -> _Gains:
    i2t_cutoffs = [k for k in CUTOFFS if metric in (f"i2t_r{k}", "mr")]
    t2i_cutoffs = [k for k in CUTOFFS if metric in (f"t2i_r{k}", "mr")]
    i2t_a, i2t_b = (_hits([ranks.i2t for ranks in seeds], i2t_cutoffs) for seeds in (a, b))
    t2i_a, t2i_b = (_hits([ranks.t2i for ranks in seeds], t2i_cutoffs) for seeds in (a, b))
    t2i = np.bincount(image_of, t2i_a - t2i_b, minlength=len(i2t_a))
    return _Gains(i2t_a - i2t_b, t2i.astype(np.float64), len(i2t_cutoffs) + len(t2i_cutoffs))


def _hits(seeds: Sequence[npt.NDArray[np.int64]], cutoffs: list[int]) -> npt.NDArray[np.float64]:
    """How many of the cutoffs each query [Q] passes, averaged over seeds."""
    return np.mean([(ranks[:, None] <= np.array(cutoffs)).sum(axis=1) for ranks in seeds], axis=0)


def _difference(
    weights: npt.NDArray[np.float64], gains: _Gains, captions: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Difference of the metric [S], in percent, when image i counts ``weights[s, i]`` times."""
    i2t = weights @ gains.i2t / weights.sum(axis=1)
    t2i = weights @ gains.t2i / (weights @ captions)
    return 100 * (i2t + t2i) / gains.terms


def _weights(n_images: int, samples: int, seed: int) -> Iterator[npt.NDArray[np.float64]]:
    """How often each image is drawn, [S, I] in chunks of rows."""
    generator = np.random.default_rng(seed)
    rows = max(1, CHUNK_BYTES // (8 * n_images))
    for start in range(0, samples, rows):
        size = min(rows, samples - start)
        drawn = generator.integers(n_images, size=(size, n_images)) + n_images * np.arange(size)[:, None]
        yield np.bincount(drawn.reshape(-1), minlength=size * n_images).reshape(size, n_images).astype(np.float64)
