"""The steps of ``benchmarks/gpu.sh``: rates of training, exact continuation, and every method on a GPU.

``clip-vit-b-32-bf16``: pre-training, 512 pairs a batch, with its share of the GPU's peak (``training.py``).
``vse``, ``mtgfe``: a training step of the cell of ``paper`` at its batch, and how fast its images are read.
``resume``: a training that was killed, next to one that was not, weight by weight.
``two-cells``: the pairs a second of two cells on one GPU, next to one cell alone.
``methods``: each method of ``demo`` trains, continues and is evaluated on the GPU, where tests have fake tensors
(``tests/contract/test_devices.py``).

With ``--cpu`` all of it runs on tiny models, which shows that it works and measures nothing.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from safetensors.torch import load_file

from rsitr.params import load_params
from rsitr.pipeline.rehearsal import planned, surroundings
from rsitr.pipeline.specs import open_params, spec_of
from rsitr.records.cell import Spec
from rsitr.records.files import read_csv, write_csv
from rsitr.records.paths import Paths
from rsitr.stages import steps
from rsitr.stages.drawn import DrawnData, words
from rsitr.stages.rehearse import Rehearsal
from rsitr.stages.setup import build_method, device_of, load_data
from rsitr.stages.small import Killed, Size, short_cell
from rsitr.stages.stand_ins import StandIns, standing_in
from rsitr.stages.train import Trainer, train, train_what_learns
from table import COLUMNS, Row, add_cases, machine, print_rows, write_rows
from training import Task, compare_steps, tasks

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "results" / "benchmarks" / "gpu.csv"
WARM, TIMED, READ = (3, 20, 10) if torch.cuda.is_available() else (1, 2, 2)
"""Steps before the clock starts, steps that are timed, and batches of images that are read."""
CELLS = "8"
"""That may share the GPU: here the cell and what it rests on are trained in one process."""
OUT_OF_TIME = 124


def here() -> str:
    """The machine, and its GPU."""
    return f"{torch.cuda.get_device_name()}, {machine()}" if torch.cuda.is_available() else machine()


def cell(method: str) -> Spec:
    """A cell of ``paper`` at its real size, or without a GPU one of ``demo``."""
    name, dataset = ("paper", "rsicd") if torch.cuda.is_available() else ("demo", "scenes-a")
    params = open_params(load_params().model_dump() | {"experiment": name})
    found = next(each for each in params.cells(name) if each.dataset == dataset and each.method_name == method)
    return spec_of(params, found)


def trainer_of(spec: Spec) -> Trainer:
    """The training of a cell on drawn data with stand-ins for weights, before its first step."""
    DrawnData().clean(spec)
    data = load_data(spec)
    with standing_in(StandIns(Path.cwd(), words())):
        method = build_method(spec, data)
    trainer = Trainer(method, data, spec, device_of(spec), Path("resume.pt"), {})
    train_what_learns(trainer.method)
    return trainer


def pairs_per_second(trainer: Trainer, wait: Callable[[], Any] = lambda: None) -> float:
    """Of a training step at the cell's batch, uploads included; ``wait`` is called before the clock starts."""
    batch = np.arange(trainer.config.batch_size) % len(trainer.train.captions)
    pictures = torch.rand(len(batch), 3, trainer.method.pixels.size, trainer.method.pixels.size)
    for step in range(WARM + TIMED):
        if step == WARM:
            trainer.steps.read()  # the GPU has done what it was asked
            wait()
            begun = time.perf_counter()
        trainer.train_step(batch, pictures)
    trainer.steps.read()
    return TIMED * len(batch) / (time.perf_counter() - begun)


def rates(method: str) -> list[Row]:
    """A training step, and reading the images for it."""
    trainer = trainer_of(cell(method))
    rate = pairs_per_second(trainer)
    size = trainer.config.batch_size
    batches = iter(trainer.inputs.batches([np.arange(size) % len(trainer.train.paths)] * (READ + 1)))
    next(batches)  # by now all processes that read have begun
    begun = time.perf_counter()
    read = sum(map(len, batches)) / (time.perf_counter() - begun)
    rows = [
        Row(method, f"training step of {size} pairs", "pairs/s", rate, "", None, here(), higher_is_better=True),
        Row(method, "images read", "images/s", read, "its training step", rate, here(), higher_is_better=True),
    ]
    if torch.cuda.is_available():
        rows.append(Row(method, "peak memory", "MiB", torch.cuda.max_memory_allocated() / 2**20, "", None, here()))
    return rows


def resume() -> list[Row]:
    """Tensors of a killed training that differ from those of a whole one, and of another whole one, which bounds it."""
    spec = short_cell(cell("vse"), Size(batch=4, selecting=8, decay=False))
    DrawnData().clean(spec)

    def weights() -> dict[str, torch.Tensor]:
        shutil.rmtree(Paths.checkpoint(spec.cell), ignore_errors=True)
        with standing_in(StandIns(Path.cwd(), words())):
            try:
                report = train(spec)
            except Killed:
                report = train(spec)
        if report.outcome.status != "ok":
            raise SystemExit(report.outcome.reason)
        return load_file(Paths.checkpoint(spec.cell) / "model.safetensors")

    step = Trainer.train_step
    killed: list[int] = []

    def dying(self: Trainer, *arguments: Any) -> torch.Tensor:
        if self.step == 1 and not killed:
            killed.append(self.step)
            raise Killed
        return step(self, *arguments)

    whole, again = weights(), weights()
    with patch.object(steps, "SAVE_SECONDS", -1), patch.object(Trainer, "train_step", dying):
        continued = weights()
    assert killed
    differ = [sum(not torch.equal(whole[name], other[name]) for name in whole) for other in (continued, again)]
    metric = f"tensors of {len(whole)} that differ"
    return [Row("resume", metric, "count", differ[0], "two runs that nobody killed", differ[1], here())]


