"""The common form of every benchmark's result: one row per case and metric, ours next to a named peer."""

import argparse
import csv
import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from rich.table import Table

from rsitr.cli.common import show


@dataclass(frozen=True)
class Row:
    """One measurement of ours and, where there is one, of the peer."""

    case: str
    metric: str
    unit: str
    ours: float
    peer: str
    """Name and version; empty where no peer can do the case."""
    peer_value: float | None
    machine: str
    higher_is_better: bool = False
    """Time and memory are costs; a throughput or an accuracy is not."""

    def cells(self) -> dict[str, str | float | None]:
        """The row as it is written, by column. ``ratio`` is how many times better ours is; blank where one is zero."""
        ratio = None
        if self.ours and self.peer_value:
            ratio = self.ours / self.peer_value if self.higher_is_better else self.peer_value / self.ours
        values = asdict(self) | {"ratio": ratio}
        return {column: values[column] for column in COLUMNS}


COLUMNS = ["case", "metric", "unit", "ours", "peer", "peer_value", "ratio", "machine"]


def machine() -> str:
    """The hardware in the terms that bear on speed: cores, processor, memory, torch."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} x {model}, {memory:.0f} GiB, torch {torch.__version__}"


def add_cases(parser: argparse.ArgumentParser, cases: Iterable[str]) -> None:
    """The argument that names the cases to measure; an empty list where it is left out."""
    # Left out, argparse looks for the empty list among the choices.
    parser.add_argument("cases", nargs="*", choices=[[], *cases], metavar="CASE", help="default: all")


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Write ``rows`` into the csv at ``path``: those of the same case and metric are replaced, all others kept."""
    measured = {(row.case, row.metric) for row in rows}
    kept: list[dict[str, str]] = []
    if path.exists():
        with path.open(newline="") as file:
            kept = [row for row in csv.DictReader(file) if (row["case"], row["metric"]) not in measured]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows([*kept, *(row.cells() for row in rows)])


def print_rows(title: str, rows: Sequence[Row]) -> None:
    """Show the rows."""
    table = Table(title=title, caption=rows[0].machine)
    for column in COLUMNS[:-1]:
        table.add_column(column, justify="right" if column in ("ours", "peer_value", "ratio") else "left")
    for row in rows:
        table.add_row(*(_shown(cell) for column, cell in row.cells().items() if column != "machine"))
    show(table)


def _shown(cell: str | float | None) -> str:
    return "" if cell is None else f"{cell:.4g}" if isinstance(cell, float | int) else cell
