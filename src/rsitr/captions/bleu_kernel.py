"""The compiled part of BLEU: from numbered n-grams to scores.

For one image, a table gets the largest count of each n-gram in any of its captions; then each caption to be scored
looks up its own n-grams there. All compiled functions are in this file, because numba, which caches them on disk,
recompiles a function only when its own file has changed.
"""

from __future__ import annotations

import math
import sys

import numpy as np
import numpy.typing as npt
from numba import njit

from rsitr.captions.all_pairs import FloatArray, IntArray, Lists
from rsitr.captions.ngrams import Ngrams

ORDERS = 4
"""BLEU-1 to BLEU-4."""
PYCOCOEVALCAP = -1
"""The definition that is not a number of nltk's methods."""
TINY, SMALL = 1e-15, 1e-9
"""What pycocoevalcap adds to a numerator and to a denominator, so that neither is zero."""
EPSILON = 0.1
"""Stands for a count of zero in nltk's method 1."""
K = 5
"""Of nltk's method 4."""
ALPHA = 5
"""Weight of the prior in nltk's method 6."""
NO_MATCH = sys.float_info.min
"""nltk's method 0 takes the logarithm of this where nothing matches."""


@njit(nogil=True, cache=True)
def score_images(
    captions: IntArray,
    images: IntArray,
    references: Lists,
    ngrams: Ngrams,
    method: int,
    out: FloatArray,
    first: int,
    last: int,
) -> None:
    """Fill ``out[:, first:last]`` with BLEU-1 to BLEU-4 of ``captions`` against ``images[first:last]``.

    ``method`` is ``PYCOCOEVALCAP``, or 0 to 7 for the smoothing methods of nltk; 5 and 7 need n-grams of five orders.
    """
    largest = np.zeros(ngrams.distinct, dtype=np.int32)
    shared = np.zeros(ORDERS + 1, dtype=np.int64)
    precisions = np.empty(ORDERS)
    for place in range(first, last):
        own = references.values[references.starts[images[place]] : references.starts[images[place] + 1]]
        for text in own:
            for entry in range(ngrams.starts[text * ngrams.orders], ngrams.starts[(text + 1) * ngrams.orders]):
                number = ngrams.numbers[entry]
                largest[number] = max(largest[number], ngrams.counts[entry])
        for row, caption in enumerate(captions):
            length = ngrams.lengths[caption]
            if len(own) == 0 or length == 0:
                out[row, place] = 0.0
                continue
            _count_shared(ngrams, caption, largest, shared)
            closest = _closest(ngrams.lengths, own, length)
            _bleu(method, shared, length, closest, precisions, out[row, place])
        for text in own:
            for entry in range(ngrams.starts[text * ngrams.orders], ngrams.starts[(text + 1) * ngrams.orders]):
                largest[ngrams.numbers[entry]] = 0


@njit(nogil=True, cache=True)
def _count_shared(ngrams: Ngrams, caption: int, largest: npt.NDArray[np.int32], shared: IntArray) -> None:
    """Fill ``shared`` with the matches of a caption, clipped at the ``largest`` count of each n-gram."""
    shared[:] = 0
    for order in range(ngrams.orders):
        slot = caption * ngrams.orders + order
        for entry in range(ngrams.starts[slot], ngrams.starts[slot + 1]):
            shared[order] += min(largest[ngrams.numbers[entry]], ngrams.counts[entry])
        # An n-gram matches only where the (n-1)-gram inside it does.
        if shared[order] == 0:
            return


@njit(nogil=True, cache=True)
def _closest(lengths: IntArray, own: IntArray, words: int) -> int:
    """The length, among the texts ``own``, that is closest to ``words``; of two as close, the shorter."""
    best = lengths[own[0]]
    for text in own[1:]:
        length = lengths[text]
        if (abs(length - words), length) < (abs(best - words), best):
            best = length
    return best


