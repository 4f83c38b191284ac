"""Is a method better than its baseline? The comparisons that params.yaml asks for, in mR, with significance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from rsitr.tables import significance
from rsitr.tables.declared import Declared, rendered
from rsitr.tables.entries import command
from rsitr.tables.layout import Cell, Group, Row, Sheet, Table, write
from rsitr.tables.view import ABSENT, View, seeds

COLUMNS = ("seeds", "mR", *significance.COLUMNS)
KINDS = {"": "", "dup_": ", identical captions counted"}
"""Prefix of metrics and ranks -> what its table is called."""
CAPTION = (
    "Test mR in percent, mean ± sample standard deviation over seeds. Δ mR: against the first row; "
    f"{significance.METHOD}"
)
COUNTED = " A caption identical to one of the image's own counts as its own."


class _Against:
    """Methods compared with their baseline, by one kind of ranks."""

    def __init__(self, view: View, baseline: str, methods: Sequence[str], prefix: str):
        self.view, self.baseline, self.methods, self.prefix = view, baseline, methods, prefix
        pairs = {(d, m): (view.entry(d, m), view.entry(d, baseline)) for d in view.datasets for m in methods}
        self.differences = significance.Differences(
            {
                pair: significance.compare(*(significance.recorded(entry, f"{prefix}rank") for entry in entries))
                for pair, entries in pairs.items()
                if all(entry.values(f"{prefix}mr") for entry in entries)
            }
        )
        self.datasets = [dataset for dataset in view.datasets if any(view.entry(dataset, m).runs for m in methods)]

    def cells(self, dataset: str, method: str) -> Iterator[Cell]:
        """Cells of a method in the columns of a dataset."""
        entry = self.view.entry(dataset, method)
        if not entry.runs:
            yield from [ABSENT] * len(COLUMNS)
            return
        yield seeds(entry)
        yield replace(self.view.value(entry, f"{self.prefix}mr"), bold=False)
        yield from self.differences.cells((dataset, method))

    def table(self) -> Table:
        """The baseline, and below it what is compared with it."""
        rows = tuple(
            Row(
                method,
                tuple(cell for dataset in self.datasets for cell in self.cells(dataset, method)),
                rule=place == 1,
            )
            for place, method in enumerate((self.baseline, *self.methods))
        )
        groups = tuple(Group(self.view.heading(dataset), COLUMNS) for dataset in self.datasets)
        caption = CAPTION + (COUNTED if self.prefix else "") + self.view.of_synthetic()
        return Table(f"Against {self.baseline}{KINDS[self.prefix]}", caption, "method", groups, rows)


def build(view: View, out_dir: Path) -> list[Path]:
    """Write ``baselines.csv``, ``.md``, ``.tex`` and ``.html``; none without ``baselines`` in the experiment."""
    wanted = view.experiment.baselines
    if not wanted:
        return []
    tables = (
        _Against(view, baseline, methods, prefix).table() for baseline, methods in wanted.items() for prefix in KINDS
    )
    sheet = Sheet(f"Methods of {view.name} against their baselines", tuple(tables), command(view.name))
    return write(sheet, out_dir / "baselines")


TABLE = Declared(
    name="baselines",
    made_from="records",
    files=lambda experiment: rendered("baselines") if experiment.baselines else (),
    build=lambda material: build(material.view, material.out),
    caption="Methods next to the baseline that params.yaml names: test mR, the difference and its interval by paired "
    "bootstrap, with and without identical captions counted.",
)
