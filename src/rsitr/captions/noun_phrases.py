"""Noun phrases of a caption: a noun or a compound of nouns, with the adjective that describes it.

The part-of-speech tags are those of textblob's PatternTagger, a Brill tagger whose lexicon comes with the package. It
knows one tag per word, so a few closed classes of words are distinguished here by their role in a caption: adjectives
that count, compare or place but describe nothing ("several", "other", "next"), nouns that do not name an object
("middle", "piece") and nouns that describe another one ("square buildings").
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from typing import Any, NamedTuple

MOST_NOUNS = 3
"""In a compound; of a longer run of nouns, which is a list without commas, the last ones are taken."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


COUNTING = _words("many several few numerous various multiple countless these those both")
"""Quantifiers that are followed only by a plural, in addition to the numbers from two."""
COMPARING = _words("other same different similar identical such certain own whole entire total overall much enough")
"""Adjectives that relate a thing to others or to itself; comparatives are known by their tag."""
PLACING = _words("next near nearby close adjacent opposite due")
"""Adjectives that work as prepositions: "a pond nearby some trees"."""
DERIVED = _words("shaped roofed colored coloured sized")
"""Adjectives derived from a noun, meaningless without the word before: "fan shaped square", "red roofed houses"."""
DESCRIBING = _words(
    "light silver cyan medium round square circle rectangle triangle oval hexagon ring arc columnar netlike"
)
"""Colours, sizes and shapes that the lexicon lists as nouns: before another noun they describe it."""
VERBS = _words("flows stretches winds twists traverses intersects spreads links curves washes blows forms")
"""Verbs that the lexicon lists as plurals: "the river flows through a forest"."""
REGIONS = _words("area region zone district space center centre")
"""Nouns that name something only with a modifier: not "this area" or "in the center", but "industrial area"."""
MEASURES = _words(
    "piece lot number amount group kind type sort variety dozen hundred thousand ten pair set series part half rest bit"
)
FORMS = _words(
    "row line order arrangement distribution layout shape form size color colour pattern style appearance length width "
    "height light silver cyan medium round rectangle triangle oval hexagon"
)
PLACES = _words(
    "side middle corner edge front frontage back left right top bottom end direction distance way place "
    "position surroundings north south east west hand year time"
)
PICTURES = _words("picture image photo painting view scene one other thing something everything nothing object")
VAGUE = MEASURES | FORMS | PLACES | PICTURES
"""Nouns, in the singular, that name no object but how much of it, in what form, where and when, or in what picture."""

_TOKEN = re.compile(r"'s|[^\W_]+(?:['-][^\W_]+)*|[^\w\s]|_")
_POSSESSIVE = re.compile(r"\s*['’`]\s*s\b")
_BE = _words("is are was were 's")
_HAVE = _words("have has had")
_ABSENT = _words("no without")


class Phrase(NamedTuple):
    """A noun phrase as it appears in a caption, in lower case."""

    modifier: str
    """The adjective closest to the noun; empty if there is none."""
    nouns: tuple[str, ...]
    key: tuple[str, ...]
    """The nouns in the singular: equal for phrases that name the same thing."""
    vague: bool
    """Not an object of the image: a PIECE of land, in the MIDDLE, a road like a SNAKE."""


class _Token(NamedTuple):
    word: str
    tag: str
    kind: str
    """N singular noun, S plural noun, A adjective, V participle, D determiner or quantifier, otherwise the tag."""


@cache
def _textblob() -> tuple[Any, Any, Any]:
    """Tagger, its lexicon and the function of the singular; imported late, since textblob imports the whole of nltk."""
    from textblob.en import lexicon
    from textblob.en.inflect import singularize
    from textblob.taggers import PatternTagger

    return PatternTagger().tag, lexicon, cache(singularize)


def _kind(word: str, tag: str) -> str:
    if tag in {"DT", "PDT", "CD", "PRP$", "JJR", "JJS"} or word in COUNTING | COMPARING:
        return "D"
    if word in PLACING:
        return "IN"
    if word in VERBS:
        return "VBZ"
    if tag.startswith("NN"):
        # "sports" is plural only in form: sports field, sports ground.
        plural = tag in {"NNS", "NNPS"} and word != "sports"
        return "" if len(word) == 1 else "S" if plural else "N"
    if tag == "JJ":
        return "A"
    return "V" if tag in {"VBN", "VBD", "VBG"} and word not in _BE else tag


_END = _Token(".", ".", ".")


def _at(tokens: Sequence[_Token], place: int) -> _Token:
    """The token at ``place``, or an end beyond either side of the caption."""
    return tokens[place] if 0 <= place < len(tokens) else _END


def _tagged(caption: str) -> list[_Token]:
    # Lower case, because a capital makes an unknown word a name; punctuation only as a boundary.
    words = _TOKEN.findall(_POSSESSIVE.sub(" 's ", caption.lower()))
    words = [word if word == "'s" or word[0].isalnum() else "." if word in ".!?" else "," for word in words]
    if not words:
        return []  # textblob turns an empty text into an empty noun
    tag, lexicon, _ = _textblob()
    tokens = [_Token(word, tag, _kind(word, tag)) for word, tag in tag(" ".join(words), tokenize=False)]
    for place, (word, _, kind) in enumerate(tokens):
        before, after = _at(tokens, place - 1), _at(tokens, place + 1)
        if kind == "VBZ" and word not in _BE | VERBS and _demands_plural(tokens, place):
            tokens[place] = _Token(word, "NNS", "S")
        elif kind == "A" and before.tag == "DT" and after.kind in {".", "IN", "WDT", "VBZ"} and word not in lexicon:
            tokens[place] = _Token(word, "NN", "N")
    return tokens


