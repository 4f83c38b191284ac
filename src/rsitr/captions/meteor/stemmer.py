"""The English Snowball stemmer, in the version that METEOR 1.5 includes.

The algorithm is M. Porter's 'English (Porter2)', snowballstem.org, as of 2012; the names of the steps are his. nltk's
differs on words such as ``quantization``.
"""

from __future__ import annotations

import re

# fmt: off
_WHOLE = {
    "skis": "ski", "skies": "sky", "dying": "die", "lying": "lie", "tying": "tie", "idly": "idl", "gently": "gentl",
    "ugly": "ugli", "early": "earli", "only": "onli", "singly": "singl",
    **{word: word for word in ("sky", "news", "howe", "atlas", "cosmos", "bias", "andes")},
}
# fmt: on
"""Words with irregular stems."""
_FINISHED = {"inning", "outing", "canning", "herring", "earring", "proceed", "exceed", "succeed"}
"""Words that no step after 1a may touch."""
_REGION_PREFIXES = ("gener", "commun", "arsen")
_VOWEL = re.compile("[aeiouy]")
_REGION = re.compile("[aeiouy][^aeiouy]")
_SHORT_SYLLABLE = re.compile("(?:[^aeiouy][aeiouy][^aeiouywxY]|^[aeiouy][^aeiouy])$")
_INNER_Y = re.compile("([aeiouy])y")
_DOUBLES = ("bb", "dd", "ff", "gg", "mm", "nn", "pp", "rr", "tt")

# fmt: off
_STEP_2 = {
    "ational": "ate", "fulness": "ful", "iveness": "ive", "ization": "ize", "ousness": "ous", "biliti": "ble",
    "lessli": "less", "tional": "tion", "alism": "al", "aliti": "al", "ation": "ate", "entli": "ent", "fulli": "ful",
    "iviti": "ive", "ousli": "ous", "abli": "able", "alli": "al", "anci": "ance", "ator": "ate", "enci": "ence",
    "izer": "ize", "bli": "ble", "ogi": "og", "li": "",
}
_STEP_3 = {
    "ational": "ate", "tional": "tion", "alize": "al", "ative": "", "icate": "ic", "iciti": "ic", "ical": "ic",
    "ness": "", "ful": "",
}
# fmt: on
_STEP_4 = (
    *("ement", "able", "ance", "ence", "ible", "ment", "ant", "ate", "ent", "ion"),
    *("ism", "iti", "ive", "ize", "ous", "al", "er", "ic"),
)


def stem(word: str) -> str:
    """The stem of a lower-case word."""
    if word in _WHOLE or len(word) <= 2:
        return _WHOLE.get(word, word)
    word = _mark_consonants(word.removeprefix("'"))
    first, second = _regions(word)
    word = _step_1a(_step_0(word))
    if word in _FINISHED:
        return word
    word = _step_1c(_step_1b(word, first))
    word = _step_3(_step_2(word, first), first, second)
    return _step_5(_step_4(word, second), first, second).replace("Y", "y")


def _mark_consonants(word: str) -> str:
    """``Y`` for each y that is a consonant: at the start, or after a vowel."""
    return _INNER_Y.sub(r"\1Y", f"Y{word[1:]}" if word.startswith("y") else word)


def _regions(word: str) -> tuple[int, int]:
    """Where R1 and R2 start: after the first consonant that follows a vowel, and the same again from there."""
    prefix = next((prefix for prefix in _REGION_PREFIXES if word.startswith(prefix)), None)
    first = len(prefix) if prefix else _after(word, 0)
    return first, _after(word, first)


def _after(word: str, start: int) -> int:
    found = _REGION.search(word, start)
    return found.end() if found else len(word)


def _longest(word: str, suffixes: tuple[str, ...] | dict[str, str]) -> str | None:
    """The longest suffix of the word; every table here has longer suffixes before shorter ones."""
    return next((suffix for suffix in suffixes if word.endswith(suffix)), None)


def _cut(word: str, suffix: str, replacement: str = "") -> str:
    return word[: len(word) - len(suffix)] + replacement


def _step_0(word: str) -> str:
    suffix = _longest(word, ("'s'", "'s", "'"))
    return _cut(word, suffix) if suffix else word


def _step_1a(word: str) -> str:
    suffix = _longest(word, ("sses", "ied", "ies", "us", "ss", "s"))
    if suffix == "sses":
        return _cut(word, "es")
    if suffix in ("ied", "ies"):
        return _cut(word, suffix, "i" if len(word) > 4 else "ie")
    if suffix == "s" and _VOWEL.search(word, 0, len(word) - 2):
        return _cut(word, "s")
    return word


def _step_1b(word: str, first: int) -> str:
    suffix = _longest(word, ("eedly", "ingly", "edly", "eed", "ing", "ed"))
    if suffix in ("eedly", "eed"):
        return _cut(word, suffix, "ee") if len(word) - len(suffix) >= first else word
    if not suffix or not _VOWEL.search(word, 0, len(word) - len(suffix)):
        return word
    word = _cut(word, suffix)
    if word.endswith(("at", "bl", "iz")):
        return f"{word}e"
    if word.endswith(_DOUBLES):
        return word[:-1]
    # A short word: it ends in a short syllable, and R1 is empty.
    return f"{word}e" if first >= len(word) and _SHORT_SYLLABLE.search(word) else word


def _step_1c(word: str) -> str:
    if len(word) > 2 and word[-1] in "yY" and word[-2] not in "aeiouy":
        return _cut(word, "y", "i")
    return word


def _step_2(word: str, first: int) -> str:
    suffix = _longest(word, _STEP_2)
    if suffix is None or len(word) - len(suffix) < first:
        return word
    before = word[-len(suffix) - 1 : -len(suffix)]
    if (suffix == "ogi" and before != "l") or (suffix == "li" and before not in tuple("cdeghkmnrt")):
        return word
    return _cut(word, suffix, _STEP_2[suffix])


def _step_3(word: str, first: int, second: int) -> str:
    suffix = _longest(word, _STEP_3)
    if suffix is None or len(word) - len(suffix) < (second if suffix == "ative" else first):
        return word
    return _cut(word, suffix, _STEP_3[suffix])


def _step_4(word: str, second: int) -> str:
    suffix = _longest(word, _STEP_4)
    if suffix is None or len(word) - len(suffix) < second:
        return word
    if suffix == "ion" and word[-4] not in "st":
        return word
    return _cut(word, suffix)


def _step_5(word: str, first: int, second: int) -> str:
    place = len(word) - 1
    if word.endswith("l"):
        return word[:-1] if place >= second and word[place - 1] == "l" else word
    if not word.endswith("e"):
        return word
    if place >= second or (place >= first and not _SHORT_SYLLABLE.search(word, 0, place)):
        return word[:-1]
    return word
