"""BLEU-1 to BLEU-4 of every caption against the captions of every image, exact.

BLEU is defined by K. Papineni et al., 'BLEU: a method for automatic evaluation of machine translation' (ACL 2002), for
a whole corpus; libraries differ in what they make of a single sentence, where n-grams without a match are the rule.
Here are the definitions of two of them, to 1e-9 of what they compute for one pair at a time.

Every n-gram has a number. For one image, the largest count of each n-gram in any of its captions is written into a
table; then each caption to be scored looks up its own n-grams there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
from numba import njit

from rsitr.captions.all_pairs import (
    FloatArray,
    IntArray,
    checked_places,
    checked_references,
    checked_threads,
    over_threads,
)
from rsitr.captions.bleu_scores import ORDERS, PYCOCOEVALCAP, bleu_scores
from rsitr.captions.ngrams import count_ngrams
from rsitr.captions.words import words
from rsitr.errors import ParamsError

METHODS = {"pycocoevalcap": PYCOCOEVALCAP} | {f"nltk-{method}": method for method in range(8)}
"""Definition -> its number for ``bleu_scores``."""


class Bleu:
    """BLEU-1 to BLEU-4 of captions against images, each image with any number of captions as references.

    ``texts`` are captions, and ``references[i]`` the places in ``texts`` of the captions of image ``i``. ``tokenize``
    makes words of a caption; pycocoevalcap and nltk leave that to their callers too. ``scores`` divides its images
    over ``threads`` threads; their number changes no score.

    ``definition`` is one of ``METHODS``:

    - ``pycocoevalcap``: the score that its ``Bleu`` gives each segment (closest reference length).
    - ``nltk-0`` to ``nltk-7``: ``sentence_bleu`` with a method of ``SmoothingFunction`` (B. Chen and C. Cherry, 'A
      systematic comparison of smoothing techniques for sentence-level BLEU', WMT 2014), with default constants and
      the four uniform weightings in one call: methods 5 to 7 smooth an order with the help of higher ones, which a
      call for BLEU-1 alone would not have.

    Where the libraries raise an error, the score is 0: an image without captions; a caption without words, against
    captions without words as well; ``nltk-6``, which is undefined without a common trigram, all four orders. nltk's
    methods 5 and 7 may give more than 1.

    Raises ``ParamsError`` for an unknown definition and ``DatasetError`` for references outside ``texts``.
    """

    def __init__(
        self,
        texts: Sequence[str],
        references: Sequence[Sequence[int]],
        definition: str = "pycocoevalcap",
        threads: int = 1,
        tokenize: Callable[[str], list[str]] = words,
    ):
        if definition not in METHODS:
            raise ParamsError(f"unknown definition of BLEU: {definition!r}; choose from {', '.join(METHODS)}")
        self.method = METHODS[definition]
        self.threads = checked_threads(threads)
        self.references = checked_references(references, len(texts))
        # The methods that average neighbouring orders need the one above the last.
        orders = ORDERS + 1 if self.method in (5, 7) else ORDERS
        self.ngrams = count_ngrams([tokenize(text) for text in texts], orders)

    def scores(self, captions: IntArray, images: IntArray) -> FloatArray:
        """Float64 [H, I, 4]: BLEU-1 to BLEU-4 of each of ``captions`` [H] against each of ``images`` [I].

        ``captions`` are places in ``texts``, ``images`` places in ``references``; ``DatasetError`` if they are not.
        """
        captions = checked_places(captions, len(self.ngrams.lengths), "captions")
        images = checked_places(images, len(self.references.starts) - 1, "images")
        out = np.empty((len(captions), len(images), ORDERS))
        work = partial(_score, captions, images, *self.references, *self.ngrams, self.method, out)
        over_threads(work, len(images), self.threads)
        return out


@njit(nogil=True, cache=True)
def _score(
    captions: IntArray,
    images: IntArray,
    references: IntArray,
    image_starts: IntArray,
    orders: int,
    lengths: IntArray,
    starts: IntArray,
    numbers: npt.NDArray[np.int32],
    counts: npt.NDArray[np.int32],
    distinct: int,
    method: int,
    out: FloatArray,
    first: int,
    last: int,
) -> None:
    """Fill ``out[:, first:last]``."""
    table = np.zeros(distinct, dtype=np.int32)
    shared = np.zeros(ORDERS + 1, dtype=np.int64)
    precisions = np.empty(ORDERS)
    for place in range(first, last):
        own = references[image_starts[images[place]] : image_starts[images[place] + 1]]
        for text in own:
            for entry in range(starts[text * orders], starts[(text + 1) * orders]):
                table[numbers[entry]] = max(table[numbers[entry]], counts[entry])
        for row, caption in enumerate(captions):
            if len(own) == 0 or lengths[caption] == 0:
                out[row, place] = 0.0
                continue
            _count_shared(table, starts[caption * orders :], numbers, counts, orders, shared)
            closest = _closest(lengths, own, lengths[caption])
            bleu_scores(method, shared, lengths[caption], closest, precisions, out[row, place])
        for text in own:
            for entry in range(starts[text * orders], starts[(text + 1) * orders]):
                table[numbers[entry]] = 0


@njit(nogil=True, cache=True)
def _count_shared(
    table: npt.NDArray[np.int32],
    starts: IntArray,
    numbers: npt.NDArray[np.int32],
    counts: npt.NDArray[np.int32],
    orders: int,
    shared: IntArray,
) -> None:
    """Fill ``shared`` with the clipped matches of a caption whose first order starts at ``starts[0]``."""
    shared[:] = 0
    for order in range(orders):
        for entry in range(starts[order], starts[order + 1]):
            shared[order] += min(table[numbers[entry]], counts[entry])
        # An n-gram matches only where the (n-1)-gram inside it does.
        if shared[order] == 0:
            return


@njit(nogil=True, cache=True)
def _closest(lengths: IntArray, own: IntArray, words: int) -> int:
    """The length, among the texts ``own``, that is nearest to ``words``; of two as near, the shorter."""
    best = lengths[own[0]]
    for text in own[1:]:
        length = lengths[text]
        if (abs(length - words), length) < (abs(best - words), best):
            best = length
    return best
