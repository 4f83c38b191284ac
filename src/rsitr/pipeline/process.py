"""Each artefact is computed in a process of its own, so that even its sudden death becomes a record.

The kernel ends a process that wants too much memory without a word; a benchmark of many cells has to outlive that.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from rsitr.errors import RsitrError
from rsitr.gpus import gpus
from rsitr.records.artefact import ArtefactSpec, Outcome
from rsitr.records.provenance import cores
from rsitr.stages.warm import COMMANDS, STAGES, Forked, start, wait

# Threads that wait by spinning starve each other when more cells run than cores are free (20 times slower, measured).
PATIENCE = {"OMP_WAIT_POLICY": "PASSIVE"}
# Training makes blocks of the same sizes in every step: to give them back and take them again costs as much again as
# the arithmetic (twice the time a step, measured with blocks of 33 MiB).
HOARD = {"MALLOC_MMAP_THRESHOLD_": str(2**32), "MALLOC_TRIM_THRESHOLD_": str(2**34)}
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def run_process(spec: ArtefactSpec, spec_path: Path, stages: Sequence[str] = ()) -> Outcome | None:
    """Compute an artefact (``python -m rsitr.stages``); returns an outcome only if the process was killed.

    A signal sent to this process is passed on and ends it without a record: the user wanted to stop. A process that
    could not write its record (full disk, read-only folder, other code than the spec's) raises ``RsitrError``.
    """
    code = wait(_begin(spec, [spec.kind, str(spec_path), *stages]))
    if code < 0:
        name = signal.Signals(-code).name
        hint = " (out of memory? lower batch_size, or raise mem_mb)" if name == "SIGKILL" else ""
        return Outcome(status="failed", reason=f"killed by {name}{hint}; `rsitr retry --failed` continues it")
    if code > 0:
        raise RsitrError(f"{spec.path} has no new record: see the message above")
    return None


def _begin(spec: ArtefactSpec, arguments: list[str]) -> subprocess.Popen[bytes] | Forked:
    """A fork of the warm process where Snakemake has started one, and a process of its own elsewhere."""
    threads = _threads(spec.threads)
    with suppress(OSError):
        return Forked(STAGES, threads, arguments, environment(threads))
    return subprocess.Popen([sys.executable, "-m", "rsitr.stages", *arguments], env=environment(threads))


def warm_up(threads: int, *, commands: bool = True) -> None:
    """Start the processes from which jobs with so many threads are forked, and those of artefacts without GPUs.

    Without ``commands``, only those of artefacts.

    A process that has begun to use a GPU cannot fork.
    """
    threads = _threads(threads)
    if commands:
        start(COMMANDS, threads, os.environ | dict.fromkeys(THREAD_VARIABLES, str(threads)))
    if not gpus():
        start(STAGES, threads, environment(threads))


def _threads(wanted: int) -> int:
    return min(wanted, cores())


def environment(threads: int) -> dict[str, str]:
    """Of a process that computes with so many threads, or as many as there are."""
    return os.environ | PATIENCE | dict.fromkeys(THREAD_VARIABLES, str(_threads(threads))) | HOARD
