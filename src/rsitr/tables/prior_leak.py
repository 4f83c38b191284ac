"""What a prior that has seen the test images is worth: methods that differ only in the weights of their instruction.

PIR (section IV-A) instructs its image encoder with a classifier of AID's scenes, and AID holds most images of RSICD. So
mR is also given separately for the queries of test images with a near duplicate in what the prior was trained on, and
of those without.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain, combinations, product
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rsitr.tables import significance
from rsitr.tables.alike import alike, config_of
from rsitr.tables.declared import Declared
from rsitr.tables.entries import Entry
from rsitr.tables.layout import Cell, Group, Row, Table, noted, write_tables
from rsitr.tables.leakage import read_images
from rsitr.tables.significance import Differences, Recorded, compare
from rsitr.tables.view import View, averaged, seeds

Scenes = Mapping[str, Sequence[str]]
"""Address of a prior, ``scenes://EXPERIMENT/NAME`` -> the datasets whose scenes it learned."""
Seen = Mapping[tuple[str, str], set[str] | None]
"""``leakage.read_images``."""
FIELD, RANDOM = "instruction_weights", "none"
CAPTION = (
    "Test mR in percent, mean ± sample standard deviation over seeds, of methods that differ only in the weights of "
    "their instruction encoder. Overlapping: queries of test images with a near duplicate (rule copies, table leakage) "
    "in a dataset that any of the compared priors learned from; other: those of the other images. The gallery is the "
    "whole test split each time."
)
DIFFERENCES = f"The first prior minus the second; {significance.METHOD}"
NONE = "No method of this experiment has results with more than one prior (setting `instruction_weights`)."


class Family(NamedTuple):
    """A method on a dataset with several priors."""

    dataset: str
    members: Mapping[str, Entry]
    """By the address of the prior, in the order of the matrix."""

    @property
    def name(self) -> str:
        """The method, without what the variants say about the prior."""
        return next(iter(self.members.values())).method.partition("@")[0]


def families(dataset: str, entries: Iterable[Entry]) -> Iterator[Family]:
    """Among entries of a dataset, those that differ only in the prior, if there are several priors."""
    for members in alike(entries, {FIELD}):
        by_prior = {config_of(entry)[FIELD]: entry for entry in reversed(members)}
        if len(by_prior) > 1:
            yield Family(dataset, dict(reversed(by_prior.items())))


def label(address: str) -> str:
    """A short name for a prior."""
    return "random" if address == RANDOM else address.rpartition("/")[2]


class Parts:
    """The queries of a family's test set: all, those of images that its priors have seen, and the others."""

    NAMES = ("all", "overlapping", "other")

    def __init__(self, family: Family, scenes: Scenes, overlaps: Seen):
        sources = {source for address in family.members for source in scenes.get(address, ())}
        found = [overlaps.get((family.dataset, source)) for source in sorted(sources)]
        self.unknown = ""
        if not sources:
            self.unknown = "no prior of this family is in params.yaml, so what it has seen is unknown"
        elif any(images is None for images in found):
            self.unknown = f"near duplicates of {family.dataset} in {', '.join(sorted(sources))} were not counted"
        self.seen = set().union(*(images or () for images in found))

    def of(self, ranks: Recorded, name: str) -> Recorded | None:
        """The queries of a part; None if it is unknown or has no images."""
        if name == "all":
            return ranks
        seen = np.isin(ranks.image_ids.astype(str), sorted(self.seen))
        images = seen if name == "overlapping" else ~seen
        return None if self.unknown or not images.any() else ranks.among(images)