_meetings: list[Any] = []


def meet_at(barrier: Any) -> None:
    """Where this process waits for the others."""
    _meetings.append(barrier)


def cell_rate(met: bool) -> float:
    """The rate of a cell. With ``met``, the clock starts once the other process is ready, too."""
    return pairs_per_second(trainer_of(cell("vse")), _meetings[0].wait if met else lambda: None)


def two_cells() -> list[Row]:
    """Two cells together, next to one."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, context, meet_at, (context.Barrier(2),)) as pool:
        alone = pool.submit(cell_rate, False).result()
        both = sum(pool.map(cell_rate, (True, True)))
    return [Row("two-cells", "training steps", "pairs/s", both, "one cell alone", alone, here(), higher_is_better=True)]


def methods() -> list[Row]:
    """Which methods of ``demo`` do on this device all that a cell does; others get a row each, and a line on stderr."""
    params = open_params(load_params().model_dump() | {"experiment": "demo"})
    each = {spec.cell.method_name: spec for spec in reversed(planned(params, "demo")) if isinstance(spec, Spec)}
    chosen = list(each.values()) if torch.cuda.is_available() else [each["vse"], each["chance"]]
    rehearsal, rows = Rehearsal(), []
    for spec in chosen:
        with standing_in(StandIns(Path.cwd(), words())):
            outcome = rehearsal.of(spec).outcome
        if outcome.status != "ok":
            print(f"{spec.item}: {outcome.reason}\n{outcome.traceback}", file=sys.stderr)
            rows.append(Row("methods", f"{spec.method} {outcome.status}", "count", 1.0, "", None, here()))
    right = float(len(chosen) - len(rows))
    return [Row("methods", "ok", "count", right, "all", float(len(chosen)), here(), higher_is_better=True), *rows]


def clip() -> list[Row]:
    """ViT-B/32 at 512 pairs, or without a GPU a tiny model."""
    name = "clip-vit-b-32-bf16"
    return compare_steps(tasks()[name][0] if torch.cuda.is_available() else Task(name, "tiny-64", 64, 4, 1))


STEPS: dict[str, tuple[int, Callable[[], list[Row]]]] = {
    "clip-vit-b-32-bf16": (140, clip),
    "vse": (50, lambda: rates("vse")),
    "mtgfe": (70, lambda: rates("mtgfe")),
    "resume": (60, resume),
    "two-cells": (90, two_cells),
    "methods": (180, methods),
}
"""Seconds that a step may take on a GPU, and what it is; together less than ten minutes."""


def measured(name: str, out: Path, cpu: bool) -> None:
    """Run a step in a process and a folder of its own; it adds its rows to ``out``, and how it ended is one more."""
    if out.exists():
        kept = [[row[column] for column in COLUMNS] for row in read_csv(out) if row["case"] != name]
        write_csv(out, COLUMNS, kept)
    limit, begun = STEPS[name][0] * (10 if cpu else 1), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        for file in ("params.yaml", "requirements.lock"):
            shutil.copy(ROOT / file, folder)
        visible = "-1" if cpu else os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
        environment = surroundings(os.cpu_count() or 1, Path(folder))
        environment |= {"CUDA_VISIBLE_DEVICES": visible, "RSITR_CELLS_PER_GPU": CELLS}
        command = [sys.executable, str(Path(__file__).resolve()), "--into", str(out), name]
        # What a step starts is of its session, and ends with it.
        process = subprocess.Popen(command, cwd=folder, env=environment, start_new_session=True)
        try:
            status = process.wait(limit)
        except subprocess.TimeoutExpired:
            status = OUT_OF_TIME
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    rows = [
        Row(name, "exit status", "", float(status), "", None, here()),
        Row(name, "time", "s", time.monotonic() - begun, "limit", float(limit), here()),
    ]
    write_rows(out, rows)
    how = {0: "ok", OUT_OF_TIME: "out of time"}.get(status, f"failed with status {status}")
    print(f"{name}: {how}, {rows[1].ours:.0f} of {limit} s", flush=True)


def main() -> None:
    """Run the steps one after another."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_cases(parser, STEPS)
    parser.add_argument("--cpu", action="store_true", help="tiny models on the CPU; writes nothing")
    parser.add_argument("--into", type=Path, help=argparse.SUPPRESS)  # a step in this process
    arguments = parser.parse_args()
    if arguments.into:
        [name] = arguments.cases
        rows = STEPS[name][1]()
        write_rows(arguments.into, rows)
        print_rows(name, rows)
        return
    if not arguments.cpu and not torch.cuda.is_available():
        raise SystemExit("torch finds no GPU here, so there is nothing to measure; --cpu shows that the steps work")
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.cases or STEPS:
            measured(name, Path(folder, "gpu.csv") if arguments.cpu else RESULT, arguments.cpu)


if __name__ == "__main__":
    main()