def _demands_plural(tokens: Sequence[_Token], place: int) -> bool:
    """Whether a word that could be a verb must be a plural: the tracks; many railway tracks; with red tracks."""
    start = place
    while _at(tokens, start - 1).kind in {"A", "N"}:
        start -= 1
    before = _at(tokens, start - 1)
    direct = before.word == "the" and start == place
    counted = before.word in COUNTING or (before.tag == "CD" and before.word != "one")
    return direct or counted or (before.tag == "IN" and start < place and tokens[place - 1].kind == "A")


@lru_cache(maxsize=1 << 16)
def noun_phrases(caption: str) -> tuple[Phrase, ...]:
    """The noun phrases of a caption in order, without what it says is absent.

    A noun before "of" is vague, since the phrase is about what follows: a piece of BARELAND.
    """
    tokens = _tagged(caption)
    return tuple(phrase for start, end in _runs(tokens) if (phrase := _phrase(tokens, start, end)))


def _runs(tokens: Sequence[_Token]) -> Iterator[tuple[int, int]]:
    """Where runs of nouns start and end. A plural ends its run; nouns right after it are verbs or misplaced."""
    place = 0
    while place < len(tokens):
        start = place
        while place < len(tokens) and tokens[place].kind == "N":
            place += 1
        if place < len(tokens) and tokens[place].kind == "S":
            place += 1
        if start < place:
            yield start, place
            while place < len(tokens) and tokens[place - 1].kind == "S" and tokens[place].kind in {"N", "S"}:
                place += 1
        else:
            place += 1


def _phrase(tokens: Sequence[_Token], start: int, end: int) -> Phrase | None:
    if _describes(tokens, start, end):
        return None
    first, modifier = _modifier(tokens, start)
    before = {_at(tokens, first - 1).word, _at(tokens, first - 2).word if _at(tokens, first - 1).kind == "D" else ""}
    if before & _ABSENT:
        return None
    nouns = tokens[max(start, end - MOST_NOUNS) : end]
    if len(nouns) > 1 and nouns[0].word in DESCRIBING:
        modifier, nouns = nouns[0].word, nouns[1:]
    key = tuple(map(_singular, nouns))
    if not modifier and _subject(tokens, first):
        modifier = _predicate(tokens, end)
    purposeful = _at(tokens, start - 1).tag == "VBG"  # marking lines, landing place
    vague = (
        "like" in before
        or _quantifies(tokens, end)
        or (all(word in VAGUE for word in key) and not purposeful)
        or (not modifier and len(key) == 1 and key[0] in REGIONS)
    )
    return Phrase(modifier, tuple(token.word for token in nouns), key, vague)


def _quantifies(tokens: Sequence[_Token], end: int) -> bool:
    """Whether a noun comes before "of" and what follows names the object: not in houses of different COLORS."""
    if _at(tokens, end).word != "of":
        return False
    place = end + 1
    while _at(tokens, place).kind in {"A", "D", "V"}:
        place += 1
    noun = _at(tokens, place)
    return noun.kind not in {"N", "S"} or _singular(noun) not in VAGUE


def _singular(noun: _Token) -> str:
    return str(_textblob()[2](noun.word)) if noun.kind == "S" else noun.word


def _describes(tokens: Sequence[_Token], start: int, end: int) -> bool:
    """Whether a noun is part of what describes the next one: LIGHT green trees, a FAN shaped square."""
    place = end
    while _at(tokens, place).kind == "A" or _at(tokens, place).word in DERIVED:
        place += 1
    return end - start == 1 and tokens[start].kind == "N" and place > end and _at(tokens, place).kind in {"N", "S"}


def _modifier(tokens: Sequence[_Token], start: int) -> tuple[int, str]:
    """Where the phrase whose nouns start at ``start`` begins, and the adjective next to them."""
    first = start
    while _at(tokens, first - 1).kind in {"A", "V"}:
        first -= 1
    if first == start:
        return start, ""
    nearest = tokens[start - 1]
    before = _at(tokens, start - 2)
    if nearest.word in DERIVED:
        named = before.kind in {"A", "N"} or (len(before.word) == 1 and before.word.isalpha())
        return first, f"{before.word} {nearest.word}" if named else ""
    if nearest.kind == "V" and not _attributive(tokens, first):
        return start, ""
    return first, nearest.word


def _attributive(tokens: Sequence[_Token], first: int) -> bool:
    """Whether a participle describes the noun after it, and is not the verb of one before: a river CROSSING land."""
    before = first - 1
    while _at(tokens, before).tag == "RB":
        before -= 1
    token = _at(tokens, before)
    if token.word in _BE:
        return _at(tokens, before - 1).tag == "EX"
    if token.tag.startswith("VB") and token.kind != "V":
        return token.word not in _HAVE or _at(tokens, first).tag == "VBG"
    return token.kind in {"D", "IN", "CC", ".", ","}


def _subject(tokens: Sequence[_Token], first: int) -> bool:
    """Whether the phrase that starts at ``first`` is what its clause is about, not inside another phrase."""
    place = first - 1
    while _at(tokens, place).kind == "D":
        place -= 1
    return _at(tokens, place).kind in {".", ",", "CC"}


def _predicate(tokens: Sequence[_Token], end: int) -> str:
    """The adjective predicated of the phrase before ``end``: the roofs are very RED ."""
    if _at(tokens, end).word not in _BE:
        return ""
    place = end + 1
    while _at(tokens, place).kind in {"RB", "A"}:
        place += 1
    last = _at(tokens, place - 1)
    described = last.kind == "A" and last.word not in DERIVED
    return last.word if described and _at(tokens, place).kind in {".", ",", "CC"} else ""
