"""The words of a corpus as numbers, and which of its words and phrases METEOR may match.

METEOR proposes matches in four stages: the same word, the same stem, a common synset, and an entry of the paraphrase
table, read in both directions. What matches depends only on the words and is determined once per corpus.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from snowballstemmer import stemmer

from rsitr.captions.all_pairs import IntArray
from rsitr.captions.meteor.aligner import (
    BACKWARDS_PLACE_SHIFT,
    CAPTION_WEIGHT,
    CAPTION_WORDS,
    COLUMNS,
    CONTENT_WEIGHTS,
    EXACT,
    FUNCTION_WEIGHTS,
    GAIN,
    LENGTH,
    MATCHED,
    MAX_WORDS,
    ORDER,
    PARAPHRASE,
    PARAPHRASE_BACKWARDS,
    REFERENCE_WEIGHT,
    REFERENCE_WORDS,
    SPAN,
    STAGE_SHIFT,
    STEM,
    SUMS,
    SYNONYM,
)
from rsitr.captions.meteor.corpus import Corpus
from rsitr.captions.meteor.paraphrases import Paraphrases
from rsitr.captions.meteor.tables import Tables
from rsitr.errors import DatasetError

STEMMER = "english"
"""Snowball's, whose version 2.2 has the rules that METEOR 1.5 includes; later versions changed them."""


def prepare(texts: Sequence[str], tables: Tables) -> Corpus:
    """Number the words of ``texts`` and find what matches; raises ``DatasetError`` for one above ``MAX_WORDS``."""
    split = [tables.normalizer.words(text) for text in texts]
    for text, words in zip(texts, split, strict=True):
        if len(words) > MAX_WORDS:
            raise DatasetError(
                f"{text[:40]!r}... has {len(words)} words; METEOR is computed for up to {MAX_WORDS}: cut the text"
            )
    numbers: dict[str, int] = {}
    word_at = np.array([numbers.setdefault(word, len(numbers)) for word in chain(*split)], dtype=np.int64)
    same: dict[tuple[str, ...], int] = {}
    starts = np.cumsum([0, *map(len, split)])
    function = np.array([word in tables.function_words for word in numbers], dtype=np.int64)
    functions = np.concatenate([[0], np.cumsum(function[word_at])])
    phrases = _phrases(word_at, starts, list(numbers), tables.paraphrases)
    first = np.unique(phrases.units, return_index=True)[1]
    begin = phrases.places[first]
    return Corpus(
        text_starts=starts,
        same=np.array([same.setdefault(tuple(words), len(same)) for words in split], dtype=np.int64),
        weights=CONTENT_WEIGHTS[EXACT] * np.diff(starts)
        + (FUNCTION_WEIGHTS - CONTENT_WEIGHTS)[EXACT] * np.diff(functions[starts]),
        place_starts=_starts(phrases.places, len(word_at)),
        place_units=phrases.units.astype(np.int32),
        **_matches(list(numbers), phrases, functions[begin + phrases.lengths] - functions[begin], tables),
    )


class _Phrases(NamedTuple):
    """The units of a corpus, where they start, and which paraphrase which."""

    places: IntArray
    """[occurrences], ascending; at one place by length."""
    units: IntArray
    """[occurrences]"""
    lengths: IntArray
    """[units], in words."""
    entries: IntArray
    """[2, entries]: units and units that paraphrase them, in the order of the table."""


def _phrases(word_at: IntArray, starts: IntArray, vocabulary: list[str], table: Paraphrases) -> _Phrases:
    found = _nodes(word_at, starts, vocabulary, table)
    occurs = np.zeros(table.starts[-1], dtype=bool)
    for _, nodes in found:
        occurs[nodes] = True
    entries = np.flatnonzero(occurs[table.phrases] & occurs[table.paraphrases])
    related = np.stack([table.phrases[entries], table.paraphrases[entries]])
    several = np.unique(related)
    several = several[several >= table.starts[1]]
    unit_of = np.full(table.starts[-1], -1, dtype=np.int64)
    unit_of[several] = len(vocabulary) + np.arange(len(several))
    places, units = [np.arange(len(word_at))], [word_at]
    for where, nodes in found[1:]:
        chosen = unit_of[nodes] >= 0
        places.append(where[chosen])
        units.append(unit_of[nodes[chosen]])
    where, nodes = found[0]
    unit_of[nodes] = word_at[where]
    order = np.argsort(np.concatenate(places), kind="stable")
    sizes = np.searchsorted(table.starts, several, side="right")
    return _Phrases(
        places=np.concatenate(places)[order],
        units=np.concatenate(units)[order],
        lengths=np.concatenate([np.ones(len(vocabulary), dtype=np.int64), sizes]),
        entries=unit_of[related],
    )


