"""What GaLR's multivariate re-ranking (``rsitr.retrieval.rerank``) changes: every method with and without it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from rsitr.tables import significance
from rsitr.tables.declared import Declared, rendered
from rsitr.tables.entries import command
from rsitr.tables.layout import Cell, Group, Row, Sheet, Table, write
from rsitr.tables.published import METRICS
from rsitr.tables.view import ABSENT, HEADERS, View, seeds

PREFIX = "rr_"
"""Of the metrics, and of the column of ranks, after re-ranking."""
COLUMNS = ("seeds", *HEADERS.values(), *significance.COLUMNS)
CAPTION = (
    "Recall at K and mR on the test split in percent, mean ± sample standard deviation over seeds, of the lists as the "
    "method sorts them and, in the row below, after multivariate re-ranking of their first 30 items (Yuan et al. 2022, "
    "GaLR) by the share of the query in the scores of a candidate, by the candidate's place, and by the query's place "
    "in the list that the candidate retrieves in turn. It uses the scores of all queries of the test split. Δ mR: what "
    f"re-ranking adds; {significance.METHOD}"
)


class _Reranking:
    """The rows of an experiment."""

    def __init__(self, view: View):
        self.view = view
        self.differences = significance.Differences(
            {
                pair: significance.compare(significance.recorded(entry, f"{PREFIX}rank"), significance.recorded(entry))
                for pair, entry in view.entries.items()
                if entry.values(f"{PREFIX}mr")
            }
        )

    def cells(self, dataset: str, method: str, prefix: str) -> Iterator[Cell]:
        """Cells of a method in the columns of a dataset."""
        entry = self.view.entry(dataset, method)
        if not entry.runs:
            yield from [ABSENT] * len(COLUMNS)
            return
        yield seeds(entry)
        yield from (replace(self.view.value(entry, prefix + metric), bold=False) for metric in METRICS)
        yield from self.differences.cells((dataset, method)) if prefix else [Cell()] * len(significance.COLUMNS)

    def rows(self) -> Iterator[Row]:
        """Two for each method."""
        for method in self.view.methods:
            for label, prefix in ((method, ""), (f"{method}, re-ranked", PREFIX)):
                cells = (cell for dataset in self.view.datasets for cell in self.cells(dataset, method, prefix))
                yield Row(label, tuple(cells), rule=not prefix)

    def table(self) -> Table:
        """The complete table."""
        groups = tuple(Group(self.view.heading(dataset), COLUMNS) for dataset in self.view.datasets)
        return Table("Re-ranking", CAPTION, "method", groups, tuple(self.rows()))


def build(view: View, out_dir: Path) -> list[Path]:
    """Write ``reranking.csv``, ``.md``, ``.tex`` and ``.html``."""
    sheet = Sheet(f"Re-ranking in {view.name}", (_Reranking(view).table(),), command(view.name))
    return write(sheet, out_dir / "reranking")


TABLE = Declared(
    name="reranking",
    made_from="records",
    files=lambda experiment: rendered("reranking"),
    build=lambda material: build(material.view, material.out),
    caption="Every method before and after the multivariate re-ranking of GaLR: test recalls, the difference in mR and "
    "its interval.",
)