@njit(nogil=True, cache=True)
def _bleu(method: int, shared: IntArray, words: int, closest: int, p: FloatArray, out: FloatArray) -> None:
    """Fill ``out`` [4] with the scores of a caption of at least one word.

    ``shared[n - 1]`` is the number of its n-grams that also occur in a reference, ``words`` its length, ``closest``
    that of the reference nearest in length. ``p`` [4] is working memory.
    """
    if method == PYCOCOEVALCAP:
        _pycocoevalcap(shared, words, closest, out)
    elif shared[0] == 0 or (method == 6 and shared[2] == 0):
        out[:] = 0.0
    else:
        _smoothed(method, shared, words, p)
        _weighted(p, 1.0 if words > closest else math.exp(1 - closest / words), out)


@njit(nogil=True, cache=True)
def _pycocoevalcap(shared: IntArray, words: int, closest: int, out: FloatArray) -> None:
    product = 1.0
    for order in range(ORDERS):
        product *= (shared[order] + TINY) / (max(0, words - order) + SMALL)
        out[order] = product
    ratio = (words + TINY) / (closest + SMALL)
    penalty = math.exp(1 - 1 / ratio) if ratio < 1 else 1.0
    out[0] *= penalty
    out[1] = math.sqrt(out[1]) * penalty
    out[2] = np.cbrt(out[2]) * penalty
    out[3] = math.sqrt(math.sqrt(out[3])) * penalty


@njit(nogil=True, cache=True)
def _smoothed(method: int, shared: IntArray, words: int, p: FloatArray) -> None:
    """Fill ``p`` with the modified precisions of orders 1 to 4, smoothed as nltk's ``method`` does."""
    for order in range(ORDERS):
        p[order] = shared[order] / max(1, words - order)
    if method == 0:
        for order in range(ORDERS):
            if shared[order] == 0:
                p[order] = NO_MATCH
    elif method == 1:
        for order in range(ORDERS):
            if shared[order] == 0:
                p[order] = EPSILON / max(1, words - order)
    elif method == 2:
        for order in range(1, ORDERS):
            p[order] = (shared[order] + 1) / (max(1, words - order) + 1)
    elif method == 3:
        _halved(shared, words, 1.0, p)
    elif method == 6:
        _interpolated(shared, words, p)
    if method in (4, 7) and words > 1:
        _halved(shared, words, math.log(words) / K, p)
    if method in (5, 7):
        _averaged(shared[ORDERS] / max(1, words - ORDERS), p)


@njit(nogil=True, cache=True)
def _halved(shared: IntArray, words: int, count: float, p: FloatArray) -> None:
    """Methods 3 and 4: the first order without a match counts half of ``count`` n-grams, the next a quarter."""
    for order in range(ORDERS):
        if shared[order] == 0:
            count /= 2
            p[order] = count / max(1, words - order)


@njit(nogil=True, cache=True)
def _averaged(fifth: float, p: FloatArray) -> None:
    """Method 5: the mean of an order and its neighbours, the lower one already averaged, the higher one unchanged."""
    before = p[0] + 1
    for order in range(ORDERS):
        after = p[order + 1] if order + 1 < ORDERS else fifth
        p[order] = before = (before + p[order] + after) / 3


@njit(nogil=True, cache=True)
def _interpolated(shared: IntArray, words: int, p: FloatArray) -> None:
    """Method 6, where the first three orders have matches: a prior extrapolated from the two orders below."""
    for order in range(2, ORDERS):
        prior = p[order - 1] ** 2 / p[order - 2]
        p[order] = (shared[order] + ALPHA * prior) / (max(0, words - order) + ALPHA)


@njit(nogil=True, cache=True)
def _weighted(p: FloatArray, penalty: float, out: FloatArray) -> None:
    """The geometric means; a precision of zero is left out and its weight lost, as in nltk."""
    logarithms = 0.0
    for order in range(ORDERS):
        if p[order] > 0:
            logarithms += math.log(p[order])
        out[order] = penalty * math.exp(logarithms / (order + 1))
