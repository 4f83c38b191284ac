"""How far mR moved where cells were trained anew: the records that lie here beside those of an earlier commit.

Compared are cells with other weights of the same code, configuration and data, as after training on another processor.

    python benchmarks/reproduction.py 46e3367
"""

from __future__ import annotations

import argparse
import subprocess
from collections import defaultdict
from pathlib import Path
from statistics import mean

from rsitr.records.cell import Record, read_record

CELLS = Path("results/cells/laptop")
SAME = ("code_sha", "config", "data_sha")


def earlier(commit: str, path: Path) -> Record | None:
    """The record that a commit has of a cell."""
    shown = subprocess.run(["git", "show", f"{commit}:{path}"], capture_output=True, text=True)
    return None if shown.returncode else Record.model_validate_json(shown.stdout)


def group_of(record: Record) -> str:
    """What a cell's training depends on: PIR's instruction, the hinge of a triplet loss, or neither."""
    if record.config.get("spatial"):
        instruction = "a prior trained anew" if record.prior_sha else "random weights"
        return f"PIR from {instruction}, {record.dataset}"
    hinge = "margin" in record.config and record.config.get("objective") != "contrastive"
    return "triplet loss" if hinge else "neither"


def main() -> None:
    """Print each group: cells, mean and largest absolute difference of mR in points."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("commit", help="whose records are the earlier ones")
    commit = parser.parse_args().commit
    moved: dict[str, list[float]] = defaultdict(list)
    for path in sorted(CELLS.glob("*/*/*/cell.json")):
        now, before = read_record(path), earlier(commit, path)
        if now is None or before is None or now.weights_sha == before.weights_sha or "mr" not in now.metrics:
            continue
        if all(getattr(now, field) == getattr(before, field) for field in SAME):
            moved[group_of(now)].append(abs(now.metrics["mr"] - before.metrics["mr"]))
    for group, values in sorted(moved.items()):
        print(f"{group}: {len(values)} cells, mean {mean(values):.3f}, largest {max(values):.3f}")


if __name__ == "__main__":
    main()
