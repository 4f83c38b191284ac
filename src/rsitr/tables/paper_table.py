"""A table of a paper as data, and its rebuilding: every printed number beside ours of the same experiment's cells.

A spec names rows: how the paper calls each, which method of ours it is, and the published row that it stands for. Ours
are shown on the datasets of the experiment, the printed ones on those of the paper; where both are the same there is a
difference, unless the configurations differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rsitr.cells import Published
from rsitr.params import CellId, Params
from rsitr.tables import tidy
from rsitr.tables.entries import Entries, Entry, Overlaps, collect, command
from rsitr.tables.layout import Cell, Group, Note, Row, Sheet, Table, write
from rsitr.tables.published import discrepancy, lookup
from rsitr.tables.view import HEADERS, View, best_of, is_time, seeds, written

SUFFIXES = (".csv", ".md", ".tex", ".html", ".long.csv")
"""Of the files of a table."""
NOT_PRINTED = Cell("–", notes=(Note("not in the paper"),))


@dataclass(frozen=True)
class PaperRow:
    """A row as the paper prints it."""

    label: str
    method: str
    """``name`` or ``name@variant``."""
    published: Published | None = None
    """Its numbers; None for a row that the paper does not have."""
    facts: tuple[str, ...] = ()
    """A text for each of the table's ``facts``."""
    remark: str = ""
    """What a reader has to know of the printed numbers."""
    rule: bool = False
    """A line above sets the row apart."""


@dataclass(frozen=True)
class PaperTable:
    """A table of a paper."""

    name: str
    """Of its files."""
    title: str
    caption: str
    datasets: tuple[str, ...]
    """Those the paper has numbers of; an empty name for numbers that it gives for all of them at once."""
    rows: tuple[PaperRow, ...]
    stub: str = "method"
    """Head of the labels."""
    facts: tuple[str, ...] = ()
    """Heads of the columns that describe the rows."""
    measures: Mapping[str, str] = field(default_factory=lambda: HEADERS)
    """Our numbers (``entries.numbers_of``) and their headers."""
    printed: Mapping[str, str] = field(default_factory=lambda: HEADERS)
    """Metrics of ``published.csv`` and their headers."""
    difference: str = "mr"
    """The metric of which ours minus theirs is shown; empty where the two are not of a kind."""

    def concerns(self, methods: Sequence[str]) -> bool:
        """Whether any of its rows is one of these methods, so that there is anything to set beside the paper."""
        return any(row.method in methods for row in self.rows)


Numbers = Mapping[PaperRow, Mapping[str, float]]
"""What a paper prints on one dataset: row -> metric -> value."""


def _machine(facts: Mapping[str, Any]) -> str:
    """The hardware of a record in words."""
    processor = facts["cpu"] if facts["device"] == "cpu" else f"{facts['device']} and {facts['cpu']}"
    return f"on {processor}, threads: {facts['threads']} for {facts['cores']} cores"