class PriorLeak:
    """The tables of an experiment."""

    def __init__(self, view: View, scenes: Scenes, overlaps: Seen):
        self.view = view
        self.families = [family for dataset in view.datasets for family in families(dataset, view.of(dataset))]
        self.parts = [Parts(family, scenes, overlaps) for family in self.families]

    @cached_property
    def ranks(self) -> dict[tuple[int, str, str], Recorded | None]:
        """By the place of a family, the address of a prior and the name of a part: the ranks of a member on it."""
        found = {}
        for place, (family, parts) in enumerate(zip(self.families, self.parts, strict=True)):
            for address, entry in family.members.items():
                whole = significance.recorded(entry) if entry.complete else None
                found.update({(place, address, name): whole and parts.of(whole, name) for name in Parts.NAMES})
        return found

    @cached_property
    def differences(self) -> Differences[tuple[int, str, str, str]]:
        """Between every two priors of a family, in each part."""
        found = {}
        for place, family in enumerate(self.families):
            for (first, second), name in product(combinations(family.members, 2), Parts.NAMES):
                ours, theirs = self.ranks[place, first, name], self.ranks[place, second, name]
                if ours is not None and theirs is not None:
                    found[place, first, second, name] = compare(ours, theirs)
        return Differences(found)

    def mean_recall(self, place: int, address: str, name: str) -> Cell:
        """mR of a member on a part of the queries."""
        from rsitr.retrieval.recall import recall

        entry = self.families[place].members[address]
        if name == "all":
            return self.view.plain(entry, "mr")
        ranks = self.ranks[place, address, name]
        if ranks is None:
            return noted("NA", self.missing(place, entry, name))
        return Cell(averaged([recall(each).mr for each in ranks.seeds]))

    def missing(self, place: int, entry: Entry, name: str) -> str:
        """Why a part has no number."""
        none = "no test image has a near duplicate in what the priors were trained on"
        return (
            entry.unavailable("mr") or self.parts[place].unknown or ("no other test image" if name == "other" else none)
        )

    def sizes(self, place: int) -> str:
        """How many test images each part has."""
        members = self.families[place].members
        address = next((address for address, entry in members.items() if entry.complete), "")
        found = [self.ranks.get((place, address, name)) for name in Parts.NAMES]
        return "/".join(str(len(ranks.image_ids)) if ranks is not None else "–" for ranks in found)

    def table(self) -> Table:
        """mR of every member."""
        rows = []
        for place, family in enumerate(self.families):
            for number, (address, entry) in enumerate(family.members.items()):
                cells = [self.mean_recall(place, address, name) for name in Parts.NAMES]
                facts = (Cell(self.view.heading(family.dataset)), Cell(label(address)), seeds(entry))
                rows.append(Row(entry.method, (*facts, Cell(self.sizes(place)), *cells), rule=not number))
        columns = ("dataset", "prior", "seeds", "test images: all/overlapping/other")
        groups = (Group("", (*columns, *(f"mR, {name}" for name in Parts.NAMES))),)
        return Table("Prior", CAPTION if rows else NONE, "method", groups, tuple(rows))

    def difference_table(self) -> Table:
        """The differences between every two members."""
        rows = []
        for place, family in enumerate(self.families):
            for number, (first, second) in enumerate(combinations(family.members, 2)):
                cells = chain(*(self.differences.cells((place, first, second, name)) for name in Parts.NAMES))
                facts = (Cell(self.view.heading(family.dataset)), Cell(f"{label(first)} minus {label(second)}"))
                rows.append(Row(family.name, (*facts, *cells), rule=not number))
        parts = (Group(f"{name} queries", significance.COLUMNS) for name in Parts.NAMES)
        groups = (Group("", ("dataset", "priors")), *parts)
        return Table("Differences between priors", DIFFERENCES, "method", groups, tuple(rows))


def build(view: View, out_dir: Path, scenes: Scenes) -> list[Path]:
    """Write ``prior-leak.csv``, ``.md``, ``.tex`` and ``.html``.

    Which test images overlap is read from the table ``leakage`` in ``out_dir``; ``scenes`` says what the priors have
    learned from. Without anything to compare, the only table says so.
    """
    found = PriorLeak(view, scenes, read_images(out_dir))
    tables = [found.table(), *([found.difference_table()] if found.families else [])]
    return write_tables(f"The prior and the leak in {view.name}", tables, view.name, out_dir / "prior-leak")


TABLE = Declared(
    "prior-leak",
    lambda material: build(material.view, material.out, material.scenes),
    "What a prior that has seen the test images is worth: mR over all queries, over those of overlapping images and "
    "over the others.",
)
