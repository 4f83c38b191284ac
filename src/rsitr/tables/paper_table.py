"""A paper's table as data, and its reproduction: every printed number next to ours from the experiment's cells.

A spec names rows: what the paper calls each, which of our methods it is, and which published row it stands for. Ours
are shown on the datasets of the experiment, the printed ones on those of the paper; where both have a dataset the
difference is shown, unless the configurations differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, compress
from pathlib import Path
from typing import Any

from rsitr.params import Experiment
from rsitr.records.cell import Published
from rsitr.tables import tidy
from rsitr.tables.declared import Declared, Shown, rendered
from rsitr.tables.entries import Entry
from rsitr.tables.layout import Cell, Group, Note, Row, Table, noted, write_tables
from rsitr.tables.not_rebuilt import NotRebuilt, unavailable
from rsitr.tables.published import discrepancy, lookup, places
from rsitr.tables.view import BOLD, HEADERS, View, best_of, is_time, seeds, with_roles, written

NOT_PRINTED = "not in the paper"
OTHER_HARDWARE = "times on other hardware"


@dataclass(frozen=True)
class PaperRow:
    """A row as the paper prints it."""

    label: str
    method: str
    """``name`` or ``name@variant``; for a row that nobody can rebuild (``not_rebuilt``) the published name."""
    published: Published | None = None
    """Its numbers; None for a row that the paper does not have."""
    facts: tuple[str, ...] = ()
    """One text for each of the table's ``facts``."""
    remark: str = ""
    """What a reader has to know about the printed numbers."""
    differs: str = ""
    """How the configuration behind the printed numbers differs from ours, so that no difference is shown."""
    rule: bool = False
    """Whether a line above sets the row apart."""

    @property
    def missing(self) -> NotRebuilt | None:
        """Why nobody can rebuild it."""
        return unavailable(self.published)


def printed_row(
    paper: str,
    table: str,
    label: str,
    method: str,
    printed: str = "",
    variant: str = "",
    backbone: str = "",
    **rest: Any,
) -> PaperRow:
    """A row that the paper has under the name ``printed``, if not that of our method; ``rest`` are its other fields."""
    name = printed or method.partition("@")[0]
    key = Published(paper=paper, table=table, method=name, variant=variant, backbone=backbone)
    return PaperRow(label, method, key, **rest)


@dataclass(frozen=True)
class PaperTable:
    """A table of a paper."""

    name: str
    """Of its files."""
    title: str
    caption: str
    datasets: tuple[str, ...]
    """Those the paper has numbers for; an empty name for numbers that it gives for all of them together."""
    rows: tuple[PaperRow, ...]
    stub: str = "approach"
    """Head of the labels."""
    facts: tuple[str, ...] = ()
    """Heads of the columns that describe the rows."""
    measures: Mapping[str, str] = field(default_factory=lambda: HEADERS)
    """Our numbers (``entries.Run.numbers``) and their headers."""
    printed: Mapping[str, str] = field(default_factory=lambda: HEADERS)
    """Metrics of ``published.csv`` and their headers."""
    difference: str = "mr"
    """The metric for which ours minus theirs is shown; empty for times, which are not comparable."""

    def concerns(self, methods: Sequence[str]) -> bool:
        """Whether any of its rows is one of these methods, so that there is anything to compare with the paper."""
        return any(row.method in methods for row in self.rows)

    def shows(self) -> Iterator[Shown]:
        """Every printed row with the method that is next to it."""
        for row in self.rows:
            if row.published:
                differs = row.differs or ("" if self.difference else OTHER_HARDWARE)
                for dataset in self.datasets:
                    values = places(row.published, dataset, tuple(self.printed))
                    yield Shown(self.name, values, dataset, row.method, differs)


def _machine(facts: Mapping[str, Any]) -> str:
    """The hardware of a record in words."""
    processor = facts["cpu"] if facts["device"] == "cpu" else f"{facts['device']} and {facts['cpu']}"
    return f"on {processor} with {facts['cores']} cores, threads: {facts['threads']}"


