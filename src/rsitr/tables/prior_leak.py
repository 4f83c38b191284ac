"""What a prior that has seen the test images is worth: methods that differ only in the weights of their instruction.

PIR (section IV-A) instructs its image encoder with a classifier of AID's scenes, and AID holds most images of RSICD. So
mR is also given separately for the queries of test images with a near duplicate in what the prior was trained on, and
of those without.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, combinations, product

import numpy as np

from rsitr.tables import significance
from rsitr.tables.declared import sheet
from rsitr.tables.entries import Entry, alike, config_of
from rsitr.tables.layout import Cell, Group, Row, Table, noted
from rsitr.tables.leakage import read_images
from rsitr.tables.significance import Recorded
from rsitr.tables.view import View, averaged, seeds, with_roles

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
NOT_SEEN = "no test image has a near duplicate in what the priors were trained on"
NONE = "No method of this experiment has results with more than one prior (setting `instruction_weights`)."

PARTS = ("all", "overlapping", "other")


class Family:
    """A method on a dataset with several priors, and its test queries: all, overlapping and other ones."""

    def __init__(self, dataset: str, members: Mapping[str, Entry], scenes: Scenes, overlaps: Seen):
        self.dataset, self.members = dataset, members
        """``members`` by the address of the prior, in the order of the matrix."""
        sources = sorted({source for address in members for source in scenes.get(address, ())})
        found = [overlaps.get((dataset, source)) for source in sources]
        self.unknown = ""
        if not sources:
            self.unknown = "no prior of this family is in params.yaml, so what it has seen is unknown"
        elif any(images is None for images in found):
            self.unknown = f"near duplicates of {dataset} in {', '.join(sources)} were not counted"
        self.seen = set().union(*(images or () for images in found))
        self.ranks = {a: significance.recorded(entry) for a, entry in members.items() if entry.complete}

    def part(self, address: str, name: str) -> Recorded | None:
        """The ranks of a member on a part of the queries; None if they are unknown or there are no images."""
        ranks = self.ranks.get(address)
        if ranks is None or name == "all":
            return ranks
        seen = np.isin(ranks.image_ids.astype(str), sorted(self.seen))
        images = seen if name == "overlapping" else ~seen
        return None if self.unknown or not images.any() else ranks.among(images)

    def mean_recall(self, view: View, address: str, name: str) -> Cell:
        """mR of a member on a part of the queries."""
        from rsitr.retrieval.recall import recall

        entry = self.members[address]
        if name == "all":
            return view.plain(entry, "mr")
        if ranks := self.part(address, name):
            return Cell(averaged([recall(each).mr for each in ranks.seeds]))
        missing = "no other test image" if name == "other" else NOT_SEEN
        return noted("NA", entry.unavailable("mr") or self.unknown or missing)

    def sizes(self) -> str:
        """How many test images each part has."""
        found = [self.part(next(iter(self.ranks), ""), name) for name in PARTS]
        return "/".join(str(len(ranks.image_ids)) if ranks else "–" for ranks in found)

    def pairs(self) -> Iterator[tuple[tuple[str, str, str], tuple[Recorded, Recorded]]]:
        """The ranks of every two priors in each part, where both are known."""
        for (first, second), name in product(combinations(self.members, 2), PARTS):
            ours, theirs = self.part(first, name), self.part(second, name)
            if ours and theirs:
                yield (first, second, name), (ours, theirs)


def families(view: View, scenes: Scenes, overlaps: Seen) -> Iterator[Family]:
    """Among the entries of each dataset, those that differ only in the prior, if there are several priors."""
    for dataset in view.datasets:
        for members in alike(view.of(dataset), {FIELD}):
            by_prior = {config_of(entry)[FIELD]: entry for entry in reversed(members)}
            if len(by_prior) > 1:
                yield Family(dataset, dict(reversed(by_prior.items())), scenes, overlaps)


def label(address: str) -> str:
    """A short name for a prior."""
    return "random" if address == RANDOM else address.rpartition("/")[2]


def _table(view: View, found: Sequence[Family]) -> Table:
    """mR of every member."""
    rows, roles = [], []
    for family in found:
        for number, (address, entry) in enumerate(family.members.items()):
            facts = (Cell(view.heading(family.dataset)), Cell(label(address)), seeds(entry), Cell(family.sizes()))
            cells = (family.mean_recall(view, address, name) for name in PARTS)
            rows.append(Row(entry.method, (*facts, *cells), rule=not number))
            roles.append(entry.role or "")
    columns = ("dataset", "prior", "seeds", "test images: all/overlapping/other", *(f"mR, {name}" for name in PARTS))
    table = Table("Prior", CAPTION if rows else NONE, "method", (Group("", columns),), tuple(rows))
    return with_roles(table, roles)


def _difference_table(view: View, found: Sequence[Family]) -> Table:
    """The differences between every two members."""
    differences = significance.Differences(
        {(place, *key): ranks for place, family in enumerate(found) for key, ranks in family.pairs()}
    )
    rows = []
    for place, family in enumerate(found):
        # The method, without what the variants say about the prior.
        method = next(iter(family.members.values())).method.partition("@")[0]
        for number, (first, second) in enumerate(combinations(family.members, 2)):
            cells = chain(*(differences.cells((place, first, second, name)) for name in PARTS))
            facts = (Cell(view.heading(family.dataset)), Cell(f"{label(first)} minus {label(second)}"))
            rows.append(Row(method, (*facts, *cells), rule=not number))
    groups = (Group("", ("dataset", "priors")), *(Group(f"{name} queries", significance.COLUMNS) for name in PARTS))
    return Table("Differences between priors", DIFFERENCES, "method", groups, tuple(rows))


def tables(view: View, scenes: Scenes, overlaps: Seen) -> list[Table]:
    """mR and its differences; without anything to compare, the only table says so."""
    found = list(families(view, scenes, overlaps))
    return [_table(view, found), *([_difference_table(view, found)] if found else [])]


TABLE = sheet(
    "prior-leak",
    "The prior and the leak in {.name}",
    lambda material: tables(material.view, material.scenes, read_images(material.out)),
    "What a prior that has seen the test images is worth: mR over all queries, over those of overlapping images and "
    "over the others.",
)
