"""Keywords of an image in the style of RSITMD (AMFMN, section IV-B): one to five, each an adjective with a noun.

RSITMD has 21,403 keywords for 4,743 images, given by its annotators. "- port" is a noun without an adjective.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence, Set
from typing import NamedTuple, Self

NO_MODIFIER = "-"


class Keyword(NamedTuple):
    """A target word, or a compound of them, with the word that makes it fine-grained (AMFMN, section III-B3)."""

    modifier: str
    """Empty where there is none."""
    noun: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """The first word of several is the modifier; "- port", "-port" and "port" have none."""
        if text.startswith(NO_MODIFIER):
            return cls("", " ".join(text[1:].split()))
        *first, noun = text.split(maxsplit=1) or [""]
        return cls("".join(first), noun)

    @property
    def text(self) -> str:
        """As RSITMD writes it: "white planes", "- port"."""
        return f"{self.modifier or NO_MODIFIER} {self.noun}"


def frequent_words(keywords: Iterable[Sequence[str]], share: float) -> frozenset[str]:
    """The words that occur in the keywords of more than ``share`` of the images.

    ``keywords`` has one entry per training image: its keywords. Words are compared in lower case and otherwise as they
    are: "tree" and "trees" are two.
    """
    images = [{word for text in texts for word in _words(Keyword.parse(text))} for texts in keywords]
    counts = Counter(word for words in images for word in words)
    return frozenset(word for word, count in counts.items() if count > share * len(images))


def without_frequent(keywords: Sequence[str], frequent: Set[str]) -> list[str]:
    """The keywords of an image without frequent words, as joint retrieval has them (AMFMN, section V-D).

    Without its modifier, "green trees" is "- trees"; without its noun it is "- green"; without either it is dropped,
    and so are duplicates of what is left.
    """
    return list(dict.fromkeys(text for keyword in keywords if (text := _without(keyword, frequent))))


def _words(keyword: Keyword) -> list[str]:
    return f"{keyword.modifier} {keyword.noun}".lower().split()


def _without(text: str, frequent: Set[str]) -> str:
    keyword = Keyword.parse(text)
    if frequent.isdisjoint(_words(keyword)):
        return text
    modifier, noun = (" ".join(word for word in part.split() if word.lower() not in frequent) for part in keyword)
    left = Keyword(modifier, noun) if noun else Keyword("", modifier)
    return left.text if left.noun else ""
