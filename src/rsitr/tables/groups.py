"""Which methods significance cannot tell apart: every two of a dataset compared, and the groups that follow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from itertools import combinations
from string import ascii_uppercase
from typing import NamedTuple, TypeVar

from rsitr.errors import RecordError
from rsitr.params.ids import EXTERNAL
from rsitr.retrieval.statistics import SAMPLES, Comparison, Resampled, holm
from rsitr.tables.entries import Entry
from rsitr.tables.significance import Recorded, recorded

H = TypeVar("H", bound=Hashable)
LEVEL = 0.05
DRAWS_EACH = 50
"""Draws for each comparison of a family: after Holm's correction the least p is 2 / 50."""
PREFIXES = ("", "dup_")
"""Of the metrics by which methods are compared: mR, and mR with identical captions and pictures counted."""
METHOD = (
    "Two-sided p by paired bootstrap over test images, with seeds averaged. Holm's correction is for all pairs of main "
    "rows of the dataset, for all its other pairs, or for all with an external row. Rows that share a letter do not "
    "differ at p < 0.05."
)


class Pair(NamedTuple):
    """Two methods: how much higher the first is than the second."""

    first: str
    second: str
    found: Comparison
    p: float
    """By Holm's correction for its family."""
    family: int
    """How many comparisons the family has."""


class Compared(NamedTuple):
    """The methods of one dataset by one metric."""

    intervals: Mapping[str, tuple[float, float]]
    """By method, of its metric in percent."""
    pairs: Sequence[Pair]
    letters: Mapping[str, str]
    """Of each main method the groups that it is in, such as ``AB``."""
    left_out: Mapping[str, str]
    """Method -> why it is not compared."""


def compare(entries: Sequence[Entry], seeds: int) -> dict[str, Compared]:
    """Compare the complete entries of one dataset by mR, as each of ``PREFIXES`` takes it, on the same draws.

    Main entries that compete with ``seeds`` seeds (``Entry.competes``) are one family of tests and get letters; pairs
    with an external entry are another, so that they change nothing of the rest, and all other pairs the third. What has
    no ranks, or those of other images, is left out with the reason.
    """
    ranks: dict[str, dict[str, Recorded]] = {}
    left_out = {entry.method: entry.reason for entry in entries if entry.runs and not entry.complete}
    for entry in (entry for entry in entries if entry.complete):
        try:
            ranks[entry.method] = {prefix: recorded(entry, prefix) for prefix in PREFIXES}
        except RecordError as error:
            left_out[entry.method] = str(error)
    others = {entry.method for entry in entries if entry.role == EXTERNAL}
    usual = _usual(found[""] for method, found in ranks.items() if method not in others or others.issuperset(ranks))
    for method, found in ranks.items():
        if _test_set(found[""]) != usual:
            left_out[method] = "it was tested on other images or captions than most rows of the dataset"
    kept = {method: found for method, found in ranks.items() if method not in left_out}
    if not kept:
        return {prefix: Compared({}, [], {}, left_out) for prefix in PREFIXES}
    main = {entry.method for entry in entries if entry.method in kept and entry.competes(seeds)}
    families: dict[str, list[tuple[str, str]]] = {"main": [], "other": [], EXTERNAL: []}
    for pair in combinations(kept, 2):
        families["main" if main.issuperset(pair) else "other" if others.isdisjoint(pair) else EXTERNAL].append(pair)
    drawn = Resampled(
        {(prefix, method): each.seeds for method, found in kept.items() for prefix, each in found.items()},
        next(iter(kept.values()))[""].image_of,
        samples=max(SAMPLES, DRAWS_EACH * max(map(len, families.values()))),
        seed=0,
    )
    return {prefix: _compared(drawn, prefix, [*kept], main, [*families.values()], left_out) for prefix in PREFIXES}


def _compared(
    drawn: Resampled[tuple[str, str]],
    prefix: str,
    methods: Sequence[str],
    main: Iterable[str],
    families: Sequence[Sequence[tuple[str, str]]],
    left_out: Mapping[str, str],
) -> Compared:
    pairs = []
    for family in families:
        found = [drawn.compare((prefix, first), (prefix, second)) for first, second in family]
        corrected = holm([each.p for each in found]).tolist()
        pairs += [Pair(*names, each, p, len(family)) for names, each, p in zip(family, found, corrected, strict=True)]
    apart = {(pair.first, pair.second) for pair in pairs if pair.p < LEVEL}
    best_first = sorted(main, key=lambda method: (-drawn.value((prefix, method)), method))
    intervals = {method: drawn.interval((prefix, method)) for method in methods}
    return Compared(intervals, pairs, letters(best_first, apart), left_out)


def _test_set(found: Recorded) -> tuple[str, ...]:
    return (*map(str, found.image_ids), *map(str, found.image_of))


def _usual(found: Iterable[Recorded]) -> tuple[str, ...]:
    counted = Counter(map(_test_set, found))
    return counted.most_common(1)[0][0] if counted else ()


def letters(ordered: Sequence[H], apart: Iterable[tuple[H, H]]) -> dict[H, str]:
    """The compact letter display (Piepho 2004, insert and absorb): two share a letter unless they are ``apart``.

    ``A`` is the group of the first of ``ordered``.
    """
    groups = [frozenset(ordered)]
    for pair in apart:
        if not {*pair} <= {*ordered}:
            continue
        split = [group - {one} for group in groups if group.issuperset(pair) for one in pair]
        kept = [group for group in groups if not group.issuperset(pair)]
        groups = [*kept, *dict.fromkeys(each for each in split if each)]
        groups = [group for group in groups if not any(group < other for other in groups)]
    place = {each: number for number, each in enumerate(ordered)}
    by_first = sorted(set(groups), key=lambda group: sorted(place[each] for each in group))
    return {each: "".join(_letter(n) for n, group in enumerate(by_first) if each in group) for each in ordered}


def _letter(number: int) -> str:
    """``A`` to ``Z``, then ``A1``."""
    times, place = divmod(number, len(ascii_uppercase))
    return ascii_uppercase[place] + (str(times) if times else "")
