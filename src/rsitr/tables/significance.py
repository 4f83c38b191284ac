"""Differences of mR between sets of recorded ranks, with their significance, as cells of a table."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from rsitr.errors import RecordError
from rsitr.retrieval.rank_files import read_ranks
from rsitr.retrieval.recall import Ranks
from rsitr.tables.entries import Entry
from rsitr.tables.layout import Cell
from rsitr.tables.view import ABSENT, View, seeds

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


def recorded(entry: Entry, prefix: str = "") -> Recorded:
    """Ranks of all seeds of a complete entry, from the column of their ``ranks.parquet`` with a prefix, as ``dup_``.

    Raises ``RecordError`` if a file has no such column.
    """
    seeds, column = [], f"{prefix}rank"
    for run in entry.runs:
        path = run.folder / "ranks.parquet"
        queries = read_ranks(path)
        if column not in queries.ranks:
            raise RecordError(f"{path} has no column {column}, unlike its cell.json: evaluate {run.cell.path} again")
        seeds.append(queries.ranks[column])
    return Recorded(seeds, queries.image_of, queries.image_ids)


class Differences:
    """How much higher the first of each two scores in mR than the second: a table's one family of tests."""

    def __init__(self, pairs: Mapping[Hashable, tuple[Recorded, Recorded]]):
        from rsitr.retrieval.statistics import holm, paired_bootstrap

        self.found = {
            key: paired_bootstrap(ours.seeds, theirs.seeds, ours.image_of, seed=0)
            for key, (ours, theirs) in pairs.items()
        }
        self.p = dict(zip(pairs, holm([found.p for found in self.found.values()]).tolist(), strict=True))

    def cells(self, key: Hashable) -> list[Cell]:
        """Cells of ``COLUMNS``, empty if nothing was compared."""
        if key not in self.found:
            return [Cell()] * len(COLUMNS)
        found = self.found[key]
        texts = (f"{found.difference:+.2f}", f"{found.low:+.2f} to {found.high:+.2f}", f"{self.p[key]:.3f}")
        return [*map(Cell, texts)]

    def row(self, view: View, datasets: Iterable[str], method: str, metrics: Sequence[str]) -> tuple[Cell, ...]:
        """On each dataset the seeds and metrics of a method, then the cells of (dataset, method, last metric).

        Where it has no runs, the cells say that it is not expected.
        """
        cells: list[Cell] = []
        for entry in (view.entry(dataset, method) for dataset in datasets):
            if entry.runs:
                cells += [seeds(entry), *(view.plain(entry, metric) for metric in metrics)]
                cells += self.cells((entry.dataset, method, metrics[-1]))
            else:
                cells += [ABSENT] * (1 + len(metrics) + len(COLUMNS))
        return tuple(cells)
