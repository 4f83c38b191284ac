"""How far mR moved where cells were trained again: the records here next to those of an earlier commit.

Compared are cells with other weights of the same code, configuration and data, as after training on another processor.

    python benchmarks/reproduction.py 46e3367
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from collections import defaultdict
from pathlib import Path
from statistics import mean

from rsitr.params import Params, load_params
from rsitr.pipeline.specs import spec_of
from rsitr.records.cell import TRAINED, Record
from rsitr.records.certificates import Ledger
from rsitr.tables.entries import Run

CELLS = Path("results/cells/laptop")
SAME = ("config", "data_sha")


def earlier(commit: str, folder: Path, here: Path) -> Run | None:
    """What a commit has of a cell, its files written to ``here``; None where it has no record of it."""
    for name in ("cell.json", "ranks.parquet"):
        shown = subprocess.run(["git", "show", f"{commit}:{folder}/{name}"], capture_output=True)
        if shown.returncode == 0:
            (here / name).write_bytes(shown.stdout)
    return read(here)


def read(folder: Path) -> Run | None:
    """A cell by the folder of its record; None where there is none."""
    record = Record.read(folder / "cell.json")
    return Run(record.cell, record, [], folder) if record else None


def same_code(now: Record, before: Record, params: Params, ledger: Ledger) -> bool:
    """Whether two cells were trained by the same code, or by code that a chain of certificates connects."""
    configuration = spec_of(params, now.cell).configuration
    old, new = (record.identities.get(TRAINED, "") for record in (before, now))
    return ledger.connects(TRAINED, old, new, configuration)


def group_of(record: Record) -> str:
    """What a cell's training depends on: PIR's instruction, the hinge of a triplet loss, or neither."""
    if record.config.get("spatial"):
        instruction = "a prior trained again" if "prior" in record.used else "random weights"
        return f"PIR from {instruction}, {record.dataset}"
    hinge = "margin" in record.config and record.config.get("objective") != "contrastive"
    return "triplet loss" if hinge else "neither"


def main() -> None:
    """Print each group: cells, mean and largest absolute difference of mR in points."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("commit", help="whose records are the earlier ones")
    commit = parser.parse_args().commit
    moved: dict[str, list[float]] = defaultdict(list)
    params, ledger = load_params(), Ledger.read()
    for path in sorted(CELLS.glob("*/*/*/cell.json")):
        with tempfile.TemporaryDirectory() as here:
            now, before = read(path.parent), earlier(commit, path.parent, Path(here))
            if now is None or before is None or now.record is None or before.record is None:
                continue
            same = all(getattr(now.record, field) == getattr(before.record, field) for field in SAME)
            if now.record.weights_sha == before.record.weights_sha or "mr" not in now.numbers or not same:
                continue
            if same_code(now.record, before.record, params, ledger):
                moved[group_of(now.record)].append(abs(now.numbers["mr"] - before.numbers["mr"]))
    for group, values in sorted(moved.items()):
        print(f"{group}: {len(values)} cells, mean {mean(values):.3f}, largest {max(values):.3f}")


if __name__ == "__main__":
    main()
