"""What grows with nodes, batch and images: two nodes of pre-training, the loss of a large batch, the data path.

``pretrain-2``: two nodes that share no disk are killed and continue; a node is killed, and the cable between them cut.
``loss-8192``: value and gradients of the contrastive loss of 8,192 pairs, next to open_clip's. ``hashes-20k``: near
pairs of pictures' hashes, next to all pairs. ``shards-cold``: samples read next to webdataset (``scale_reading.py``).
``data-100k`` and ``data-1m``: all stages of a set in packed shards, with their slopes (``scale_data.py``).

    python benchmarks/scale.py              all cases but data-1m, which takes hours and 15 GB of disk
    python benchmarks/scale.py pretrain-2   network namespaces need root; without them, loopback and no cable to cut
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
import yaml
from torch.nn import functional as F

import scale_data
from recall import resident_mib
from rsitr.dedup.groups import MAX_DISTANCE, near_pairs
from rsitr.pretraining import loop
from rsitr.pretraining.loss import contrastive
from rsitr.pretraining.spec import PretrainRecord, PretrainSpec
from rsitr.records.files import read_json
from scale_nodes import Nodes, ended, kill, two_nodes
from scale_reading import shards_cold
from table import Row, add_cases, machine, print_rows, write_rows
from training import Task, write_pictures

RESULT = Path(__file__).parents[1] / "results" / "benchmarks" / "scale.csv"
EPOCHS, STEPS = 3, 6
PATIENCE = 15
"""Seconds for which a process waits for another; the default is ten minutes."""
PAIRS, WIDTH, REPEATS = 8192, 512, 3
HASHES = 20_000


def spec_of(task: Task, folder: Path) -> PretrainSpec:
    """Three short epochs, with shards and results in a node's own folder."""
    spec = task.spec(folder, "out")
    more = {"epochs": EPOCHS, "samples_per_epoch": task.batch * STEPS, "patience": PATIENCE}
    return spec.model_copy(update=more)


def losses(out: Path) -> list[float]:
    """Of every step."""
    with (out / "loss.csv").open(newline="") as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def until_saved(nodes: Nodes, epochs: int) -> None:
    """Wait until the first node has saved its state that often since its last start."""
    state, seen = nodes.folders[0] / "out" / "resume.pt", 0
    last = state.stat().st_mtime_ns if state.exists() else 0
    while seen < epochs:
        time.sleep(0.05)
        if state.exists() and state.stat().st_mtime_ns != last:
            seen, last = seen + 1, state.stat().st_mtime_ns


def pretrain_on_two_nodes() -> list[Row]:
    """Killed after the first epoch, cut off after the second, and ended like one process that nobody disturbed."""
    task = Task("pretrain-2", "tiny-112", 112, 64, STEPS, threads=1)
    with tempfile.TemporaryDirectory() as name, two_nodes(Path(name)) as nodes:
        alone = Path(name, "alone")
        for folder in (alone, *nodes.folders):
            folder.mkdir(exist_ok=True)
            write_pictures(folder, task)
            (folder / "spec.yaml").write_text(yaml.safe_dump(spec_of(task, folder).model_dump(mode="json")))
        whole = in_a_fresh_process(train_alone, alone)
        seconds = {}
        started = nodes.start("spec.yaml")
        until_saved(nodes, 1)
        begun = time.monotonic()
        kill(started[1])
        assert ended(started[:1], 60) == [1]
        seconds["after a node was killed"] = time.monotonic() - begun
        if nodes.isolated:
            started = nodes.start("spec.yaml")
            until_saved(nodes, 1)
            begun = time.monotonic()
            nodes.unplug()
            assert ended(started, 3 * PATIENCE + 60) == [1, 1]
            seconds[f"after the cable was cut, patience {PATIENCE} s"] = time.monotonic() - begun
            nodes.plug()
        assert ended(nodes.start("spec.yaml"), 300) == [0, 0]
        print((nodes.folders[0] / "log.txt").read_text())
        record = read_json(PretrainRecord, nodes.folders[0] / "out" / "pretrain.json")
        found = losses(nodes.folders[0] / "out")
        assert (record.outcome.status, record.steps, record.processes) == ("ok", EPOCHS * STEPS, 2)
    difference = max(abs(a - b) for a, b in zip(whole, found, strict=True))
    where = f"{nodes.kind}, {machine()}"
    metric = "largest difference of the losses from one process never interrupted"
    rows = [Row(task.case, metric, "", difference, "", None, where)]
    return [*rows, *(Row(task.case, f"end {when}", "s", value, "", None, where) for when, value in seconds.items())]


