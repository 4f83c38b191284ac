"""Differences of mR between sets of recorded ranks, with their significance, as cells of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

import numpy as np

from rsitr.errors import RecordError
from rsitr.retrieval.rank_files import read_ranks
from rsitr.retrieval.recall import Ranks
from rsitr.tables.entries import Entry
from rsitr.tables.layout import Cell
from rsitr.tables.view import ABSENT, View, seeds

if TYPE_CHECKING:
    from rsitr.retrieval.statistics import Comparison

Key = TypeVar("Key")

COLUMNS = ("Δ mR", "95 % interval", "p")
METHOD = (
    "interval and two-sided p by paired bootstrap over test images, with seeds averaged and p corrected for the number "
    "of comparisons in this table (Holm)."
)
"""The end of a caption."""


class Recorded(NamedTuple):
    """The ranks of an entry."""

    seeds: list[Ranks]
    image_of: np.ndarray
    """The image of each caption."""
    image_ids: np.ndarray
    """Of the images."""

    def among(self, images: np.ndarray) -> Recorded:
        """The queries of some images [I], a mask; what they are looked for in stays whole."""
        captions = images[self.image_of]
        seeds = [Ranks(ranks.i2t[images], ranks.t2i[captions]) for ranks in self.seeds]
        return Recorded(seeds, (np.cumsum(images) - 1)[self.image_of[captions]], self.image_ids[images])


def recorded(entry: Entry, column: str = "rank") -> Recorded:
    """Ranks of all seeds of a complete entry, from a column of their ``ranks.parquet``.

    Raises ``RecordError`` if a file has no such column.
    """
    seeds = []
    for run in entry.runs:
        path = run.folder / "ranks.parquet"
        queries = read_ranks(path)
        if column not in queries.ranks:
            raise RecordError(f"{path} has no column {column}, unlike its cell.json: evaluate {run.cell.path} again")
        seeds.append(queries.ranks[column])
    return Recorded(seeds, queries.image_of, queries.image_ids)


def compare(ours: Recorded, theirs: Recorded) -> Comparison:
    """How much higher ours score in mR than theirs."""
    from rsitr.retrieval.statistics import paired_bootstrap

    return paired_bootstrap(ours.seeds, theirs.seeds, ours.image_of, seed=0)


class Differences(Generic[Key]):
    """The comparisons of a table, which form one family of tests."""

    def __init__(self, found: Mapping[Key, Comparison]):
        from rsitr.retrieval.statistics import holm

        self.found = found
        self.p = dict(zip(found, holm([comparison.p for comparison in found.values()]).tolist(), strict=True))

    def cells(self, key: Key) -> list[Cell]:
        """Cells of ``COLUMNS``, empty if nothing was compared."""
        if key not in self.found:
            return [Cell()] * len(COLUMNS)
        found = self.found[key]
        texts = (f"{found.difference:+.2f}", f"{found.low:+.2f} to {found.high:+.2f}", f"{self.p[key]:.3f}")
        return [Cell(text) for text in texts]

    def row(self, view: View, entry: Entry, metrics: Sequence[str], key: Key) -> list[Cell]:
        """Seeds and metrics of an entry, then the cells of ``key``; that it is not expected, if it has no runs."""
        if not entry.runs:
            return [ABSENT] * (1 + len(metrics) + len(COLUMNS))
        return [seeds(entry), *(view.plain(entry, metric) for metric in metrics), *self.cells(key)]