class _Rebuilt(View):
    """A table of a paper in an experiment."""

    def __init__(self, spec: PaperTable, params: Params, experiment: str, entries: Entries):
        super().__init__(params, experiment, entries, [row.method for row in spec.rows])
        self.spec = spec
        self.ours = [dataset for dataset in self.datasets if self.of(dataset)]
        # Synthetic numbers are never set beside published ones.
        real = not all(map(self.synthetic, self.ours))
        printed = {d: self._read(d) for d in spec.datasets if real and not self.synthetic(d)}
        self.printed: dict[str, Numbers] = {d: rows for d, rows in printed.items() if any(rows.values())}
        self.shown = [*self.ours, *(dataset for dataset in self.printed if dataset not in self.ours)]

    def _read(self, dataset: str) -> Numbers:
        metrics = tuple(self.spec.printed)
        return {row: lookup(row.published, dataset, metrics) if row.published else {} for row in self.spec.rows}

    def numbers(self, row: PaperRow, dataset: str) -> Mapping[str, float]:
        """What the paper prints of a row; empty where it has nothing."""
        return self.printed[dataset][row] if dataset in self.printed else {}

    def metrics(self, dataset: str) -> list[str]:
        """Those that the paper prints on a dataset."""
        return [m for m in self.spec.printed if any(m in self.numbers(row, dataset) for row in self.spec.rows)]

    def subtracts(self, dataset: str) -> bool:
        """Whether there is a column of differences."""
        return dataset in self.ours and self.spec.difference in self.metrics(dataset)

    def beside(self, row: PaperRow, dataset: str) -> Entry:
        """Our entry of a row, with the published row where it is to be compared with one."""
        compared = self.subtracts(dataset) and self.numbers(row, dataset)
        return replace(self.entry(dataset, row.method), key=row.published if compared else None)

    def groups(self, dataset: str) -> Iterator[Group]:
        """Columns of a dataset: ours, and those of the paper."""
        heading = self.heading(dataset) or "any dataset"
        if dataset in self.ours:
            difference = (f"Δ {self.spec.measures[self.spec.difference]}",) if self.subtracts(dataset) else ()
            yield Group(heading, ("seeds", *self.spec.measures.values(), *difference))
        if dataset in self.printed:
            yield Group(heading, tuple(self.spec.printed[metric] for metric in self.metrics(dataset)), "published")

    def our_cells(self, row: PaperRow, dataset: str) -> Iterator[Cell]:
        """Our numbers of a row; with times, the machine."""
        entry = self.beside(row, dataset)
        machines = dict.fromkeys(_machine(record.machine) for record in entry.records if record.machine)
        timed = any(map(is_time, self.spec.measures))
        yield replace(seeds(entry), notes=(Note("; ".join(machines)),)) if timed and machines else seeds(entry)
        yield from (self.value(entry, metric) for metric in self.spec.measures)
        if self.subtracts(dataset):
            yield self.difference(entry, self.spec.difference) if entry.key or not entry.runs else NOT_PRINTED

    def their_cells(self, row: PaperRow, dataset: str) -> Iterator[Cell]:
        """The printed numbers of a row; what is to be said of them stands at the last."""
        numbers, metrics = self.numbers(row, dataset), self.metrics(dataset)
        doubt = discrepancy(row.published, dataset) if row.published and numbers else ""
        notes = tuple(Note(text) for text in (row.remark, doubt) if text)
        for metric in metrics:
            if metric not in numbers:
                yield NOT_PRINTED
                continue
            column = [rows[metric] for rows in self.printed[dataset].values() if metric in rows]
            text = written(numbers[metric], metric)
            yield Cell(text, text == best_of(column, metric), notes if metric == metrics[-1] else ())

    def row(self, row: PaperRow) -> Row:
        """A row in all datasets."""
        cells = [Cell(row.method), *map(Cell, row.facts)]
        for dataset in self.shown:
            cells += self.our_cells(row, dataset) if dataset in self.ours else ()
            cells += self.their_cells(row, dataset) if dataset in self.printed else ()
        return Row(row.label, tuple(cells), row.rule)

    def caption(self) -> str:
        """The spec's, and what is to be said of the numbers."""
        text = f"{self.spec.caption} Ours: mean ± sample standard deviation over seeds; one seed has no deviation."
        if self.printed:
            text += " Published: as printed."
        text += " Bold: best of the column."
        if any(map(self.subtracts, self.shown)):
            text += (
                f" Δ {self.spec.measures[self.spec.difference]}: mean minus published value; "
                "n/c: the configurations are not comparable."
            )
        return text + self.remarks()

    def sheet(self) -> Sheet:
        """The table, under the title of the experiment."""
        groups = [Group("", ("method", *self.spec.facts))]
        groups += [group for dataset in self.shown for group in self.groups(dataset)]
        rows = tuple(map(self.row, self.spec.rows))
        table = Table(self.spec.title, self.caption(), self.spec.stub, tuple(groups), rows)
        return Sheet(self.title, (table,), command(self.name))

    def long_rows(self) -> Iterator[tuple[str, ...]]:
        """Tidy rows: one for each dataset, row and metric, ours and theirs."""
        for dataset in self.shown:
            ours = self.spec.measures if dataset in self.ours else ()
            for row in self.spec.rows:
                entry, numbers = self.beside(row, dataset), self.numbers(row, dataset)
                for metric in dict.fromkeys([*ours, *self.metrics(dataset)]):
                    yield tidy.row(self.spec.name, entry, metric, numbers.get(metric))


def build(
    tables: Sequence[PaperTable],
    params: Params,
    experiment: str,
    cells_dir: Path,
    out_dir: Path,
    stale: Mapping[CellId, list[str]],
    overlaps: Overlaps | None = None,
) -> list[Path]:
    """Write ``<name>.csv``, ``.md``, ``.tex``, ``.html`` and ``.long.csv`` of each table that has a method of ours.

    ``stale`` and ``overlaps`` as for the comparison.
    """
    entries, written_files = collect(params, experiment, cells_dir, stale, overlaps or {}), []
    for spec in tables:
        if not spec.concerns(params[experiment].methods):
            continue
        rebuilt = _Rebuilt(spec, params, experiment, entries)
        written_files += write(rebuilt.sheet(), out_dir / spec.name)
        written_files.append(tidy.write(rebuilt.long_rows(), out_dir / f"{spec.name}.long.csv"))
    return written_files
