"""Words of a caption, the vocabulary of a training set, and when two captions are identical.

The last is the single rule for audits, ceilings and the duplicate-aware recall.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

PAD, UNKNOWN = 0, 1
_DROPPED = re.compile(r"[^\w\s]|_")
_WORD = re.compile(r"[a-z0-9]+(?:['-][a-z0-9]+)*")


def words(caption: str) -> list[str]:
    """Lower-case words of a caption, punctuation dropped, inner apostrophes and hyphens kept."""
    return _WORD.findall(caption.lower())


class Vocabulary:
    """Word -> index, built from training captions only. Index 0 is padding, 1 every unknown word."""

    def __init__(self, known: Iterable[str]):
        self.index = {word: number for number, word in enumerate(known, start=2)}

    @classmethod
    def of(cls, captions: Iterable[str], min_count: int = 1) -> Vocabulary:
        """All words that occur at least ``min_count`` times, most frequent first, ties in alphabetical order."""
        counts = Counter(word for caption in captions for word in words(caption))
        kept = [word for word, count in counts.items() if count >= min_count]
        return cls(sorted(kept, key=lambda word: (-counts[word], word)))

    def __len__(self) -> int:
        return len(self.index) + 2

    def encode(self, caption: str, max_words: int) -> list[int]:
        """Indices of the first ``max_words`` words; a caption without words is one unknown word, never empty."""
        return [self.index.get(word, UNKNOWN) for word in words(caption)[:max_words]] or [UNKNOWN]


def normal_form(caption: str) -> str:
    """A caption in lower case, without punctuation, its words separated by single spaces.

    Two captions are identical when their normal forms are equal.
    """
    return " ".join(_DROPPED.sub("", caption.lower()).split())
