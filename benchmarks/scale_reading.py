"""Case ``shards-cold`` of `scale.py`: samples of shards that are not in memory, in three orders of reading.

Random bytes of the size of a picture, 1 GiB in eight shards that the system is asked to forget first. One process reads
a batch of 256 and then pauses for 50 ms, in place of a step of training; nothing is decoded. Ours reads each sample
where it is, or mixes two shards at a time and reads the next ones ahead; webdataset reads one shard after another and
mixes within a buffer of 2,000 samples.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import webdataset

from rsitr.pretraining.samples import Order, ReadAhead
from rsitr.pretraining.shards import Index, index_shards
from table import Row, machine

SHARDS, SAMPLES, BYTES = 8, 3200, 40_000
BATCH, PAUSE, WINDOW, BUFFER = 256, 0.05, 2, 2000
PEER = f"webdataset {webdataset.__version__}, shuffle({BUFFER})"


def write_shards(folder: Path) -> list[Path]:
    """Shards of bytes that no compression makes smaller, with a caption each."""
    draw, paths = np.random.default_rng(0), [folder / f"{number}.tar" for number in range(SHARDS)]
    for path in paths:
        with path.open("wb") as file, webdataset.TarWriter(file, encoder=False) as tar:
            for number in range(SAMPLES):
                tar.write({"__key__": f"{number:06}", "jpg": draw.bytes(BYTES), "txt": b"a field"})
    return paths


def forget(paths: list[Path]) -> None:
    """Ask the system to drop what it holds of the files in memory."""
    os.sync()
    for path in paths:
        file = os.open(path, os.O_RDONLY)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(file)


def waited(batches: Iterator[Any]) -> float:
    """Milliseconds for which a batch is waited for, in the mean over all but the first."""
    next(batches)
    waits: list[float] = []
    while True:
        time.sleep(PAUSE)
        begun = time.perf_counter()
        if next(batches, None) is None:
            return 1000 * float(np.mean(waits))
        waits.append(time.perf_counter() - begun)


def ours(index: Index, window: int | None) -> Iterator[list[bytes]]:
    """Batches of one pass as they are read for pretraining."""
    order = Order(index.shard_of, BATCH, 0, window)
    files = [os.open(path, os.O_RDONLY) for path in index.shards]
    with closing(ReadAhead(index.shards, order.windows(0) if window else iter(()))) as ahead:
        for step in range(order.steps_per_pass):
            ahead.reach(step)
            places = ((files[index.shard_of[sample]], *index.places[sample, :2]) for sample in order.batch(step)[1])
            yield [os.pread(file, int(size), int(offset)) for file, offset, size in places]
    for file in files:
        os.close(file)


def theirs(paths: list[Path]) -> Iterator[Any]:
    """Batches of one pass as webdataset reads them."""
    samples = webdataset.WebDataset([str(path) for path in paths], shardshuffle=len(paths), seed=0)
    return iter(samples.shuffle(BUFFER).batched(BATCH, collation_fn=None, partial=False))


def shards_cold() -> list[Row]:
    """Each from files that are not in memory."""
    with tempfile.TemporaryDirectory() as name:
        paths = write_shards(Path(name))
        index = index_shards(paths, Path(name))
        found = []
        for batches in (lambda: ours(index, None), lambda: ours(index, WINDOW), lambda: theirs(paths)):
            forget(paths)
            found.append(waited(batches()))
    metric = f"wait for a batch of {BATCH}, {{}}"
    single, together, peer = found
    return [
        Row("shards-cold", metric.format("each sample where it is"), "ms", single, PEER, peer, machine()),
        Row("shards-cold", metric.format(f"{WINDOW} shards at once"), "ms", together, PEER, peer, machine()),
    ]
