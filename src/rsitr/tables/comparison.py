"""The comparison table of an experiment: methods x datasets, built from the expected matrix, never from a glob.

A number is a mean over all the seeds that params.yaml asks for, or NA with the reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from statistics import mean

from rsitr.params import Experiment
from rsitr.params.ids import MAIN, Role
from rsitr.records.files import write_text
from rsitr.tables import amfmn, mtgfe, pir, tidy
from rsitr.tables.declared import Declared, rendered
from rsitr.tables.entries import Entry
from rsitr.tables.latex import to_latex
from rsitr.tables.layout import Cell, Group, Row, Sheet, Table, command, noted, write_tables
from rsitr.tables.published import METRICS, describe, discrepancy
from rsitr.tables.view import ABSENT, BOLD, HEADERS, ROLES, View, seeds, with_roles

PAPERS = {"AMFMN": amfmn.TABLES, "PIR": pir.TABLES, "MTGFE": mtgfe.TABLES}
"""Those that compare methods."""


class Comparison(View):
    """All methods of an experiment, main ones first: recalls and published mR, and the same for identical captions."""

    def ceiling(self, dataset: str, metric: str) -> float | None:
        """The largest value that repeated captions allow, in percent, from the first record that states it."""
        found = (record.metrics.get(f"ceiling_{metric}") for entry in self.of(dataset) for record in entry.records)
        return next((value for value in found if value is not None), None)

    def with_published(self, dataset: str) -> bool:
        """Whether any method has a published number on the dataset."""
        return any(entry.published for entry in self.of(dataset))

    def published_cells(self, entry: Entry) -> list[Cell]:
        """The published mR with its source, and the difference or why there is none."""
        if not entry.key:
            return [Cell(), Cell()]
        source = filter(None, (f"published in {describe(entry.key)}", discrepancy(entry.key, entry.dataset)))
        return [noted(f"{entry.published['mr']:.2f}", "; ".join(source)), self.difference(entry, "mr")]

    def __init__(self, view: View):
        groups = view.by_role()
        super().__init__(view.name, view.experiment, view.entries, [*chain(*groups)])
        self.roles = [self.role(method) for method in self.methods]
        self.apart = {group[0] for group in groups[1:]}

    def row(self, method: str, cells: Iterable[Cell]) -> Row:
        """A row of a method; a line is above the first of each role but ``main``."""
        return Row(method, tuple(cells), method in self.apart, comparison_of(method))

    def main_cells(self, dataset: str, method: str) -> Iterator[Cell]:
        """Cells of a method in the columns of a dataset."""
        entry = self.entry(dataset, method)
        yield seeds(entry)
        yield from (self.value(entry, metric) for metric in METRICS)
        if self.with_published(dataset):
            yield from self.published_cells(entry) if entry.runs else [ABSENT] * 2

    def main_table(self) -> Table:
        """Recalls as the field defines them."""
        caption = (
            "Recall at K and mR, the mean of the six recalls, on the test split in percent: mean ± sample standard "
            f"deviation over seeds; one seed has no deviation.{BOLD}"
        )
        if any(map(self.with_published, self.datasets)):
            caption += " Δ mR: mean minus published value; n/c: the configurations are not comparable."
        rows = (self.row(m, chain(*(self.main_cells(d, m) for d in self.datasets))) for m in self.methods)
        printed = {d: ("published mR", "Δ mR") if self.with_published(d) else () for d in self.datasets}
        groups = tuple(Group(self.heading(d), ("seeds", *HEADERS.values(), *printed[d])) for d in self.datasets)
        caption += self.of_splits() + self.of_synthetic() + self.of_uncounted()
        return with_roles(Table("Recall", caption, "method", groups, tuple(rows)), self.roles)

    def duplicate_table(self) -> Table:
        """What identical captions and pictures of different images do to the recalls of the main table."""
        columns = [(dataset, metric) for dataset in self.datasets for metric in METRICS]
        rows = (self.row(m, (self.value(self.entry(d, m), f"dup_{name}") for d, name in columns)) for m in self.methods)
        values = (self.ceiling(*column) for column in columns)
        ceilings = tuple(Cell("" if value is None else f"{value:.2f}") for value in values)
        table = Table(
            "Duplicate-aware recall",
            "As above, but a caption identical to one of the image's own, or to one of an identical picture, counts as "
            "its own. Last row: the ceiling that identical captions and pictures set for the recalls above.",
            "method",
            tuple(Group(self.heading(dataset), tuple(HEADERS.values())) for dataset in self.datasets),
            (*rows, Row("caption ceiling", ceilings, rule=True)),
        )
        return with_roles(table, [*self.roles, ""])

    def narrow_table(self) -> Table:
        """The mR of main methods on the datasets that have any, for a column of a page."""
        datasets = [d for d in self.datasets if any(e.records for e in self.of(d) if e.role == MAIN)] or self.datasets
        methods = [m for m in self.methods if any(self.entry(d, m).role == MAIN for d in datasets)]
        rows = (Row(m, tuple(self.value(self.entry(d, m), "mr") for d in datasets)) for m in methods)
        caption = (
            "Mean of the six recalls on the test split in percent, methods of role main: mean ± sample standard "
            f"deviation over seeds.{BOLD}{self.of_splits()}{self.of_synthetic()}{self.of_uncounted()}"
        )
        columns = tuple(map(self.heading, datasets))
        return Table("Mean recall", caption, "method", (Group("", columns),), tuple(rows))


def comparison_of(method: str) -> str:
    """The paper that compares a method with others, the first of those whose tables have it or what it varies."""
    names = {method, method.partition("@")[0]}
    return next(
        (paper for paper, tables in PAPERS.items() if names & {r.method for t in tables for r in t.rows}), "others"
    )


def long_rows(view: View) -> Iterator[tuple[str, ...]]:
    """Tidy rows: one for each pair of the matrix and metric, including those of identical captions and ceilings."""
    metrics = [prefix + metric for prefix in ("", "dup_", "ceiling_") for metric in METRICS]
    for entry in (entry for dataset in view.datasets for entry in view.of(dataset)):
        yield from (tidy.row("comparison", entry, metric, entry.published.get(metric)) for metric in metrics)


SCREENFUL = 40
"""Methods that a picture can show on the screen of a laptop."""


def draw(view: Comparison, path: Path, role: Role = MAIN) -> Path:
    """Write the picture of a role's mR, without methods and datasets that have no number, unless none has."""
    from rsitr.figures import comparison as figure  # matplotlib takes a second, which tables do not need

    def bar(dataset: str, method: str) -> figure.Bar:
        entry = view.entry(dataset, method)
        if entry.role != role:
            return figure.Bar(method, (), blank=ABSENT.text)
        paper = entry.key.paper if entry.key else ""
        numbers = tuple(entry.values("mr")), entry.published.get("mr")
        plain = view.entry(dataset, method.partition("@")[0])
        base = mean(plain.values("mr")) if role != MAIN and plain.role == MAIN and plain.values("mr") else None
        return figure.Bar(method, *numbers, paper, not entry.deviations, bool(entry.staleness), base=base)

    there = {pair: entry for pair, entry in view.entries.items() if entry.role == role}
    known = {pair for pair, entry in there.items() if entry.values("mr")}
    datasets = [each for each in view.datasets if each in {dataset for dataset, _ in known}] or view.datasets
    shown = {method for _, method in known or there}
    with_number = [each for each in view.methods if each in shown]
    # Beyond a screenful, methods that were tried on one dataset only are left to the table.
    everywhere = [each for each in with_number if all((dataset, each) in known for dataset in datasets)]
    methods = everywhere if len(with_number) > SCREENFUL and everywhere else with_number
    panels = [
        figure.Panel(view.heading(d), tuple(bar(d, method) for method in methods), view.ceiling(d, "mr"))
        for d in datasets
    ]
    title = f"{view.name}: {view.title}" if role == MAIN else f"{view.name}, role {role}"
    if len(methods) < len(with_number):
        title += f" ({len(methods)} of {len(with_number)} methods)"
    if all(map(view.synthetic, view.datasets)):
        title += " (synthetic data)"
    return figure.draw(title, panels, path)


