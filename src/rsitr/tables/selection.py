"""What choosing the epoch on the test split adds: the same training, with its epoch chosen on val and on test."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from statistics import mean, stdev
from typing import NamedTuple

from rsitr.tables.alike import alike, config_of
from rsitr.tables.declared import Declared, rendered
from rsitr.tables.entries import Entry, Run, command
from rsitr.tables.layout import Cell, Group, Note, Row, Sheet, Table, write
from rsitr.tables.view import View, absent, written

COLUMNS = ("seeds", "mR, epoch chosen on val", "mR, epoch chosen on test", "inflation", "epochs on val", "on test")
CAPTION = (
    "Test mR in percent of the same training, once with the epoch that has the best mR on val, once with the one that "
    "has the best mR on test, as much published code chooses it; mean ± sample standard deviation over seeds. "
    "Inflation: how much higher the second scores than the first, seed by seed. Chosen on test, an epoch cannot be "
    "worse there than any other, so the inflation is never negative, and a significance test would be meaningless. "
    "Epochs: those chosen, one for each seed."
)
NONE = "No method of this experiment has results with the epoch chosen on test (setting `selection: test`)."


class Pair(NamedTuple):
    """A method with both ways to choose its epoch, on one dataset."""

    val: Entry
    test: Entry

    @property
    def inflation(self) -> list[float]:
        """Test mR by seed, chosen on test minus chosen on val; empty unless both have the same seeds, all of them."""
        ours, theirs = self.val.values("mr"), self.test.values("mr")
        seeds = [[run.cell.seed for run in entry.runs] for entry in self]
        paired = ours and theirs and seeds[0] == seeds[1]
        return [high - low for low, high in zip(ours, theirs, strict=True)] if paired else []


def pairs(entries: Iterable[Entry]) -> Iterator[Pair]:
    """Among entries of one dataset, those that differ only in ``TrainingConfig.selection``."""
    for members in alike(entries, {"selection"}):
        by_split = {config_of(entry)["selection"]: entry for entry in members}
        if len(by_split) == 2:
            yield Pair(by_split["val"], by_split["test"])


def _losses(run: Run) -> list[str]:
    """The loss of every epoch of a cell, as written."""
    path = run.folder / "history.csv"
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [row["loss"] for row in csv.DictReader(file)]


class _Selection:
    """The rows of an experiment."""

    def __init__(self, view: View):
        self.view = view
        self.pairs = {(dataset, pair.val.method): pair for dataset in view.datasets for pair in pairs(view.of(dataset))}

    @cached_property
    def datasets(self) -> list[str]:
        """Those that have a pair."""
        return [name for name in self.view.datasets if any(name == dataset for dataset, _ in self.pairs)]

    @cached_property
    def methods(self) -> list[str]:
        """Those that have a pair, by the name of the one chosen on val."""
        return [name for name in self.view.methods if any(name == method for _, method in self.pairs)]

    def doubts(self, pair: Pair) -> tuple[Note, ...]:
        """A note if the two trained differently, so that more than the choice differs."""
        apart = [
            str(one.cell.seed)
            for one, other in zip(pair.val.runs, pair.test.runs, strict=False)
            if _losses(one) != _losses(other)
        ]
        text = f"the two trained differently: other losses with seed {', '.join(apart)}"
        return (Note(text),) if apart else ()

    def inflation(self, pair: Pair) -> Cell:
        """Mean ± standard deviation over seeds."""
        values = pair.inflation
        if not values:
            reasons = [entry.unavailable("mr") for entry in pair]
            return Cell("NA", notes=(Note("; ".join(filter(None, reasons)) or "not the same seeds"),))
        spread = f" ± {written(stdev(values), 'mr')}" if len(values) > 1 else ""
        return Cell(f"{mean(values):+.2f}{spread}", notes=self.doubts(pair))

    def cells(self, dataset: str, method: str) -> Iterator[Cell]:
        """Cells of a method in the columns of a dataset."""
        pair = self.pairs.get((dataset, method))
        if pair is None:
            yield from [absent(Entry(dataset, method))] * len(COLUMNS)
            return
        counts = dict.fromkeys(f"{len(e.records)}/{len(e.runs)}" if not e.complete else str(len(e.runs)) for e in pair)
        yield Cell(", ".join(counts))
        yield from (replace(self.view.value(entry, "mr"), bold=False) for entry in pair)
        yield self.inflation(pair)
        for entry in pair:
            yield Cell(", ".join(str(record.selection.get("epoch", "?")) for record in entry.records))

    def mean_cells(self, dataset: str) -> list[Cell]:
        """The mean inflation over the methods of a dataset; missing if any is."""
        found = [pair.inflation for (name, _), pair in self.pairs.items() if name == dataset]
        text = f"{mean(map(mean, found)):+.2f}" if all(found) else "NA"
        notes = () if all(found) else (Note("a method has no inflation"),)
        return [Cell(text, notes=notes) if column == "inflation" else Cell() for column in COLUMNS]

    def table(self) -> Table:
        """The complete table."""
        rows = [Row(m, tuple(cell for d in self.datasets for cell in self.cells(d, m))) for m in self.methods]
        if len(rows) > 1:
            means = tuple(cell for dataset in self.datasets for cell in self.mean_cells(dataset))
            rows.append(Row("mean of the methods", means, rule=True))
        groups = tuple(Group(self.view.heading(dataset), COLUMNS) for dataset in self.datasets)
        return Table("Choice of the epoch", CAPTION if rows else NONE, "method", groups, tuple(rows))


def build(view: View, out_dir: Path) -> list[Path]:
    """Write ``selection.csv``, ``.md``, ``.tex`` and ``.html``."""
    sheet = Sheet(f"Selection in {view.name}", (_Selection(view).table(),), command(view.name))
    return write(sheet, out_dir / "selection")


TABLE = Declared(
    name="selection",
    made_from="records",
    files=lambda experiment: rendered("selection"),
    build=lambda material: build(material.view, material.out),
    caption="What choosing the epoch on the test split adds to mR.",
)
