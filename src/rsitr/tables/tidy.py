"""Tables for programs: a row for each dataset, method and metric, with only rows in the file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from statistics import mean, stdev

from rsitr.records.files import write_csv
from rsitr.tables.entries import Entry
from rsitr.tables.view import incomparable

COLUMNS = (
    *("table", "dataset", "method", "variant", "role", "metric", "seeds"),
    *("mean", "std", "published", "delta", "status", "reason", "overlap", "prior_overlap", "clean"),
)


def _number(value: float | None) -> str:
    return "" if value is None else repr(round(value, 6))


def row(table: str, entry: Entry, metric: str, published: float | None) -> tuple[str, ...]:
    """One metric of an entry. Recalls, their deviations and differences in percent, times in seconds."""
    method, _, variant = entry.method.partition("@")
    values = entry.values(metric)
    doubts = [entry.staleness if entry.complete else "", incomparable(entry) if entry.key else ""]
    return (
        *(table, entry.dataset, method, variant, entry.role or "", metric, str(len(entry.records))),
        _number(mean(values) if values else None),
        _number(stdev(values) if len(values) > 1 else None),
        _number(published),
        _number(entry.delta(metric)),
        *(entry.status, "; ".join(filter(None, [entry.unavailable(metric), *doubts]))),
        str(entry.overlap[0]) if entry.trained and entry.overlap else "",
        "; ".join(f"{name}: {overlap[0]}" for name, overlap in entry.prior_overlaps.items() if overlap),
        entry.clean.name if entry.clean else "",
    )


def write(rows: Iterable[tuple[str, ...]], path: Path) -> Path:
    """Write rows under ``COLUMNS``."""
    write_csv(path, COLUMNS, [*rows])
    return path
