"""Processes of one training on this machine, each with a folder of its own, as nodes have that share no disk."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

SECONDS = 45
"""After which a process counts as hanging."""


class Hangs(AssertionError):
    """A process that did not end."""


def forked(folders: Sequence[Path], work: Callable[[int], Any]) -> list[Any]:
    """What ``work(rank)`` returns or raises on each of ``len(folders)`` processes, by rank; None where one is killed.

    A forked process has all that the test has patched, and starts at once.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    context = multiprocessing.get_context("fork")
    started = [context.Process(target=_run, args=(rank, port, folders, work)) for rank in range(len(folders))]
    for process in started:
        process.start()
    for process in started:
        process.join(SECONDS)
    hanging = [rank for rank, process in enumerate(started) if process.is_alive()]
    for rank in hanging:
        started[rank].kill()
        started[rank].join()
    if hanging:
        raise Hangs(f"ranks {hanging} have not ended after {SECONDS} s")
    answers = [folder / f"answer-{rank}" for rank, folder in enumerate(folders)]
    return [pickle.loads(path.read_bytes()) if path.exists() else None for path in answers]


def vanish() -> None:
    """End this process as a lost node does: at once."""
    os.kill(os.getpid(), signal.SIGKILL)


def _run(rank: int, port: int, folders: Sequence[Path], work: Callable[[int], Any]) -> None:
    world = str(len(folders))
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": world, "LOCAL_RANK": "0", "GROUP_RANK": str(rank)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    folders[rank].mkdir(parents=True, exist_ok=True)
    os.chdir(folders[rank])
    answer = folders[rank] / f"answer-{rank}"
    answer.unlink(missing_ok=True)
    try:
        found = work(rank)
    except BaseException as error:
        found = type(error), str(error)
    answer.write_bytes(pickle.dumps(found))
    os._exit(0)
