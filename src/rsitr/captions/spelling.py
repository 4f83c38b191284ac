"""Misspelt words, found from the corpus itself: a rare unknown word one keystroke away from a frequent one.

The edit model is that of P. Norvig, 'How to write a spelling corrector' (2007): one letter dropped, added or changed,
or two neighbours swapped. Words that CLIP's tokeniser knows as a whole are taken as correct; without that list, about
half of the findings are real words (``broad`` for ``road``). Of 100 suspected words drawn from UCM-Captions, RSICD,
RSITMD and Sydney-Captions, 96 were misspelt, judged by hand.
"""

from __future__ import annotations

import gzip
import importlib.metadata
import re
from collections.abc import Mapping
from functools import cache

from rsitr.errors import DatasetError

LETTERS = "abcdefghijklmnopqrstuvwxyz"
SHORTEST = 4
"""Shorter words have too many neighbours to tell them apart."""
RATIO = 20
"""The correct word is at least this many times as frequent."""
BPE_FILE = "open_clip/bpe_simple_vocab_16e6.txt.gz"
BPE_WORDS = 49152 - 256 - 2
"""Merges of the file that CLIP uses (A. Radford et al., 2021); the rest of it is rarer."""
_WORD_END = "</w>"
_INFLECTION = re.compile(r"(?:'s|s|(?<=e)[dr])$")
_MIXED = re.compile(r"(?=.*[0-9])(?=.*[a-z])(?!\d+(?:st|nd|rd|th|s|m|km)$)[a-z0-9]+")


@cache
def known_words() -> frozenset[str]:
    """Words that are one token of CLIP's vocabulary, about 36,000; read without importing open_clip, and so torch."""
    path = importlib.metadata.distribution("open_clip_torch").locate_file(BPE_FILE)
    try:
        with gzip.open(str(path), "rt", encoding="utf-8") as file:
            merges = file.read().splitlines()[1 : BPE_WORDS + 1]  # the first line names the version
    except OSError as error:
        raise DatasetError(f"the word list of open_clip_torch cannot be read ({error}): install it again") from None
    return frozenset(merge.replace(" ", "").removesuffix(_WORD_END) for merge in merges if merge.endswith(_WORD_END))


def neighbours(word: str) -> set[str]:
    """Every string one dropped, added, changed or swapped letter away from ``word``."""
    cuts = [(word[:place], word[place:]) for place in range(len(word) + 1)]
    dropped = {left + right[1:] for left, right in cuts if right}
    swapped = {left + right[1] + right[0] + right[2:] for left, right in cuts if len(right) > 1}
    changed = {left + letter + right[1:] for left, right in cuts if right for letter in LETTERS}
    added = {left + letter + right for left, right in cuts for letter in LETTERS}
    return (dropped | swapped | changed | added) - {word}


def misspellings(counts: Mapping[str, int]) -> dict[str, str]:
    """Suspected misspellings among the words of a corpus, each with what it probably should be.

    ``counts`` says how often each word occurs. A word with digits among its letters (``fou1``) is always suspected,
    with an empty correction if none is found; ordinals and lengths (``4th``, ``100m``) are not.
    """
    found = {}
    for word, count in counts.items():
        mixed = bool(_MIXED.fullmatch(word))
        if not mixed and (len(word) < SHORTEST or word in known_words()):
            continue
        frequent = (other for other in neighbours(word) if counts.get(other, 0) >= RATIO * count)
        likely = [other for other in frequent if not _same_word(word, other)]
        if likely or mixed:
            found[word] = max(sorted(likely), key=lambda other: counts[other], default="")
    return found


def _same_word(first: str, second: str) -> bool:
    """Forms of one word: decorates and decorated, river's and rivers, large and larger."""
    stems = [{word, _INFLECTION.sub("", word)} for word in (first, second)]
    return bool(stems[0] & stems[1])
