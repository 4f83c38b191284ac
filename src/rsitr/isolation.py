"""Each stage of a cell runs in a process of its own, so that even its sudden death becomes a record.

The kernel ends a process that wants too much memory without a word; a benchmark of many cells has to outlive that.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType
from typing import Protocol

from rsitr.cells import Outcome
from rsitr.errors import RsitrError

# Threads that wait by spinning starve each other when more cells run than cores are free (20 times slower, measured).
PATIENCE = {"OMP_WAIT_POLICY": "PASSIVE"}
# Blocks of scores have 16 MiB. The C library of Linux keeps such blocks once it has seen a few, in a heap full of holes
# (2.5 GiB at 100,000 images and 500,000 captions, measured); above a fixed size it gives them back at once.
THRIFT = {"MALLOC_MMAP_THRESHOLD_": str(8 * 2**20)}
# Training makes blocks of the same sizes in every step: to give them back and take them anew costs as much again as the
# arithmetic (twice the time a step, measured with blocks of 33 MiB).
HOARD = {"MALLOC_MMAP_THRESHOLD_": str(2**32), "MALLOC_TRIM_THRESHOLD_": str(2**34)}
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class Job(Protocol):
    """What is said of a stage beside its name: a spec."""

    @property
    def threads(self) -> int:
        """Most threads that it may use."""

    @property
    def path(self) -> str:
        """What messages call it."""


def run_stage(stage: str, spec: Job, spec_path: Path, killed: Outcome | None = None) -> Outcome | None:
    """Run ``rsitr.train``, ``rsitr.evaluate`` or ``rsitr.scenes.train`` on a spec; an outcome only if it was killed.

    ``killed`` tells an evaluation that it only has to record the outcome of the one before.
    A signal sent to this process is passed on and ends it without a record: the user wanted to stop. A stage that
    could not write its record (full disk, read-only folder) raises ``RsitrError``.
    """
    threads = dict.fromkeys(THREAD_VARIABLES, str(min(spec.threads, os.cpu_count() or 1)))
    environment = os.environ | PATIENCE | threads | (HOARD if stage.endswith("train") else THRIFT)
    command = [sys.executable, "-m", f"rsitr.{stage}", str(spec_path)]
    process = subprocess.Popen(command + ([killed.model_dump_json()] if killed else []), env=environment)
    stopped: list[int] = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        # Waiting here would wait for a lock that the interrupted wait below holds.
        stopped.append(number)
        process.terminate()

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        code = process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if stopped:
        raise SystemExit(128 + stopped[0])
    if code < 0:
        name = signal.Signals(-code).name
        hint = " (out of memory? lower batch_size, or raise mem_mb)" if name == "SIGKILL" else ""
        return Outcome(
            status="failed", reason=f"{stage} was killed by {name}{hint}; `rsitr retry --failed` continues it"
        )
    if code > 0:
        raise RsitrError(f"{stage} of {spec.path} could not write its record: see the message above")
    return None
