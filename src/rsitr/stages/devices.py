"""Which GPU a process computes on."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from itertools import product
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from rsitr.gpus import PER_GPU, cells_per_gpu

_held: list[FileLock] = []


def claim() -> str:
    """The first GPU with a free place, held until this process ends; waits for one, and says so on stderr.

    Devices are known by their UUID, in a folder of the user on this host: what one job of a cluster sees as its first
    device is another one than that of the next job, and they share the project's folder.
    """
    folder = Path(tempfile.gettempdir(), f"rsitr-gpus-{os.getuid()}")
    folder.mkdir(exist_ok=True)
    uuids = [torch.cuda.get_device_properties(index).uuid for index in range(torch.cuda.device_count())]
    places = list(product(range(cells_per_gpu()), enumerate(uuids)))
    waiting = False
    while True:
        for place, (index, uuid) in places:
            lock = FileLock(folder / f"{uuid}-{place}.lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            _held.append(lock)
            torch.cuda.set_device(index)  # or what names no device would use the first one
            return f"cuda:{index}"
        if not waiting:
            waiting = True
            print(
                f"every GPU here ({len(uuids)}) is in use by {cells_per_gpu()} of your processes: waiting for one to "
                f"end. {PER_GPU} says how many may share one",
                file=sys.stderr,
                flush=True,
            )
        time.sleep(1)
