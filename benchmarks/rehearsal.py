"""What `rsitr rehearse` finds and costs: configurations, how they ended, seconds, the largest peak memory.

    python benchmarks/rehearsal.py               all of paper; hours on two cores, continues where it was stopped
    python benchmarks/rehearsal.py demo          another experiment

There is no peer. Reports that are current are not made again, and their times are those of the run that made them.
"""

from __future__ import annotations

import argparse
import os
from collections import Counter
from pathlib import Path

from rsitr.params import load_params
from rsitr.pipeline.rehearsal import current, planned, rehearse, summary
from rsitr.pipeline.specs import open_params
from table import Row, machine, print_rows, write_rows

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "results" / "benchmarks" / "rehearsal.csv"


def main() -> None:
    """Rehearse an experiment and add its rows to the csv."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", nargs="?", default="paper")
    parser.add_argument("--as-is", action="store_true", help="count the reports that there are and rehearse nothing")
    arguments = parser.parse_args()
    name = arguments.experiment
    os.chdir(ROOT)
    params = open_params(load_params().model_dump() | {"experiment": name})
    specs = planned(params, name)
    found = [found for spec in specs if (found := current(spec))] if arguments.as_is else rehearse(specs)
    print(summary(specs, found))
    counts = Counter(report.outcome.status for report in found)
    measured = [
        ("configurations", "count", len(specs)),
        ("cells among them", "count", sum(spec.kind == "cells" for spec in specs)),
        *((status, "count", counts[status]) for status in ("ok", "failed", "skipped")),
        ("not rehearsed", "count", len(specs) - len(found)),
        ("time of all", "s", sum(report.seconds for report in found)),
        ("largest peak memory", "MiB", max((report.peak_memory_mib or 0 for report in found), default=0)),
    ]
    rows = [Row(name, metric, unit, float(value), "", None, machine()) for metric, unit, value in measured]
    write_rows(RESULT, rows)
    print_rows("Rehearsal", rows)


if __name__ == "__main__":
    main()
