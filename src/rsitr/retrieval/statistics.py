"""Is one method better than another? Spread over seeds, paired bootstrap over queries, correction for many tests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import lcm
from typing import Generic, Literal, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from rsitr.errors import DatasetError
from rsitr.retrieval.recall import CUTOFFS, Ranks

Metric = Literal["i2t_r1", "i2t_r5", "i2t_r10", "t2i_r1", "t2i_r5", "t2i_r10", "mr"]
"""A field of ``RecallReport``."""

K = TypeVar("K")
LEVEL = 0.95
"""Of the confidence interval."""
SAMPLES = 2000
"""Draws behind an interval."""
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
    samples: int = SAMPLES,
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
    return Resampled({"a": a, "b": b}, image_of, metric=metric, samples=samples, seed=seed).compare("a", "b")


class Resampled(Generic[K]):
    """Many methods on one test set, each judged on the same draws, so that any two of them can be compared.

    The interval rests on the first ``SAMPLES`` draws, or all of fewer, and p on all of them. More are needed where p is
    corrected for many comparisons, since it is never below 2 / (samples + 1).
    """

    def __init__(
        self,
        methods: Mapping[K, Sequence[Ranks]],
        image_of: npt.NDArray[np.integer],
        *,
        metric: Metric = "mr",
        samples: int = SAMPLES,
        seed: int,
    ):
        """``methods`` holds the ranks of the seeds of each; raises ``DatasetError`` as ``paired_bootstrap``."""
        _check_pairs([ranks for seeds in methods.values() for ranks in seeds], image_of)
        n_images = int(np.max(image_of)) + 1
        captions = np.bincount(image_of, minlength=n_images).astype(np.float64)
        # Whole numbers, whatever the number of seeds: two methods that find the same differ by exactly zero.
        self._whole = lcm(*map(len, methods.values()))
        none = [Ranks(np.full(n_images, CUTOFFS[-1] + 1), np.full(len(image_of), CUTOFFS[-1] + 1))]
        gains = [_gains(seeds, none, image_of, metric) for seeds in methods.values()]
        i2t, t2i = (np.rint(self._whole * np.stack(side, axis=1)) for side in list(zip(*gains, strict=True))[:2])
        both = _Gains(i2t, t2i, gains[0].terms)
        self._place = {key: place for place, key in enumerate(methods)}
        self._observed = _difference(np.ones((1, n_images)), both, captions)[0]
        self._draws = np.concatenate([_difference(w, both, captions) for w in _weights(n_images, samples, seed)]).T

    def value(self, key: K) -> float:
        """The metric of a method on the whole test set, in percent."""
        return float(self._observed[self._place[key]]) / self._whole

    def interval(self, key: K) -> tuple[float, float]:
        """Ends of the 95 % percentile interval of a method's metric, in percent."""
        low, high = _interval(self._draws[self._place[key]][:SAMPLES] / self._whole)
        return low, high

    def compare(self, a: K, b: K) -> Comparison:
        """By how much method a beats method b, in percentage points."""
        first, second = self._place[a], self._place[b]
        draws = self._draws[first] - self._draws[second]
        difference = float(self._observed[first] - self._observed[second]) / self._whole
        return Comparison(difference, *_interval(draws[:SAMPLES] / self._whole), _two_sided(draws))


def _check_pairs(ranks: Sequence[Ranks], image_of: npt.NDArray[np.integer]) -> None:
    """Raise ``DatasetError`` unless all ranks are of the captions that ``image_of`` [C] describes."""
    sizes = {(len(each.i2t), len(each.t2i)) for each in ranks}
    if len(sizes) != 1 or {texts for _, texts in sizes} != {len(image_of)}:
        found = ", ".join(f"{images} images and {texts} captions" for images, texts in sorted(sizes)) or "nothing"
        raise DatasetError(
            f"Ranks of {found} cannot be paired ({len(image_of)} captions in image_of). Compare methods on the same "
            "split only."
        )


def _interval(draws: npt.NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _two_sided(draws: npt.NDArray[np.float64]) -> float:
    far_side = min(np.count_nonzero(draws <= 0), np.count_nonzero(draws >= 0))
    return min(1.0, 2 * (far_side + 1) / (len(draws) + 1))


def holm(p_values: Sequence[float]) -> npt.NDArray[np.float64]:
    """Adjust the p-values of a family of tests for its size, in the given order (Holm 1979, step-down)."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    factors = np.arange(len(p), 0, -1)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(factors * p[order]))
    return adjusted


class _Gains(NamedTuple):
    """Hits of a minus hits of b, summed over the queries of each image and the cutoffs of the metric.

    Of several methods, each has a column: [I, M].
    """

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
    """Difference of the metric [S], or [S, M], in percent, when image i counts ``weights[s, i]`` times."""
    images, texts = weights.sum(axis=1), weights @ captions
    i2t = ((weights @ gains.i2t).T / images).T
    t2i = ((weights @ gains.t2i).T / texts).T
    return 100 * (i2t + t2i) / gains.terms


def _weights(n_images: int, samples: int, seed: int) -> Iterator[npt.NDArray[np.float64]]:
    """How often each image is drawn, [S, I] in chunks of rows."""
    generator = np.random.default_rng(seed)
    rows = max(1, CHUNK_BYTES // (8 * n_images))
    for start in range(0, samples, rows):
        size = min(rows, samples - start)
        drawn = generator.integers(n_images, size=(size, n_images)) + n_images * np.arange(size)[:, None]
        yield np.bincount(drawn.reshape(-1), minlength=size * n_images).reshape(size, n_images).astype(np.float64)