class _Rebuilt(View):
    """A table of a paper in an experiment."""

    def __init__(self, spec: PaperTable, view: View):
        super().__init__(view.name, view.experiment, view.entries, [row.method for row in spec.rows])
        self.spec = spec
        self.timed = any(map(is_time, spec.measures))
        self.ours = [dataset for dataset in self.datasets if self.of(dataset)]
        # Synthetic numbers are never shown next to published ones.
        real = not all(map(self.synthetic, self.ours))
        printed = {d: self.read(d) for d in spec.datasets if real and not self.synthetic(d)}
        self.printed = {d: rows for d, rows in printed.items() if any(rows.values())}
        self.shown = [*self.ours, *(dataset for dataset in self.printed if dataset not in self.ours)]

    def read(self, dataset: str) -> dict[PaperRow, Mapping[str, float]]:
        """What the paper prints on a dataset: row -> metric -> value."""
        metrics = tuple(self.spec.printed)
        return {row: lookup(row.published, dataset, metrics) if row.published else {} for row in self.spec.rows}

    def numbers(self, row: PaperRow, dataset: str) -> Mapping[str, float]:
        """What the paper prints for a row; empty if it has nothing."""
        return self.printed[dataset][row] if dataset in self.printed else {}

    def metrics(self, dataset: str) -> list[str]:
        """Those that the paper prints on a dataset."""
        return [m for m in self.spec.printed if any(m in self.numbers(row, dataset) for row in self.spec.rows)]

    def subtracts(self, dataset: str) -> bool:
        """Whether there is a column of differences."""
        return dataset in self.ours and self.spec.difference in self.metrics(dataset)

    def own_entry(self, row: PaperRow, dataset: str) -> Entry:
        """Our entry of a row, with the published row if it is to be compared with one."""
        compared = self.subtracts(dataset) and self.numbers(row, dataset)
        entry = self.entry(dataset, row.method)
        entry = replace(entry, key=row.published if compared else None, missing=row.missing)
        return replace(entry, differs=row.differs) if compared else entry

    def groups(self, dataset: str) -> Iterator[Group]:
        """Columns of a dataset: ours, and those of the paper."""
        heading = self.heading(dataset) or "any dataset"
        if dataset in self.ours:
            difference = (f"Δ {self.spec.measures[self.spec.difference]}",) if self.subtracts(dataset) else ()
            yield Group(heading, ("seeds", *self.spec.measures.values(), *difference))
        if dataset in self.printed:
            yield Group(heading, tuple(self.spec.printed[metric] for metric in self.metrics(dataset)), "published")

    def seeds(self, entry: Entry) -> Cell:
        """How many seeds; with times, also the machine."""
        machines = dict.fromkeys(_machine(record.machine) for record in entry.records if record.machine)
        return replace(seeds(entry), notes=(Note("; ".join(machines)),)) if self.timed and machines else seeds(entry)

    def minus(self, row: PaperRow, dataset: str) -> Cell:
        """Ours minus theirs, or why there is no difference."""
        entry = self.own_entry(row, dataset)
        if entry.runs and not entry.key:
            return noted("–", NOT_PRINTED)
        return self.difference(entry, self.spec.difference)

    def theirs(self, row: PaperRow, dataset: str) -> Iterator[Cell]:
        """What the paper prints for a row; remarks are attached to the last metric."""
        numbers, metrics = self.numbers(row, dataset), self.metrics(dataset)
        doubt = discrepancy(row.published, dataset) if row.published and numbers else ""
        remarks = (row.remark, doubt) if numbers else (NOT_PRINTED,)
        for metric in metrics:
            column = [rows[metric] for rows in self.printed[dataset].values() if metric in rows]
            text = written(numbers[metric], metric) if metric in numbers else "–"
            cell = noted(text, *(remarks if metric == metrics[-1] else ()))
            yield replace(cell, bold=text == best_of(column, metric))

    def cells(self, row: PaperRow, dataset: str) -> Iterator[Cell]:
        """A row in the columns of ``groups``."""
        if dataset in self.ours:
            entry = self.own_entry(row, dataset)
            yield self.seeds(entry)
            yield from (self.value(entry, metric) for metric in self.spec.measures)
            if self.subtracts(dataset):
                yield self.minus(row, dataset)
        if dataset in self.printed:
            yield from self.theirs(row, dataset)

    def whole(self) -> Table:
        """The table as in the paper: all rows and datasets, each row with its method and its facts."""
        rows = []
        for row in self.spec.rows:
            known = row.method in self.experiment.methods or not row.missing
            facts = map(Cell, (row.method if known else "", *row.facts))
            numbers = chain(*(self.cells(row, dataset) for dataset in self.shown))
            rows.append(Row(row.label, (*facts, *numbers), row.rule))
        groups = (Group("", ("method", *self.spec.facts)), *chain(*map(self.groups, self.shown)))
        table = Table(self.spec.title, self.caption(), self.spec.stub, groups, tuple(rows))
        return with_roles(table, [self.role(row.method) for row in self.spec.rows], place=1)

    def summary(self, whole: Table) -> Table:
        """Only the columns of the compared metric: few enough that no format has to separate the datasets."""
        header = self.spec.measures[self.spec.difference]
        described, *groups = whole.groups
        chosen = [True] * len(described.columns)
        chosen += [column in (header, f"Δ {header}") for group in groups for column in group.columns]
        names = list(compress(whole.columns, chosen))[len(described.columns) :]
        rows = (replace(row, cells=tuple(compress(row.cells, chosen))) for row in whole.rows)
        return replace(whole, groups=(described, Group("", tuple(names))), rows=tuple(rows))

    def caption(self) -> str:
        """The spec's caption, and what to say about the numbers."""
        text = f"{self.spec.caption} Ours: mean ± sample standard deviation over seeds; one seed has no deviation."
        text += f"{' Published: as printed, the best of each column in bold.' if self.printed else ''}"
        text += BOLD if self.ours else ""
        if any(map(self.subtracts, self.shown)):
            text += f" Δ {self.spec.measures[self.spec.difference]}: mean minus published value; "
            text += "n/c: the configurations are not comparable."
        return text + self.of_splits() + self.of_synthetic() + ("" if self.timed else self.of_uncounted())

    def tables(self) -> list[Table]:
        """Everything, with the compared metric alone first, if there is one."""
        whole = self.whole()
        if not self.spec.difference:
            return [whole]
        return [self.summary(whole), replace(whole, name=f"{whole.name}, every number", caption="As above.")]

    def long_rows(self) -> Iterator[tuple[str, ...]]:
        """Tidy rows: one for each dataset, row and metric, ours and theirs."""
        for dataset in self.shown:
            ours = self.spec.measures if dataset in self.ours else ()
            for row in self.spec.rows:
                entry, numbers = self.own_entry(row, dataset), self.numbers(row, dataset)
                for metric in dict.fromkeys([*ours, *self.metrics(dataset)]):
                    yield tidy.row(self.spec.name, entry, metric, numbers.get(metric))


