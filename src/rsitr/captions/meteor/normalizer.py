"""Words of a caption as METEOR counts them: punctuation separated, lower case, English contractions split.

The rules are those of METEOR 1.5 under ``-norm`` (M. Denkowski and A. Lavie, 'Meteor Universal', WMT 2014): those of
the Moses tokeniser; METEOR also unifies quotes and dashes, splits words joined by a dash, and drops the dots inside an
abbreviation. What its expressions do is part of the measure, oddities included: matches that share a character are
replaced once (``a,b,c`` keeps its second comma), and white space is ASCII.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise

_LETTERS = (
    "A-Za-z\u0160\u017d\u0161\u017e\u0178\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u017e"  # Western European
    "\u0400-\u04ff\u0500-\u0527\ua640-\ua66e\ua67e-\ua697\u1d00-\u1d7f"  # Cyrillic and phonetic
)
_SYMBOL = re.compile(rf"([^0-9{_LETTERS}\s.'`,\-\u2018\u2019])", re.ASCII)
_DOTS = re.compile(r"\.(\.+)")
_ESCAPED_LAST_DOT = re.compile(r"DOTMULTI\.([^.])")
_COMMAS = tuple(re.compile(rule) for rule in ("([^0-9]),([^0-9])", "([0-9]),([^0-9])", "([^0-9]),([0-9])"))
_SINGLE_QUOTE = re.compile("[`\u2018\u2019]")
_DOUBLE_QUOTE = re.compile("[\u201c\u201d]|''")
_INNER_DASH = re.compile(rf"([0-9{_LETTERS}.])-([0-9{_LETTERS}])")
_LONE_APOSTROPHES = tuple(
    re.compile(rule)
    for rule in (
        rf"([^{_LETTERS}])'([^{_LETTERS}])",
        rf"([^{_LETTERS}0-9])'([{_LETTERS}])",
        rf"([{_LETTERS}])'([^{_LETTERS}])",
    )
)
_CONTRACTIONS = (re.compile(rf"([{_LETTERS}])'([{_LETTERS}])"), re.compile("([0-9])'(s)"))
_LETTER = re.compile(f"[{_LETTERS}]")
_SPLIT = re.compile("[ \t\n\r\f]+")
_UNICODE_SPACES = re.compile("[ \u00a0\u2000-\u200a\u202f\u205f\u3000]+")
_CONTROL = "".join(map(chr, range(33)))


class Normalizer:
    """Splits captions into words; ``prefixes`` are the abbreviations that keep their final dot.

    A prefix with the value True keeps it only before a number (``No. 5``).
    """

    def __init__(self, prefixes: Mapping[str, bool]):
        self.prefixes = dict(prefixes)

    def words(self, text: str) -> list[str]:
        """Words of a text, in lower case; none for a blank one."""
        line = _SYMBOL.sub(r" \1 ", f" {text} ")
        line = _escape_dots(line)
        for rule in _COMMAS:
            line = rule.sub(r"\1 , \2", line)
        line = _DOUBLE_QUOTE.sub(' " ', _SINGLE_QUOTE.sub("'", line))
        line = line.replace("\u2013", "-").replace("--", "-")
        line = _INNER_DASH.sub(r"\1 \2", line)
        for rule in _LONE_APOSTROPHES:
            line = rule.sub(r"\1 ' \2", line)
        for rule in _CONTRACTIONS:
            line = rule.sub(r"\1 '\2", line)
        line = _unescape_dots(self._part_dots(_split(line)))
        return _split(_UNICODE_SPACES.sub(" ", line).strip(_CONTROL).lower())

    def _part_dots(self, tokens: list[str]) -> str:
        """The line again, with the final dots of words separated unless they belong to an abbreviation."""
        return " ".join(self._part_dot(token, after) for token, after in pairwise([*tokens, ""]))

    def _part_dot(self, token: str, after: str) -> str:
        if len(token) == 1 or not token.endswith("."):
            return token
        stem = token[:-1]
        if "." in stem and _LETTER.search(stem):
            return token.replace(".", "")
        numeric_only = self.prefixes.get(stem)
        # Before a lower-case word a dot does not end a sentence, whatever comes before it.
        if numeric_only is False or "a" <= after[:1] <= "z" or (numeric_only and "0" <= after[:1] <= "9"):
            return token
        return f"{stem} ."


def _split(line: str) -> list[str]:
    return [token for token in _SPLIT.split(line) if token]


def _escape_dots(line: str) -> str:
    """Each dot of a row of dots as its own mark, so that the row stays together."""
    line = _DOTS.sub(r" DOTMULTI\1", line)
    while "DOTMULTI." in line:
        line = _ESCAPED_LAST_DOT.sub(r"DOTDOTMULTI \1", line)
        line = line.replace("DOTMULTI.", "DOTDOTMULTI")
    return line


def _unescape_dots(line: str) -> str:
    while "DOTDOTMULTI" in line:
        line = line.replace("DOTDOTMULTI", "DOTMULTI.")
    return line.replace("DOTMULTI", ".")
