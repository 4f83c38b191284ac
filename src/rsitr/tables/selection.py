"""What choosing the epoch on the test split adds: the same configuration, its epoch chosen on val and on test."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from statistics import mean
from typing import NamedTuple

from rsitr.tables.declared import sheet
from rsitr.tables.entries import Entry, Run, alike, config_of
from rsitr.tables.layout import Cell, Group, Row, Table, noted
from rsitr.tables.view import ABSENT, View, averaged, seeds, with_roles

COLUMNS = ("seeds", "mR, epoch chosen on val", "mR, epoch chosen on test", "inflation", "epochs on val", "on test")
METRIC = "dup_mr"
"""What the epoch is chosen by, so that none scores higher on the split that chose."""
CAPTION = (
    "Test mR in percent of the same configuration, once with the epoch that has the best mR on val, once with the one "
    "that has the best mR on test, as much published code chooses it; mean ± sample standard deviation over seeds. mR "
    "is the duplicate-aware one, by which epochs are chosen. Inflation: how much higher the second scores than the "
    "first, seed by seed. Chosen on test, an epoch cannot be worse there than any other of its training, so a "
    "significance test would be meaningless. With `schedule: plateau` the split that chooses also lowers the rate and "
    "ends training; a footnote says where the two trained differently. Epochs: those chosen, one for each seed."
)
NONE = "No method of this experiment has results with the epoch chosen on test (setting `selection: test`)."


class Pair(NamedTuple):
    """A method with both ways to choose its epoch, on one dataset."""

    val: Entry
    test: Entry

    @property
    def inflation(self) -> list[float]:
        """Test mR by seed, chosen on test minus chosen on val; empty unless both have the same seeds, all of them."""
        ours, theirs = self.val.values(METRIC), self.test.values(METRIC)
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
    return [epoch["loss"] for epoch in run.history]


def _inflation(pair: Pair) -> Cell:
    """Mean ± standard deviation over seeds, marked if the two trained differently: then not only the choice differs."""
    if not pair.inflation:
        reasons = filter(None, (entry.unavailable(METRIC) for entry in pair))
        return noted("NA", "; ".join(reasons) or "not the same seeds")
    both = zip(pair.val.runs, pair.test.runs, strict=True)
    apart = ", ".join(str(one.cell.seed) for one, other in both if _losses(one) != _losses(other))
    doubt = f"the two trained differently: other losses with seed {apart}" if apart else ""
    return noted(averaged(pair.inflation, "+.2f"), doubt)


def _cells(view: View, pair: Pair | None) -> Iterator[Cell]:
    """Cells of a method in the columns of a dataset."""
    if pair is None:
        yield from [ABSENT] * len(COLUMNS)
        return
    yield Cell(", ".join(dict.fromkeys(seeds(entry).text for entry in pair)))
    yield from (view.plain(entry, METRIC) for entry in pair)
    yield _inflation(pair)
    for entry in pair:
        yield Cell(", ".join(str(record.selection.get("epoch", "?")) for record in entry.records))


def _mean_cells(found: Iterable[Pair]) -> list[Cell]:
    """The mean inflation over the methods of a dataset; missing if any is."""
    values = [pair.inflation for pair in found]
    shown = Cell(f"{mean(map(mean, values)):+.2f}") if all(values) else noted("NA", "a method has no inflation")
    return [shown if column == "inflation" else Cell() for column in COLUMNS]


def _table(view: View) -> Table:
    """The methods that have a pair, by the name of the one chosen on val, on the datasets that have one."""
    found = {dataset: {pair.val.method: pair for pair in pairs(view.of(dataset))} for dataset in view.datasets}
    found = {dataset: of for dataset, of in found.items() if of}
    methods = [method for method in view.methods if any(method in of for of in found.values())]
    rows = [Row(m, tuple(chain(*(_cells(view, of.get(m)) for of in found.values())))) for m in methods]
    roles = [view.role(method) for method in methods]
    if len(rows) > 1:
        means = chain(*(_mean_cells(of.values()) for of in found.values()))
        rows.append(Row("mean of the methods", tuple(means), rule=True))
        roles.append("")
    groups = tuple(Group(view.heading(dataset), COLUMNS) for dataset in found)
    table = Table("Choice of the epoch", CAPTION if rows else NONE, "method", groups, tuple(rows))
    return with_roles(table, roles)


TABLE = sheet(
    "selection",
    "Selection in {.name}",
    lambda material: [_table(material.view)],
    "What choosing the epoch on the test split adds to mR.",
)
