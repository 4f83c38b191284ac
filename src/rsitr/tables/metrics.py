"""The numbers of an experiment for programs: ``metrics.json`` for `dvc metrics`, ``training.csv`` for `dvc plots`."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from statistics import fmean

from rsitr.cells import read_record
from rsitr.params import Params

SHOWN = ("mr", "dup_mr", "i2t_r1", "t2i_r1")


def build(params: Params, experiment: str, cells_dir: Path, out_dir: Path) -> list[Path]:
    """Write both files: means over the seeds of every complete method x dataset, and the epochs of every cell."""
    cells = params.cells(experiment)
    records = {cell: read_record(cells_dir / cell.path / "cell.json") for cell in cells}
    metrics: dict[str, dict[str, dict[str, float]]] = {}
    for dataset, method in dict.fromkeys((cell.dataset, cell.method) for cell in cells):
        group = [record for cell, record in records.items() if (cell.dataset, cell.method) == (dataset, method)]
        # A mean over an incomplete set of seeds would be another quantity under the same name.
        complete = [record.metrics for record in group if record and record.outcome.status == "ok"]
        if len(complete) == len(group):
            means = {name: round(fmean(values[name] for values in complete), 4) for name in SHOWN}
            metrics.setdefault(dataset, {})[method] = means
    out_dir.mkdir(parents=True, exist_ok=True)
    (out_dir / "metrics.json").write_text(json.dumps(metrics, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    with (out_dir / "training.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["dataset", "method", "seed", "epoch", "loss", "val_mr"])
        for cell in cells:
            history = cells_dir / cell.path / "history.csv"
            rows = csv.DictReader(history.open(encoding="utf-8")) if history.is_file() else ()
            for row in rows:
                writer.writerow([cell.dataset, cell.method, cell.seed, row["epoch"], row["loss"], row["val_mr"]])
    return [out_dir / "metrics.json", out_dir / "training.csv"]
