"""Contrastive pre-training: rsitr on one and two processes, and next to open_clip's plain training step.

``torchrun-2``: two processes of one thread next to one process of one thread, the whole run with reading and decoding,
and the largest difference of their loss curves. ``single-process``: steps on batches in memory, ours next to
open_clip's own model, loss and AdamW in a plain loop. ``clip-vit-b-32-bf16``: the same of ViT-B/32 with 512 samples a
batch in bfloat16, where there is a GPU, with the share of its peak rate that the matrix products of a step come to.
Pictures and captions are made up. Every measurement has a process of its own.

    python benchmarks/training.py                  all cases
    python benchmarks/training.py torchrun-2
    python benchmarks/training.py --brief          an eighth of the steps; writes nothing
"""

from __future__ import annotations

import argparse
import csv
import io
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import open_clip
import torch
import yaml
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode
from webdataset import TarWriter

from recall import resident_mib
from rsitr.pretraining import loop
from rsitr.pretraining.ranks import Ranks
from rsitr.pretraining.spec import PretrainRecord, PretrainSpec
from rsitr.records.files import read_json
from table import Row, add_cases, machine, print_rows, write_rows
from training_peer import PlainStep

RESULT = Path(__file__).parents[1] / "results" / "benchmarks" / "training.csv"
WARM = 3
"""Steps before the clock starts: the first ones choose kernels and take memory."""
PEAK_RATES = {"H100 80GB HBM3": 989e12, "H200": 989e12, "H100 PCIe": 756e12, "A100": 312e12}
"""Products and sums of dense bfloat16 matrices per second, as the vendor states them."""
PEER = f"open_clip {open_clip.__version__} plain step"


class Task(NamedTuple):
    """What is trained."""

    case: str
    model: str
    size: int
    """Side of the pictures in pixels."""
    batch: int
    steps: int
    device: str = "cpu"
    threads: int = 2

    def spec(self, folder: Path, out: str) -> PretrainSpec:
        """A run of one epoch over shards that hold just the samples it needs."""
        fields: dict[str, Any] = {"model": self.model, "batch_size": self.batch, "epochs": 1, "learning_rate": 1e-4}
        return PretrainSpec(
            shards=(str(folder / "*.tar"),),
            out=folder / out,
            samples_per_epoch=self.batch * (self.steps + WARM),
            workers=0 if self.device == "cpu" else 8,
            **fields,
        )


class Measured(NamedTuple):
    """What one process measured."""

    rate: float
    """Samples per second."""
    mib: float
    """Peak memory: of the GPU where there is one, else of the process, with everything in it."""
    flops: float = 0.0
    """Floating-point operations of the matrix products of a step."""


