"""Keywords of an image in the style of RSITMD (AMFMN, section IV-B): one to five, each an adjective with a noun.

RSITMD has 21,403 keywords for 4,743 images, given by its annotators. "- port" is a noun without an adjective.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence, Set
from typing import NamedTuple, Self

from rsitr.captions.noun_phrases import Phrase, noun_phrases

NO_MODIFIER = "-"
MOST = 5
"""Keywords of an image."""
Named = dict[tuple[str, ...], dict[Phrase, set[int]]]
"""Nouns in the singular -> the phrases that name them, each with the places of its captions."""


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


def extract(captions: Sequence[str]) -> list[Keyword]:
    """The keywords of the captions of one image, at most five, those that most captions name first.

    Ties go by order of appearance. Singular and plural are the same noun, and a "tank" counts as a "storage tank" if as
    many captions say so. A noun gets the adjective that most captions give it, in the form they use. Nouns that do not
    name an object (a row, the middle) are used only if there are no others; without any noun there is no keyword.
    """
    named: Named = {}
    for place, caption in enumerate(captions):
        for phrase in noun_phrases(caption):
            named.setdefault(phrase.key, {}).setdefault(phrase, set()).add(place)
    joined = _joined(_objects(named) or named)
    ranked = sorted(joined, key=lambda key: -_captions(joined[key]))
    return [_keyword(key, joined[key]) for key in ranked[:MOST]]


def _objects(named: Named) -> Named:
    objects = {
        key: {phrase: places for phrase, places in phrases.items() if not phrase.vague}
        for key, phrases in named.items()
    }
    return {key: phrases for key, phrases in objects.items() if phrases}


def _captions(phrases: dict[Phrase, set[int]]) -> int:
    """How many captions have one of the phrases."""
    return len(set().union(*phrases.values()))


def _joined(named: Named) -> Named:
    """The same, nouns merged into a compound that ends with them if at least as many captions name it."""
    joined: Named = {}
    for key, phrases in named.items():
        home = _home(key, named)
        joined[home] = joined.get(home, {}) | phrases
    return joined


def _home(key: tuple[str, ...], named: Named) -> tuple[str, ...]:
    longer = [other for other in named if len(other) > len(key) and other[-len(key) :] == key]
    most = max(longer, key=lambda other: _captions(named[other]), default=key)
    return _home(most, named) if longer and _captions(named[most]) >= _captions(named[key]) else key


def _keyword(key: tuple[str, ...], phrases: dict[Phrase, set[int]]) -> Keyword:
    modifiers: Counter[str] = Counter()
    forms: dict[str, Counter[str]] = {}
    for phrase, places in phrases.items():
        if phrase.modifier:
            modifiers[phrase.modifier] += len(places)
        if phrase.key == key:
            forms.setdefault(phrase.modifier, Counter())[" ".join(phrase.nouns)] += len(places)
            forms.setdefault("", Counter())[" ".join(phrase.nouns)] += len(places)
    modifier = modifiers.most_common(1)[0][0] if modifiers else ""
    return Keyword(modifier, forms.get(modifier, forms[""]).most_common(1)[0][0])
