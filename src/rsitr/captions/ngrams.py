"""All n-grams of a list of captions, numbered once, so that counting shared n-grams means counting equal numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from rsitr.captions.all_pairs import IntArray, end_to_end


class Ngrams(NamedTuple):
    """The distinct n-grams of each text with their counts, by text and order."""

    orders: int
    """Orders 1 to this one are counted."""
    lengths: IntArray
    """[T], words of each text."""
    starts: IntArray
    """[T x orders + 1]: those of order n in text t are entries ``starts[t * orders + n - 1]`` up to the next start."""
    numbers: npt.NDArray[np.int32]
    """[entries]: equal for equal n-grams. Ascending within a text and order."""
    counts: npt.NDArray[np.int32]
    """[entries]: how often the text contains it."""
    distinct: int
    """Distinct n-grams in all texts together; ``numbers`` are below it."""


def number_words(texts: Sequence[Sequence[str]]) -> list[list[int]]:
    """Each word replaced by a number from 0, in order of first appearance."""
    index: dict[str, int] = {}
    return [[index.setdefault(word, len(index)) for word in text] for text in texts]


def count_ngrams(texts: Sequence[Sequence[str]], orders: int) -> Ngrams:
    """Count the n-grams of orders 1 to ``orders`` of texts given as words."""
    words, ends = end_to_end(number_words(texts))
    lengths = np.diff(ends)
    text_of = np.repeat(np.arange(len(texts)), lengths)
    left = ends[text_of + 1] - np.arange(len(words))
    vocabulary = int(words.max(initial=0)) + 1
    slots, numbers, counts = [], [], []
    gram, distinct = np.zeros(len(words), dtype=np.int64), 0
    for order in range(1, orders + 1):
        here = np.flatnonzero(left >= order)
        # An n-gram is the (n-1)-gram with the same start, plus its own last word.
        kinds, same = np.unique(gram[here] * vocabulary + words[here + order - 1], return_inverse=True)
        gram[here] = same
        base = max(1, len(kinds))
        per_text, repeated = np.unique(text_of[here] * base + same, return_counts=True)
        slots.append(per_text // base * orders + order - 1)
        numbers.append(per_text % base + distinct)
        counts.append(repeated)
        distinct += len(kinds)
    slot = np.concatenate(slots)
    by_slot = np.argsort(slot, kind="stable")
    starts = np.zeros(len(texts) * orders + 1, dtype=np.int64)
    np.cumsum(np.bincount(slot, minlength=len(texts) * orders), out=starts[1:])
    return Ngrams(
        orders,
        lengths,
        starts,
        np.concatenate(numbers)[by_slot].astype(np.int32),
        np.concatenate(counts)[by_slot].astype(np.int32),
        distinct,
    )