def train_alone(folder: Path) -> list[float]:
    """The losses of one process."""
    os.chdir(folder)
    torch.set_num_threads(1)
    loop.pretrain(PretrainSpec.model_validate(yaml.safe_load(Path("spec.yaml").read_text())))
    return losses(folder / "out")


def in_a_fresh_process(work: Callable[..., Any], *arguments: Any) -> Any:
    """What ``work`` returns in a process that nothing else has run in."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def measure_loss(kind: str) -> tuple[float, float, float, float]:
    """The loss, the sum of its gradients' squares, the least seconds of several, and MiB beyond the features."""
    torch.set_num_threads(2)
    draw = torch.Generator().manual_seed(0)
    features = [F.normalize(torch.randn(PAIRS, WIDTH, generator=draw), dim=1).requires_grad_() for _ in range(2)]
    scale, plain = torch.tensor(14.0, requires_grad=True), open_clip.ClipLoss()
    before, seconds = resident_mib("VmRSS"), []
    for _ in range(REPEATS):
        for each in (*features, scale):
            each.grad = None
        begun = time.perf_counter()
        images, texts = features
        loss = plain(images, texts, scale) if kind == "plain" else contrastive(images, texts, scale, slice(0, PAIRS))
        loss.backward()
        seconds.append(time.perf_counter() - begun)
    squares = sum(float(each.grad.double().square().sum()) for each in (*features, scale) if each.grad is not None)
    return loss.item(), squares, min(seconds), resident_mib("VmHWM") - before


def loss_of_a_large_batch() -> list[Row]:
    """Ours in blocks next to open_clip's with the whole matrix."""
    case, peer = f"loss-{PAIRS}", f"open_clip {open_clip.__version__} ClipLoss"
    (own, squares, seconds, mib), (their, their_squares, their_seconds, their_mib) = (
        in_a_fresh_process(measure_loss, kind) for kind in ("blocks", "plain")
    )
    apart = max(abs(own - their), abs(squares - their_squares) / their_squares)
    return [
        Row(case, "time, forward and backward", "s", seconds, peer, their_seconds, machine()),
        Row(case, "peak memory beyond the features", "MiB", mib, peer, their_mib, machine()),
        Row(case, "largest difference of loss and of the squares of the gradients", "", apart, "", None, machine()),
    ]


def measured(work: Callable[..., Any], *arguments: Any) -> tuple[float, float]:
    """Seconds, and peak MiB beyond what the process has loaded before, of ``work``."""
    torch.set_num_threads(2)
    before, begun = resident_mib("VmRSS"), time.perf_counter()
    work(*arguments)
    return time.perf_counter() - begun, resident_mib("VmHWM") - before


def all_pairs(hashes: list[str]) -> None:
    """Every hash against every later one."""
    values = np.array([int(value, 16) for value in hashes], dtype=np.uint64)
    for start in range(0, len(values), 1024):
        np.nonzero(np.bitwise_count(values[start : start + 1024, None] ^ values[None, start:]) <= MAX_DISTANCE)


def pairs_of_hashes() -> list[Row]:
    """An index of parts of the hashes next to all pairs."""
    hashes = [f"{value:016x}" for value in np.random.default_rng(0).integers(2**63, size=HASHES)]
    (ours, _), (theirs, _) = (in_a_fresh_process(measured, work, hashes) for work in (near_pairs, all_pairs))
    return [Row(f"hashes-{HASHES // 1000}k", "time, pairs of hashes", "s", ours, "numpy, all pairs", theirs, machine())]


CASES: dict[str, Callable[[], list[Row]]] = {
    "pretrain-2": pretrain_on_two_nodes,
    f"loss-{PAIRS}": loss_of_a_large_batch,
    f"hashes-{HASHES // 1000}k": pairs_of_hashes,
    "shards-cold": shards_cold,
    "data-100k": partial(scale_data.data_path, 100_000),
    "data-1m": partial(scale_data.data_path, 1_000_000),
}


def main() -> None:
    """Measure, print, and write ``results/benchmarks/scale.csv``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_cases(parser, CASES)
    arguments = parser.parse_args()
    for name in arguments.cases or [case for case in CASES if case != "data-1m"]:
        rows = CASES[name]()
        print_rows(f"Scale: {name}", rows)
        write_rows(RESULT, rows)


if __name__ == "__main__":
    main()