def _nodes(
    word_at: IntArray, starts: IntArray, vocabulary: list[str], table: Paraphrases
) -> list[tuple[IntArray, IntArray]]:
    """For each number of words from 1: where phrases of the table start, and their nodes."""
    numbers = np.array([table.words.get(word, -1) for word in vocabulary], dtype=np.int64)
    # Each text ends in a border; with the borders, a place shifts by the number of its text.
    moved = np.arange(len(word_at)) + np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    bordered = np.full(len(word_at) + len(starts) - 1, -1, dtype=np.int64)
    bordered[moved] = numbers[word_at]
    return [(np.searchsorted(moved, places), nodes) for places, nodes in table.occurrences(bordered)]


def _matches(vocabulary: list[str], phrases: _Phrases, functions: IntArray, tables: Tables) -> dict[str, Any]:
    """The fields ``match_...`` of ``Corpus``; ``functions`` counts the function words of each unit."""
    by_stage = {
        EXACT: np.tile(np.arange(len(vocabulary)), (2, 1)),
        STEM: _sharing([(stem,) for stem in stemmer(STEMMER).stemWords(vocabulary)]),
        SYNONYM: _sharing([tables.meanings(word) for word in vocabulary]),
        PARAPHRASE: phrases.entries[::-1],
        PARAPHRASE_BACKWARDS: phrases.entries,
    }
    stage = np.repeat(list(by_stage), [pairs.shape[1] for pairs in by_stage.values()])
    rank = np.concatenate([np.arange(pairs.shape[1]) for pairs in by_stage.values()])
    own, other = np.concatenate(list(by_stage.values()), axis=1)
    length, span = phrases.lengths[own], phrases.lengths[other]
    content, function = CONTENT_WEIGHTS[stage], FUNCTION_WEIGHTS[stage]
    rows = np.zeros((len(stage), COLUMNS), dtype=np.int64)
    rows[:, LENGTH], rows[:, SPAN] = length, span
    rows[:, GAIN] = -MATCHED * np.where(stage == EXACT, length + span, length // 2 + span // 2)
    rows[:, SUMS] = (
        (content * length + (function - content) * functions[own]) << CAPTION_WEIGHT
        | (content * span + (function - content) * functions[other]) << REFERENCE_WEIGHT
        | length << CAPTION_WORDS
        | span << REFERENCE_WORDS
    )
    # Words: by place. Paraphrases: by length of the phrase in the reference, entry, place; or place, length, entry.
    rows[:, ORDER] = stage << STAGE_SHIFT
    rows[stage == PARAPHRASE, ORDER] += (span << 52 | rank << 12)[stage == PARAPHRASE]
    rows[stage == PARAPHRASE_BACKWARDS, ORDER] += (length << 40 | rank)[stage == PARAPHRASE_BACKWARDS]
    order = np.argsort(own, kind="stable")
    return {
        "match_starts": _starts(own[order], len(phrases.lengths)),
        "match_units": other[order].astype(np.int32),
        "match_rows": rows[order],
        "match_shifts": np.where(stage == PARAPHRASE_BACKWARDS, BACKWARDS_PLACE_SHIFT, 0)[order],
    }


def _sharing(properties: Sequence[Iterable[str] | Iterable[int]]) -> IntArray:
    """[2, pairs]: all ordered pairs of different places with a property in common."""
    owners: defaultdict[str | int, list[int]] = defaultdict(list)
    for place, own in enumerate(properties):
        for each in own:
            owners[each].append(place)
    pairs = [
        (place, other)
        for place, own in enumerate(properties)
        for other in sorted({other for each in own for other in owners[each]} - {place})
    ]
    return np.array(pairs, dtype=np.int64).reshape(-1, 2).T


def _starts(owners: IntArray, count: int) -> IntArray:
    """Where the run of each owner starts in an ascending list of owners, and the end: int64 [count + 1]."""
    return np.searchsorted(owners, np.arange(count + 1))