def write_pictures(folder: Path, task: Task) -> None:
    """A shard with one batch of noise and captions of ten words."""
    random = np.random.default_rng(0)
    words = ["river", "airport", "trees", "houses", "green", "bare", "road", "many", "near", "dense"]
    with (folder / "pictures.tar").open("wb") as file, TarWriter(file, encoder=False) as tar:
        for number in range(task.batch):
            coarse = random.integers(0, 256, (task.size // 8, task.size // 8, 3), np.uint8)
            buffer = io.BytesIO()
            Image.fromarray(coarse).resize((task.size, task.size)).save(buffer, "JPEG", quality=85)
            caption = " ".join(random.choice(words, 10))
            tar.write({"__key__": f"{number:06}", "jpg": buffer.getvalue(), "txt": caption.encode()})


def timed(step: Callable[[int], Any], task: Task) -> Measured:
    """The rate of ``step`` after the warm-up."""
    for number in range(WARM):
        step(number)
    synchronize(task)
    begun = time.perf_counter()
    for number in range(WARM, WARM + task.steps):
        step(number)
    synchronize(task)
    rate = task.batch * task.steps / (time.perf_counter() - begun)
    if task.device == "cpu":
        return Measured(rate, resident_mib("VmHWM"))
    return Measured(rate, torch.cuda.max_memory_allocated() / 2**20)


def synchronize(task: Task) -> None:
    """Until the device has done what it was asked."""
    if task.device != "cpu":
        torch.cuda.synchronize()


def ours(task: Task, folder: Path) -> Measured:
    """Steps of our loop on a batch in memory."""
    trainer = loop.Pretrainer(task.spec(folder, "ours"), Ranks(0, 1, task.device), PretrainRecord())
    trainer.shared.train()
    batch = next(iter(trainer.loader(range(1))))
    batch = type(batch)(*(part.to(task.device) for part in batch))
    return timed(lambda step: trainer.train_step(step, batch), task)


def plain(task: Task, folder: Path) -> Measured:
    """Steps of open_clip's on the same batch."""
    trainer = loop.Pretrainer(task.spec(folder, "plain"), Ranks(0, 1, task.device), PretrainRecord())
    pixels, tokens, _ = (part.to(task.device) for part in next(iter(trainer.loader(range(1)))))
    del trainer
    if task.device != "cpu":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    peer = PlainStep(task.model, task.device)
    measured = timed(lambda step: peer.step(pixels, tokens), task)
    with FlopCounterMode(display=False) as counter:
        peer.forward_backward(pixels, tokens)
    return measured._replace(flops=float(counter.get_total_flops()))


def measure(kind: str, task: Task, folder: Path) -> Measured:
    """One kind of step, in the process that this is called in."""
    torch.set_num_threads(task.threads)
    os.chdir(folder)
    return {"ours": ours, "plain": plain}[kind](task, folder)


def in_a_fresh_process(kind: str, task: Task) -> Measured:
    """``measure``, in a process that nothing else has run in."""
    with tempfile.TemporaryDirectory() as folder:
        write_pictures(Path(folder), task)
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            return pool.submit(measure, kind, task, Path(folder)).result()


def compare_steps(task: Task) -> list[Row]:
    """Ours next to open_clip's plain step."""
    own, peer = in_a_fresh_process("ours", task), in_a_fresh_process("plain", task)
    rows = [
        Row(task.case, "throughput", "samples/s", own.rate, PEER, peer.rate, where(task), higher_is_better=True),
        Row(task.case, "peak memory", "MiB", own.mib, PEER, peer.mib, where(task)),
    ]
    if task.device == "cpu":
        return rows
    name = torch.cuda.get_device_name()
    peak = next((rate for part, rate in PEAK_RATES.items() if part in name), None)
    if peak is None:
        raise SystemExit(f"the peak rate of {name} is not known: add it to PEAK_RATES")
    shares = [100 * measured.rate / task.batch * peer.flops / peak for measured in (own, peer)]
    metric = f"share of the device's peak rate, {peak / 1e12:.0f} TFLOP/s"
    return [*rows, Row(task.case, metric, "%", shares[0], PEER, shares[1], where(task), higher_is_better=True)]


def where(task: Task) -> str:
    """The machine, and its GPU where that does the work."""
    return machine() if task.device == "cpu" else f"{torch.cuda.get_device_name()}, {machine()}"


def run(task: Task, folder: Path, processes: int) -> tuple[PretrainRecord, list[float]]:
    """A whole run as a user starts it; the record, and the loss of every step."""
    spec = task.spec(folder, f"of-{processes}")
    path = folder / f"{processes}.yaml"
    path.write_text(yaml.safe_dump(spec.model_dump(mode="json")))
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, *(launcher if processes > 1 else []), "-m", "rsitr.pretraining", str(path)]
    subprocess.run(command, cwd=folder, env=environment, check=True)
    with (spec.out / "loss.csv").open(newline="") as file:
        return read_json(PretrainRecord, spec.out / "pretrain.json"), [
            float(row["loss"]) for row in csv.DictReader(file)
        ]


def compare_processes(task: Task) -> list[Row]:
    """Two processes next to one."""
    with tempfile.TemporaryDirectory() as folder:
        write_pictures(Path(folder), task)
        (one, alone), (two, together) = (run(task, Path(folder), processes) for processes in (1, 2))
    difference = max(abs(a - b) for a, b in zip(alone, together, strict=True))
    name = "rsitr, 1 process of 1 thread"
    rates = two.samples_per_second, one.samples_per_second
    return [
        Row(task.case, "throughput, 2 processes of 1 thread", "samples/s", rates[0], name, rates[1], machine(), True),
        Row(task.case, "largest difference of the losses", "", difference, "", None, machine()),
    ]


def tasks() -> dict[str, tuple[Task, Callable[[Task], list[Row]]]]:
    """The cases that this machine can measure."""
    small = Task("", "tiny-112", 112, 64, 24)
    found: dict[str, tuple[Task, Callable[[Task], list[Row]]]] = {
        "torchrun-2": (small._replace(case="torchrun-2"), compare_processes),
        "single-process": (small._replace(case="single-process"), compare_steps),
    }
    if torch.cuda.is_available():
        large = Task("clip-vit-b-32-bf16", "ViT-B-32", 224, 512, 40, "cuda:0", 8)
        found[large.case] = (large, compare_steps)
    return found


def main() -> None:
    """Measure, print, and write ``results/benchmarks/training.csv``."""
    found = tasks()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_cases(parser, found)
    parser.add_argument("--brief", action="store_true")
    arguments = parser.parse_args()
    for name in arguments.cases or found:
        task, compare = found[name]
        rows = compare(task._replace(steps=task.steps // 8) if arguments.brief else task)
        print_rows(f"Contrastive pre-training: {name}", rows)
        if not arguments.brief:
            write_rows(RESULT, rows)


if __name__ == "__main__":
    main()
