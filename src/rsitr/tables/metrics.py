"""The numbers of an experiment for programs: ``metrics.json`` for `dvc metrics`, ``training.csv`` for `dvc plots`."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

from rsitr.records.files import write_csv, write_json
from rsitr.tables.declared import Declared
from rsitr.tables.view import View

SHOWN = ("mr", "dup_mr", "i2t_r1", "t2i_r1")
EPOCH = ("epoch", "loss", "val_mr", "val_dup_mr")
"""Of an epoch; a history written before ``val_dup_mr`` was taken lacks it."""


def build(view: View, out_dir: Path) -> list[Path]:
    """Write both files: means over the seeds of every complete method x dataset, and the epochs of every cell."""
    metrics: dict[str, dict[str, dict[str, float]]] = {}
    for (dataset, method), entry in view.entries.items():
        # A mean over an incomplete set of seeds would be a different quantity under the same name.
        if entry.complete:
            means = {name: round(fmean(entry.values(name)), 4) for name in SHOWN}
            metrics.setdefault(dataset, {})[method] = means
    write_json(out_dir / "metrics.json", metrics)
    lines = [
        (run.cell.dataset, run.cell.method, entry.role, run.cell.seed, *(epoch.get(name, "") for name in EPOCH))
        for entry in view.entries.values()
        for run in entry.runs
        for epoch in run.history
    ]
    write_csv(out_dir / "training.csv", ("dataset", "method", "role", "seed", *EPOCH), lines)
    return [out_dir / "metrics.json", out_dir / "training.csv"]


TABLE = Declared(
    "metrics",
    lambda material: build(material.view, material.out),
    "The numbers of every method for programs, and every epoch of every training.",
    listed=lambda experiment: ("metrics.json", "training.csv"),
)
