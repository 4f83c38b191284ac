"""How every training ended: by itself, when val had stopped improving, or where it was cut off."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import chain
from statistics import mean

from rsitr.records.cell import Record
from rsitr.tables.declared import sheet
from rsitr.tables.entries import Entry
from rsitr.tables.layout import Cell, Group, Row, Table, noted
from rsitr.tables.view import ABSENT, View, seeds, with_roles

CAPTION = (
    "Each training over its seeds. Ended: converged, where val had stopped improving (`schedule: plateau`); cap, where "
    "it had not yet when the most steps or epochs were over; course, where training had a fixed number of epochs. "
    "Steps, epochs, the epoch chosen and the seconds of training are means; the time of scoring val after every epoch "
    "is among the seconds."
)
MEANS: dict[str, Callable[[Record], float | None]] = {
    "steps": lambda record: record.selection.get("steps"),
    "epochs": lambda record: record.selection.get("epochs"),
    "chosen": lambda record: record.selection.get("epoch"),
    "s": lambda record: record.seconds.get("train"),
}
"""Columns that are means over seeds."""
COLUMNS = ("seeds", "ended", *MEANS)
UNSTATED = "its records are of a time when they did not say so"


def _ended(entry: Entry) -> Cell:
    """How many seeds ended in which way: ``2 converged, 1 cap``."""
    found = [record.selection.get("ended") for record in entry.records]
    if None in found:
        return noted("NA", UNSTATED)
    return Cell(", ".join(f"{count} {how}" for how, count in Counter(found).most_common()))


def _mean(entry: Entry, of: Callable[[Record], float | None]) -> Cell:
    values = [of(record) for record in entry.records]
    stated = [value for value in values if value is not None]
    return Cell(f"{mean(stated):.1f}".removesuffix(".0")) if len(stated) == len(values) else noted("NA", UNSTATED)


def _cells(entry: Entry) -> Iterator[Cell]:
    """Cells of a method in the columns of a dataset."""
    if not entry.runs:
        yield from [ABSENT] * len(COLUMNS)
        return
    yield seeds(entry)
    if not entry.complete:
        yield from [noted("NA", entry.reason)] * (len(COLUMNS) - 1)
        return
    yield _ended(entry)
    yield from (_mean(entry, of) for of in MEANS.values())


def _table(view: View) -> Table:
    """The methods that learn, and those of which no record says whether they do."""
    methods = [m for m in view.methods if any(_may_learn(view.entry(dataset, m)) for dataset in view.datasets)]
    datasets = [dataset for dataset in view.datasets if any(_may_learn(view.entry(dataset, m)) for m in methods)]
    rows = (Row(m, tuple(chain(*(_cells(view.entry(dataset, m)) for dataset in datasets)))) for m in methods)
    groups = tuple(Group(view.heading(dataset), COLUMNS) for dataset in datasets)
    table = Table("Convergence", CAPTION, "method", groups, tuple(rows))
    return with_roles(table, [view.role(method) for method in methods]) if methods else table


def _may_learn(entry: Entry) -> bool:
    return bool(entry.runs) and (entry.trained or not entry.records)


TABLE = sheet(
    "convergence",
    "How the trainings of {.name} ended",
    lambda material: [_table(material.view)],
    "Whether val had stopped improving, and how many steps, epochs and seconds that took.",
)
