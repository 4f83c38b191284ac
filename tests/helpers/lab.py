"""Made-up records of an experiment called ``lab``."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from types import SimpleNamespace

from rsitr.params import parse_params
from rsitr.params.ids import CellId
from rsitr.records.artefact import Outcome
from rsitr.records.cell import Record
from rsitr.records.files import write_json
from rsitr.tables import paper_table
from rsitr.tables.entries import collect
from rsitr.tables.paper_table import PaperTable
from rsitr.tables.published import METRICS, load, lookup
from rsitr.tables.view import View


def params(*blocks):
    """Parameters of a matrix given as (datasets, methods, seeds), with a role if it is not ``main``."""
    matrix = [
        {"datasets": list(d), "methods": list(m), "seeds": list(s)} | ({"role": role[0]} if role else {})
        for d, m, s, *role in blocks
    ]
    return parse_params({"experiment": "lab", "experiments": {"lab": {"title": "The lab", "matrix": matrix}}})


def view(chosen, cells, stale=None, overlaps=None):
    """The experiment ``lab`` as its tables see it."""
    return View("lab", chosen["lab"], collect(chosen, "lab", cells, stale or {}, overlaps or {}))


def written(table, out, **material):
    """The files of a declared table of the experiment ``lab``, made from ``material``."""
    return table.build(SimpleNamespace(name="lab", out=out, **material))


class Records:
    """Writes records below ``cells``."""

    def __init__(self, folder: Path):
        self.cells, self.out = folder / "cells", folder / "out"
        self.stale: dict[CellId, list[str]] = {}

    def put(self, dataset, method, seed, value=None, outcome=None, stale=(), **fields):
        """A cell of which every recall is ``value``."""
        cell = CellId("lab", dataset, method, seed)
        metrics = {}
        if value is not None:
            metrics = dict.fromkeys(METRICS, value) | {f"dup_{metric}": value + 1 for metric in METRICS}
            metrics |= {f"ceiling_{metric}": 96.5 for metric in METRICS}
        identity = {"experiment": "lab", "dataset": dataset, "method": method, "seed": seed}
        data = {"synthetic": dataset.startswith("scenes")}
        record = Record(**identity, outcome=outcome or Outcome(), metrics=metrics, **({"data": data} | fields))
        write_json(self.cells / cell.path / "cell.json", record)
        if stale:
            self.stale[cell] = list(stale)

    def view(self, chosen, overlaps=None):
        """These records as tables see them."""
        return view(chosen, self.cells, self.stale, overlaps)


class Reader:
    """Reads the table ``name`` of the folder ``out``."""

    out: Path
    name: str

    def read(self, suffix):
        return (self.out / f"{self.name}.{suffix}").read_text(encoding="utf-8")

    def rows(self):
        """The last table of the csv, by label."""
        lines = [line for line in self.read("csv").splitlines() if not line.startswith("#")]
        rows = list(csv.DictReader(lines))
        stub = list(rows[0])[1]
        return {row[stub]: row for row in rows if row["table"] == rows[-1]["table"]}

    def note(self, mark):
        """The text of a footnote by what stands in a cell: ``n/c [2]``."""
        mark = re.search(r"\[(.*?)\]", mark).group(0)
        return next(line for line in self.read("csv").splitlines() if line.startswith(f"# {mark}")).split("] ", 1)[1]

    def long(self):
        return list(csv.DictReader(self.read("long.csv").splitlines()))


class PaperLab(Records, Reader):
    """Records, and the table of a paper built from them."""

    def build(self, table, chosen, overlaps=None):
        self.name = table.name
        return paper_table.build([table], self.view(chosen, overlaps), self.out)


def printed_numbers(paper: str, number: int, *fields: str) -> dict[tuple[str, ...], float]:
    """Every number that a paper prints in a table, by some fields of its key, the dataset and the metric."""
    rows = load().query(f"paper == @paper and table == 'table{number}'")
    keys = zip(*(rows[field] for field in (*fields, "dataset", "metric")), strict=True)
    return dict(zip(keys, rows["value"], strict=True))


def placed_numbers(table: PaperTable, paper: str, number: int, *fields: str) -> dict[tuple[str, ...], float]:
    """The numbers that a table shows next to ours, by the same; all are of that table of the paper."""
    found = {}
    for row in table.rows:
        for dataset in table.datasets if row.published else ():
            key = row.published
            assert (key.paper, key.table) == (paper, f"table{number}")
            place = tuple(getattr(key, field) for field in fields)
            values = lookup(key, dataset, tuple(table.printed))
            found.update({(*place, dataset, metric): value for metric, value in values.items()})
    return found
