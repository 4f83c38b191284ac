"""A step of training each method as `laptop` configures it, on one core: this code next to that of an earlier commit.

    python benchmarks/steps.py BASE                       all cases
    python benchmarks/steps.py BASE ucm/vse++ ucm/galr
    python benchmarks/steps.py BASE --brief               one round of few steps; writes nothing

To be run where the data of laptop is. BASE is checked out in a worktree, and both codes read the present params.yaml,
as far as BASE knows its fields. Each has a process of its own; they take turns, so that a busy machine slows both. A
step includes the reading of its images and captions, and its time is that of the processor. The share is that of the
peak of the core, the rate of the fastest product of two matrices of 2048 x 2048 numbers in either process; its
operations are those that torch counts.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import yaml

from rsitr.pipeline.process import environment
from table import Row, add_cases, machine, print_rows, write_rows

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "results" / "benchmarks" / "steps.csv"
METHODS = (
    *("vse++", "vse", "amfmn-sim", "scan-i2t", "scan-t2i", "camp-triplet"),
    *("mtfn", "galr", "lw-mcr", "swan", "hvsa", "mtgfe"),
)
LAST = "last phase"
"""Of a method that trains in phases."""
CASES = [*(f"ucm/{name}" for name in METHODS), f"ucm/camp-triplet {LAST}", "rsicd/lw-mcr", "rsicd/mtgfe"]


class Effort(NamedTuple):
    """How much is measured."""

    rounds: int
    steps: int
    """Of a code in a round."""


class Worker:
    """A process that trains a case with the code of a tree, some steps at a time (``steps_worker.py``)."""

    def __init__(self, case: str, tree: Path):
        command = [sys.executable, str(Path(__file__).with_name("steps_worker.py")), *case.partition(" ")[::2]]
        own = environment(1) | {"PYTHONPATH": str(tree / "src")}
        self.folder = tempfile.TemporaryDirectory()
        for name in ("data", "cache", "results", "checkpoints", "requirements.lock"):
            Path(self.folder.name, name).symlink_to(ROOT / name)
        Path(self.folder.name, "params.yaml").write_text(yaml.safe_dump(known_to(tree)), encoding="utf-8")
        self.process = subprocess.Popen(
            command, cwd=self.folder.name, env=own, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, question: str, steps: int = 0) -> Any:
        """The answer to a question."""
        assert self.process.stdin
        assert self.process.stdout
        print(question, steps, file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"{self.process.args!r} ended: see above")
        return json.loads(answer)

    def close(self) -> None:
        """End the process."""
        self.process.communicate()
        self.folder.cleanup()


def known_to(tree: Path) -> dict[str, Any]:
    """The parameters of `laptop`, as far as a tree knows their fields."""
    schema = json.loads((tree / "workflow/schemas/params.schema.json").read_text(encoding="utf-8"))
    fields = schema["$defs"]["Experiment"]["properties"]
    own = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["experiments"]["laptop"]
    return {"experiment": "laptop", "experiments": {"laptop": {name: own[name] for name in fields if name in own}}}


@contextmanager
def checked_out(commit: str) -> Iterator[Path]:
    """The tree of a commit."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder, "base")
        subprocess.run(["git", "worktree", "add", "--quiet", "--detach", str(tree), commit], cwd=ROOT, check=True)
        try:
            yield tree
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(tree)], cwd=ROOT, check=True)


def compare(case: str, base: Path, peer: str, effort: Effort) -> list[Row]:
    """The rows of a case."""
    workers = [Worker(case, tree) for tree in (ROOT, base)]
    for worker in workers:
        worker.ask("train", 3)  # the first steps choose kernels and take memory
    seconds: list[list[float]] = [[], []]
    rates = []
    for _ in range(effort.rounds):
        for worker, found in zip(workers, seconds, strict=True):
            found += worker.ask("train", effort.steps)
            rates.append(worker.ask("multiply"))
    operations = [worker.ask("count", 1) for worker in workers]
    for worker in workers:
        worker.close()
    peak = max(rates)
    times = [median(found) for found in seconds]
    shares = [100 * count / time / peak for count, time in zip(operations, times, strict=True)]
    billions = [count / 1e9 for count in operations]
    here = machine()
    return [
        Row(case, "a step of training", "s", times[0], peer, times[1], here),
        Row(case, "operations of a step", "GFLOP", billions[0], peer, billions[1], here),
        Row(case, "share of the core's peak rate", "%", shares[0], peer, shares[1], here, higher_is_better=True),
        Row(case, "peak rate of the core", "GFLOP/s", peak / 1e9, "", None, here, higher_is_better=True),
    ]


def main() -> None:
    """Measure, print, and write ``results/benchmarks/steps.csv``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", metavar="BASE")
    add_cases(parser, CASES)
    parser.add_argument("--brief", action="store_true")
    arguments = parser.parse_args()
    os.chdir(ROOT)
    name = subprocess.run(
        ["git", "rev-parse", "--short", arguments.base], capture_output=True, text=True, check=True
    ).stdout.strip()
    with checked_out(arguments.base) as base:
        for case in arguments.cases or CASES:
            rows = compare(case, base, f"rsitr {name}", Effort(1, 4) if arguments.brief else Effort(6, 5))
            print_rows(f"Training: {case}", rows)
            if not arguments.brief:
                write_rows(RESULT, rows)


if __name__ == "__main__":
    main()