def declared(name: str, tables: Sequence[PaperTable], caption: str) -> Declared:
    """The tables of a paper of which any row is a method of the experiment.

    Any other table would be the paper's numbers with nothing to compare them with.
    """

    def files(experiment: Experiment) -> list[str]:
        concerned = (table for table in tables if table.concerns(experiment.methods))
        return [file for table in concerned for file in rendered(table.name, "long.csv")]

    def shows(experiment: Experiment) -> Iterator[Shown]:
        return chain(*(table.shows() for table in tables if table.concerns(experiment.methods)))

    return Declared(
        name, lambda material: build(tables, material.view, material.out), caption, listed=files, shows=shows
    )


def build(tables: Iterable[PaperTable], view: View, out_dir: Path) -> list[Path]:
    """Write ``<name>.csv``, ``.md``, ``.tex``, ``.html`` and ``.long.csv`` of each table that has a method of ours."""
    chosen = (spec for spec in tables if spec.concerns(view.methods))
    return [path for spec in chosen for path in render(spec, view, out_dir)]


def render(spec: PaperTable, view: View, out_dir: Path) -> list[Path]:
    """Write one table in every format."""
    rebuilt = _Rebuilt(spec, view)
    paths = write_tables(view.title, rebuilt.tables(), view.name, out_dir / spec.name)
    return [*paths, tidy.write(rebuilt.long_rows(), out_dir / f"{spec.name}.long.csv")]
