"""Leakage: the test images with a near duplicate in anything a model may be trained on.

Near duplicates are linked by chains through all datasets considered. So two pictures of one place, neither inside the
other, are found if both are inside a third.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import combinations_with_replacement
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow.compute as pc

from rsitr.datasets.exports.card import Leak
from rsitr.datasets.table import read_table
from rsitr.dedup.groups import RULES, Groups, Image, image_groups
from rsitr.dedup.pairs import current_near_duplicates, read_near_duplicates
from rsitr.errors import DatasetError
from rsitr.records.paths import Paths

WHOLE = "all"
"""The split of a source without its own test split."""

Pair = tuple[str, str]
"""Two datasets in alphabetical order, or the same one twice."""


class Overlap(NamedTuple):
    """What a test set has in common with a source."""

    source: str
    source_split: str
    """``train``, ``val`` or ``all``."""
    test: str
    rule: str
    images: Mapping[str, str] | None
    """The test images with a near duplicate in the source, each with the first such image; None if unknown."""
    of: int
    """Readable test images."""
    among: int
    """Readable images of the source."""
    reason: str = ""
    """Why ``images`` is unknown."""

    @property
    def share(self) -> float:
        """Percentage of the test images that leak; nan if unknown."""
        return np.nan if self.images is None else 100 * len(self.images) / self.of


class _Dataset:
    """What a canonical table says about a dataset as a source and as a test set."""

    def __init__(self, name: str, path: Path):
        table, facts = read_table(path)
        self.name, self.data_sha = name, facts.data_sha
        ids, split = table["image_id"].to_numpy(), table["split"].to_numpy()
        usable = table["problem"].to_numpy() == ""
        described = pc.list_value_length(table["captions"]).to_numpy() > 0
        is_test = split == "test"
        parts = {part: split == part for part in ("train", "val") if part in split} if is_test.any() else {WHOLE: True}
        self.sources = {part: tuple(ids[usable & rows]) for part, rows in parts.items()}
        self.test = tuple(ids[usable & is_test])
        self.has_test = bool((is_test & described).any())
        self.empty = not usable.any()


def overlaps(tables: Mapping[str, Path], near_duplicates: Mapping[Pair, Path], rule: str) -> list[Overlap]:
    """The overlap of every test set with every source under a rule, in the order of the tables: source, then test set.

    ``tables`` are canonical tables by dataset. A test set is the test split of a dataset with captions; sources are the
    train and val splits of all datasets, and datasets without a test split as a whole. What cannot be compared is
    unknown, with the reason: no local images, or near duplicates within or between the two sets that were not searched
    for or come from other data. Raises ``DatasetError`` if a table is missing and ``ParamsError`` for an unknown rule.
    """
    sets, groups, wrong = _linked(tables, near_duplicates, rule)
    return [
        _overlap(source, split, test, rule, groups, _unknown(source, split, test, wrong))
        for source in sets
        for split in source.sources
        for test in sets
        if test.has_test
    ]


def _linked(
    tables: Mapping[str, Path], near_duplicates: Mapping[Pair, Path], rule: str
) -> tuple[list[_Dataset], Groups, dict[Pair, str]]:
    """The datasets, the groups of their images, and for each pair without a table of the present data what is wrong."""
    sets = [_Dataset(name, path) for name, path in tables.items()]
    shas = {each.name: each.data_sha for each in sets}
    found, wrong = [], {}
    for pair in combinations_with_replacement(sorted(shas), 2) if rule == "copies" else ():
        try:
            found.append(_checked(near_duplicates, pair, shas))
        except DatasetError as error:
            wrong[pair] = str(error)
    return sets, image_groups(rule, tables, found), wrong


def _checked(near_duplicates: Mapping[Pair, Path], pair: Pair, data_shas: Mapping[str, str]) -> Path:
    """The table of near duplicates of a pair; raises ``DatasetError`` if there is none for the present data."""
    if pair not in near_duplicates:
        raise DatasetError(f"{' and '.join(dict.fromkeys(pair))}: near duplicates were not looked for")
    _, facts = current_near_duplicates(near_duplicates[pair], data_shas)
    if (facts.first, facts.second) != pair:
        raise DatasetError(f"{near_duplicates[pair]} is of {facts.first} in {facts.second}: delete it and run again")
    return near_duplicates[pair]


def _unknown(source: _Dataset, split: str, test: _Dataset, wrong: dict[Pair, str]) -> str:
    """Why the overlap of a source and a test set is unknown; empty if it is known."""
    for each, part, ids in ((test, "test", test.test), (source, split, source.sources[split])):
        if not ids:
            return f"no images of {each.name if each.empty else f'{each.name} {part}'} at hand"
    names = sorted({source.name, test.name})
    return next((wrong[pair] for pair in combinations_with_replacement(names, 2) if pair in wrong), "")


def _overlap(source: _Dataset, split: str, test: _Dataset, rule: str, groups: Groups, unknown: str) -> Overlap:
    first = {groups.get((source.name, image_id)): image_id for image_id in reversed(source.sources[split])}
    first.pop(None, None)
    group_of = {image_id: groups.get((test.name, image_id)) for image_id in test.test}
    images = {image_id: first[group] for image_id, group in group_of.items() if group in first}
    sizes = len(test.test), len(source.sources[split])
    return Overlap(source.name, split, test.name, rule, None if unknown else images, *sizes, unknown)


def leaks_of(
    images: Collection[Image], tables: Mapping[str, Path], near_duplicates: Mapping[Pair, Path], rule: str
) -> dict[str, tuple[int, int] | None]:
    """By test set, how many test images have a near duplicate among given images, and out of how many; None if unknown.

    The other arguments, and what is unknown, are as for ``overlaps``.
    """
    sets, groups, wrong = _linked(tables, near_duplicates, rule)
    sources, seen = {name for name, _ in images}, {groups[image] for image in images if image in groups}
    counts: dict[str, tuple[int, int] | None] = {}
    for test in (each for each in sets if each.has_test):
        pairs = {pair for name in sources for pair in combinations_with_replacement(sorted({name, test.name}), 2)}
        known = test.test and sources <= set(tables) and not pairs & set(wrong)
        near = sum(groups.get((test.name, image_id)) in seen for image_id in test.test)
        counts[test.name] = (near, len(test.test)) if known else None
    return counts


def leaks_within(name: str) -> list[Leak]:
    """How many test images of a dataset have a near duplicate in its train and val split, by either rule.

    Under ``copies`` that is known once the near duplicates within the dataset were searched for. Raises
    ``DatasetError`` if its table is missing.
    """
    tables, pairs = {name: Paths.dataset(name)}, {(name, name): Paths.near_duplicates(name, name)}
    found = [overlap for rule in RULES for overlap in overlaps(tables, pairs, rule)]
    return [Leak(it.rule, it.source_split, None if it.images is None else len(it.images), it.of) for it in found]


EVIDENCE = ("part", "orientation", "detail", "agreement")


def evidence(overlap: Overlap, near_duplicates: Mapping[Pair, Path]) -> pd.DataFrame:
    """The evidence for each image of a known overlap under ``copies``: the best pair with an image of the source.

    One row per image, in order: ``test_image``, ``source_image``, ``link`` and ``EVIDENCE``, in which ``part`` says
    which of the two, ``test`` or ``source``, is seen inside the other after ``orientation``. ``link`` is ``pair``, or
    ``chain`` if only a chain of pairs leads to the source: nothing is then stated about the two images themselves.
    """
    first, second = sorted((overlap.source, overlap.test))
    pairs, facts = read_near_duplicates(near_duplicates[first, second])
    found = []
    for test, source in (("first", "second"), ("second", "first")):
        if (getattr(facts, test), getattr(facts, source)) == (overlap.test, overlap.source):
            chosen = pairs[f"{source}_split"].eq(overlap.source_split) | (overlap.source_split == WHOLE)
            names = {test: "test_image", source: "source_image"}
            sides = pairs["part"].map({test: "test", source: "source"})
            found.append(pairs.assign(part=sides, link="pair")[chosen].rename(columns=names))
    best = pd.concat(found).sort_values(["detail", "source_image"], ascending=[False, True], kind="stable")
    linked = pd.Series(dict(overlap.images or {}), dtype=object).rename_axis("test_image")
    best = best.drop_duplicates("test_image").set_index("test_image").reindex(linked.index)
    best = best.fillna({"source_image": linked, "link": "chain"}).reset_index()
    return best[["test_image", "source_image", "link", *EVIDENCE]]
