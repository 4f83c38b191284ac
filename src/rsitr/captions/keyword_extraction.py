"""Keywords from captions, for images without any: one to five, in the style of RSITMD (AMFMN, IV-B)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rsitr.captions.keywords import Keyword
from rsitr.captions.noun_phrases import Phrase, noun_phrases

MOST = 5
"""Keywords of an image."""

Named = dict[tuple[str, ...], dict[Phrase, set[int]]]
"""Nouns in the singular -> the phrases that name them, each with the places of its captions."""


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