def _pictures(experiment: Experiment) -> dict[Role, str]:
    """The names of the pictures, by role: ``comparison.png`` of the main methods, and one of each other role."""
    others = [role for role in ROLES if role != MAIN and role in experiment.roles.values()]
    return {MAIN: "comparison.png"} | {role: f"comparison.{role}.png" for role in others}


def build(view: View, out_dir: Path) -> list[Path]:
    """Write the files of ``TABLE.files`` into ``out_dir``."""
    comparison = Comparison(view)
    tables = (comparison.main_table(), comparison.duplicate_table())
    narrow = out_dir / "comparison.narrow.tex"
    write_text(narrow, to_latex(Sheet(view.title, (comparison.narrow_table(),), command(view.name)), "table"))
    return [
        *write_tables(view.title, tables, view.name, out_dir / "comparison"),
        narrow,
        tidy.write(long_rows(comparison), out_dir / "comparison.long.csv"),
        *(draw(comparison, out_dir / name, role) for role, name in _pictures(view.experiment).items()),
    ]


TABLE = Declared(
    "comparison",
    lambda material: build(material.view, material.out),
    "Recall at 1, 5 and 10 in both directions and their mean on the test split; the best epoch is chosen on val.",
    listed=lambda experiment: [*rendered("comparison", "narrow.tex", "long.csv"), *_pictures(experiment).values()],
)
