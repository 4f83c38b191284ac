"""What a job costs: small cells in one process next to one process each, and on a Slurm next to this machine alone.

``pilot``: `rsitr run ITEM ITEM ...` against `rsitr run ITEM`, one after another. ``slurm-18``: eighteen cells by the
profile for Slurm, on the two nodes of the tests, which share the cores of this machine, against `snakemake --cores 2`.

    python benchmarks/jobs.py           both
    python benchmarks/jobs.py pilot     without Debian's slurm-wlm and munge
"""

from __future__ import annotations

import argparse
import copy
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from table import Row, add_cases, machine, print_rows, write_rows

sys.path.append(str(Path(__file__).parents[1]))  # of the tests, which have a Slurm and small projects
from tests.helpers.project_copy import TINY, Project, copy_sources
from tests.helpers.slurm import cluster, missing

RESULT = Path(__file__).parents[1] / "results" / "benchmarks" / "scale.csv"
PILOT, SLURM = 12, 18
"""Cells."""


@contextmanager
def project(cells: int) -> Iterator[Project]:
    """A project with data, and cells of a small model that have not been trained."""
    with tempfile.TemporaryDirectory(prefix="rsitr-jobs-") as folder:
        found = copy_sources(Path(folder) / "project")
        params = copy.deepcopy(TINY)
        params["experiments"]["tiny"]["matrix"] = [
            {"datasets": ["scenes-b"], "methods": ["vse"], "seeds": [*range(cells)]}
        ]
        found.params(params)
        found.run("snakemake", "--cores", "2", "data")
        yield found


def seconds(found: Project, commands: Sequence[Sequence[str]], environment: dict[str, str] | None = None) -> float:
    """Wall time of commands, one after another; raises ``CalledProcessError`` where one fails."""
    begun = time.perf_counter()
    for command in commands:
        own = environment or found.environment
        subprocess.run(command, cwd=found.path, env=own, check=True, capture_output=True)
    return time.perf_counter() - begun


def items(cells: int) -> list[str]:
    """The cells of such a project."""
    return [f"cells/tiny/scenes-b/vse/{seed}" for seed in range(cells)]


def pilot() -> list[Row]:
    """Cells a minute."""
    with project(PILOT) as found:
        together = seconds(found, [["rsitr", "run", *items(PILOT)]])
    with project(PILOT) as found:
        apart = seconds(found, [["rsitr", "run", item] for item in items(PILOT)])
    ours, theirs = (60 * PILOT / spent for spent in (together, apart))
    return [Row("pilot", "cells", "1/min", ours, "one process each", theirs, machine(), higher_is_better=True)]


def slurm() -> list[Row]:
    """Seconds of all cells."""
    records = [f"results/{item}/cell.json" for item in items(SLURM)]
    with project(SLURM) as found:
        local = seconds(found, [["snakemake", "--cores", "2", *records]])
    if why := missing():
        raise SystemExit(why)
    with project(SLURM) as found, cluster() as nodes:
        environment = found.environment
        command = nodes.snakemake(environment, *records)
        there = seconds(found, [command], environment)
    return [Row("slurm-18", "time, 18 cells on two nodes", "s", there, "snakemake --cores 2", local, machine())]


CASES = {"pilot": pilot, "slurm-18": slurm}


def main() -> None:
    """Measure, print, and add to ``results/benchmarks/scale.csv``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_cases(parser, CASES)
    arguments = parser.parse_args()
    for name in arguments.cases or CASES:
        rows = CASES[name]()
        print_rows(f"Jobs: {name}", rows)
        write_rows(RESULT, rows)


if __name__ == "__main__":
    main()
