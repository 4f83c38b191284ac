"""Captions that do not fit the scene class of their image.

Captions name many scenes besides their own: a resort is on a beach. A caption is suspected only if all of this holds.
It has no word of its own class: the name, its head noun, or a word that belongs to the class because most captions with
it are of that class (``train`` to railwaystation). Its subject, the words before the first verb or preposition of
place, ends with the full name of another class. That name belongs to the other class (``bridge`` does, ``river`` does
not), and almost no caption of the image's own class uses it.

This finds 49 distinct captions on RSICD and 53 on RSITMD; judged by hand, 40 and 37 of them are about another scene
than the class, the others about something at the edge of the right one.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

EXCLUSIVE = 0.5
"""A word belongs to a class with more than this share of the captions that use it."""
RARE = 0.01
"""Largest share of a class's captions that may use another class's name for that name to be evidence."""
MIN_COUNT = 5
"""A word in fewer captions is not evidence."""
MIN_LENGTH = 3
"""Of each of these words: ``mountain`` has no ``in`` in it."""

_OPENINGS = re.compile(r"^(?:(?:there|this|it|here|these) (?:is|are|was|were)|(?:it|there|here|that)'s) ")
_END = re.compile(
    r" (?:in|on|at|near|nearby|beside|besides|by|with|without|around|between|next|to|surrounded|along|and|or|is|are|was"
    r"|were|which|that|has|have|from|for|across|under|over|through|above|below|into|close|located|full) "
)
_AREA = re.compile(r" (?:areas?|districts?|zones?|regions?)$")


def subject(words: Sequence[str]) -> list[str]:
    """What a caption is about: there is a GAS STATION near ...; a piece of FARMLAND; many COMMERCIAL areas are ..."""
    text = _OPENINGS.sub("", " ".join(words))
    about = _END.split(f" {text} ", maxsplit=1)[0]
    return _AREA.sub("", about.rstrip()).rpartition(" of ")[2].split()


def _numbers(word: str) -> set[str]:
    """Singular and plural."""
    if word.endswith("s"):
        return {word, word[:-1]}
    return {word, word + ("es" if word.endswith(("ch", "sh")) else "s")}


def split_name(name: str, counts: Counter[str]) -> tuple[str, str] | None:
    """The two words of the corpus that make up a class name, or None: baseballfield, baseball field.

    Of several ways, the one whose rarer word is more frequent.
    """
    cuts = [(name[:place], name[place:]) for place in range(MIN_LENGTH, len(name) - MIN_LENGTH + 1)]
    usual = [cut for cut in cuts if min(counts[word] for word in cut) >= MIN_COUNT]
    return max(usual, key=lambda cut: min(counts[word] for word in cut), default=None)


class ClassNames:
    """How the captions of a dataset name its classes."""

    def __init__(self, captions: Iterable[tuple[str, list[str]]]):
        """``captions`` are the class of the image and the words of each."""
        captions = [(class_name, words) for class_name, words in captions if class_name]
        self.size = Counter(class_name for class_name, _ in captions)
        spread: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for class_name, words in captions:
            for word in set(words):
                spread[word][class_name] += 1
        counts = Counter({word: classes.total() for word, classes in spread.items()})
        self.full: dict[tuple[str, ...], str] = {}
        """Full name, as one word or two -> class."""
        self.own: defaultdict[str, set[str]] = defaultdict(set)
        """Class -> words that show that a caption is of it."""
        for word, classes in spread.items():
            ((name, most),) = classes.most_common(1)
            if counts[word] >= MIN_COUNT and most > EXCLUSIVE * counts[word]:
                self.own[name].add(word)
        for name in sorted(self.size):
            parts = split_name(name, counts)
            head = parts[1] if parts else name
            self.own[name] |= _numbers(name) | _numbers(head)
            self.full |= {(word,): name for word in _numbers(name)}
            self.full |= {(parts[0], word): name for word in _numbers(head)} if parts else {}
        self.use: defaultdict[str, Counter[str]] = defaultdict(Counter)
        """Class -> how many captions of each class use its full name."""
        for class_name, words in captions:
            for other in self.named(words):
                self.use[other][class_name] += 1

    def named(self, words: Sequence[str]) -> set[str]:
        """Classes whose full name is among ``words``."""
        grams = [tuple(words[place : place + size]) for size in (1, 2) for place in range(len(words))]
        return {self.full[gram] for gram in grams if gram in self.full}

    def misfit(self, own: str, words: Sequence[str]) -> str:
        """The other class that a caption of an image of the class ``own`` is about, or an empty string."""
        if not own or self.own[own] & set(words):
            return ""
        about = tuple(subject(words))
        other = next((self.full[tail] for tail in (about[-2:], about[-1:]) if tail in self.full), own)
        if other == own:
            return ""
        use = self.use[other]
        exclusive = use[other] > EXCLUSIVE * use.total()
        return other if exclusive and use[own] <= RARE * self.size[own] else ""
