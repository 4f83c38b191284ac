"""What the pipeline costs beyond the work itself: the whole demo, a run with nothing to do, a cell, a training step.

    python benchmarks/pipeline.py                everything; the demo from nothing takes minutes
    python benchmarks/pipeline.py step-rate      one case

``demo`` and ``no-op`` run in a fresh copy of the sources and are compared with the limits that the project sets itself.
``cell-overhead`` is a cell without training (chance: read the data, rank, write the record) next to the bare import of
torch. ``parse`` is a dry run of the demo, ``graph-100``, ``graph-1000`` and ``graph-5000`` an experiment of so many
current cells. ``step-rate`` alternates the training loop with a plain one of the same model, data and optimiser,
written here.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from PIL import Image
from torchvision.transforms import v2

from graph_peer import cost, write_experiment
from rsitr.methods.base import Batch, Method, TrainingConfig
from rsitr.nn.pixels import PixelFormat
from rsitr.params import load_params
from rsitr.params.ids import CellId
from rsitr.pipeline.specs import spec_of
from rsitr.records.cell import Spec
from rsitr.stages.setup import CellData, build_method, load_data
from rsitr.stages.train import Trainer
from table import Row, add_cases, machine, print_rows, write_rows

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "results" / "benchmarks" / "pipeline.csv"
PARTS = ("Snakefile", "params.yaml", "dvc.yaml", "requirements.lock", "workflow", "src")
CELL = CellId("demo", "scenes-a", "vse", 0)
LIMITS = {"demo": 270.0, "no-op": 10.0, "cell-overhead": 2.0}
GRAPHS = {"graph-100": 100, "graph-1000": 1000, "graph-5000": 5000}
COMMANDS = {
    "plan": ("snakemake", "-n", "all"),
    "parse": ("snakemake", "--list-rules"),
    "status": ("rsitr", "status"),
    "tables": ("rsitr", "tables", "--only", "records"),
}
CPU_LIMITS = {"plan": 30.0, "tables": 60.0}
"""Of 5,000 cells, in seconds."""
MIB_LIMITS = {"tables": 600.0}
REPEATS = 3


def run(*command: str, cwd: Path) -> float:
    """Wall time of a command in seconds; its output is shown only when it fails."""
    path = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(cwd / "src")}
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    started = time.perf_counter()
    result = subprocess.run(command, cwd=cwd, env=inherited | path, capture_output=True, text=True)
    if result.returncode:
        sys.exit(result.stdout + result.stderr)
    return time.perf_counter() - started


def whole_runs(project: Path) -> list[Row]:
    """Cases ``demo`` and ``no-op``."""
    demo = run("snakemake", "--cores", "8", "all", cwd=project)
    idle = min(run("snakemake", "--cores", "8", "all", cwd=project) for _ in range(REPEATS))
    values = {"demo": demo, "no-op": idle}
    return [Row(case, "wall time", "s", value, "own limit", LIMITS[case], machine()) for case, value in values.items()]


def cell_overhead(project: Path) -> list[Row]:
    """Case ``cell-overhead``: time beyond the import of torch, of the whole ``rsitr evaluate`` of a chance cell."""
    cell = f"demo/{CELL.dataset}/chance/0"
    run("snakemake", "--cores", "2", f"checkpoints/{cell}/train.json", cwd=project)
    pairs = []
    for _ in range(REPEATS):
        shutil.rmtree(project / "results/cells" / cell, ignore_errors=True)  # a finished cell is not evaluated again
        evaluated = run("rsitr", "evaluate", cell, cwd=project)
        pairs.append((evaluated, run(sys.executable, "-c", "import torch", cwd=project)))
    beyond = min(cell for cell, _ in pairs) - min(bare for _, bare in pairs)
    return [
        Row("cell-overhead", "time beyond import torch", "s", beyond, "own limit", LIMITS["cell-overhead"], machine())
    ]


def parse(project: Path) -> list[Row]:
    """Case ``parse``: a dry run of the demo, and the files that it writes."""
    once = cost(project, "snakemake", "-n", "all")
    return [
        Row("parse", "CPU time of a dry run", "s", once.cpu, "", None, machine()),
        Row("parse", "files written by a dry run", "files", once.written, "", None, machine()),
    ]


def graph(name: str, project: Path) -> list[Row]:
    """Cases ``graph-...``: an experiment of so many current cells is planned, parsed, listed, and its tables built."""
    write_experiment(project, GRAPHS[name])
    rows = []
    for label, command in COMMANDS.items():
        found = cost(project, *command)
        limits = (CPU_LIMITS.get(label), MIB_LIMITS.get(label)) if name == "graph-5000" else (None, None)
        for metric, unit, value, limit in (
            ("CPU time", "s", found.cpu, limits[0]),
            ("memory", "MiB", found.mib, limits[1]),
        ):
            peer = "own limit" if limit else ""
            rows.append(Row(name, f"{label}: {metric}", unit, value, peer, limit, machine()))
    return rows


def step_rate(project: Path) -> list[Row]:
    """Case ``step-rate``: steps a second of the training loop and of a plain one, in turns; the best of each counts."""
    run("snakemake", "--cores", "2", "data/canonical/scenes-a/clean-official-remoteclip.parquet", cwd=project)
    os.chdir(project)
    torch.set_num_threads(1)
    spec = spec_of(load_params(), CELL)
    spec = spec.model_copy(update={"settings": spec.settings | {"epochs": 1}})
    rates = [(loop_rate(spec), plain_rate(spec)) for _ in range(REPEATS)]
    ours, plain = (max(column) for column in zip(*rates, strict=True))
    return [Row("step-rate", "rate", "steps/s", ours, "plain loop", plain, machine(), higher_is_better=True)]


def prepare(spec: Spec) -> tuple[Method, CellData]:
    """The model and what it is trained on, the same for both loops."""
    data = load_data(spec)
    return build_method(spec, data), data


def loop_rate(spec: Spec) -> float:
    """The project's loop: the steps of one epoch, without the validation that ends it."""
    method, data = prepare(spec)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(method, data, spec, "cpu", Path(folder) / "resume.pt", {})
        marks: list[float] = []
        trainer.end_epoch = lambda epoch, progress: marks.append(time.perf_counter())  # type: ignore[method-assign]
        started = time.perf_counter()
        trainer.run()
    return trainer.step / (marks[0] - started)


class Pictures(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """Decoded images, the way a script would do it."""

    def __init__(self, paths: list[Path], pixels: PixelFormat):
        self.paths = paths
        self.transform = v2.Compose(
            [
                v2.Resize(pixels.size, v2.InterpolationMode(pixels.interpolation)),
                v2.CenterCrop(pixels.size),
                v2.ToImage(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(pixels.mean, pixels.std),
            ]
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        with Image.open(self.paths[index]) as image:
            return self.transform(image.convert("RGB"))


def plain_rate(spec: Spec) -> float:
    """A plain loop: no resuming, no alarms, no seeds, no progress, no schedule."""
    method, data = prepare(spec)
    train, config = data.splits["train"], method.config
    assert isinstance(config, TrainingConfig)
    optimizer = torch.optim.Adam(method.parameters(), lr=config.learning_rate)
    order = torch.randperm(len(train.captions))
    steps = len(order) // config.batch_size
    batches = order[: steps * config.batch_size].view(steps, -1)
    image_of = torch.from_numpy(train.image_of)
    pictures = Pictures(train.paths, method.pixels)
    method.train()
    started = time.perf_counter()
    loader = torch.utils.data.DataLoader(pictures, batch_sampler=[image_of[batch].tolist() for batch in batches])
    for batch, images in zip(batches, loader, strict=True):
        tokens = method.tokenize([train.captions[index] for index in batch])
        positives = image_of[batch][:, None] == image_of[batch]
        loss = method.loss(Batch(images, tokens, image_of[batch], batch, positives, 0))
        optimizer.zero_grad()
        loss.backward()
        if config.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(method.parameters(), config.clip_norm)
        optimizer.step()
    return steps / (time.perf_counter() - started)


CASES: dict[str, Callable[[Path], list[Row]]] = {
    "demo": whole_runs,
    "parse": parse,
    "cell-overhead": cell_overhead,
    "step-rate": step_rate,
    # These write a params.yaml of their own.
    **{name: partial(graph, name) for name in GRAPHS},
}


def main() -> None:
    """Run the chosen cases in a fresh copy of the sources."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_cases(parser, CASES)
    chosen = parser.parse_args().cases or list(CASES)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        for part in PARTS:
            source = ROOT / part
            shutil.copytree(source, project / part) if source.is_dir() else shutil.copy2(source, project / part)
        for case in chosen:
            rows += CASES[case](project)
        os.chdir(ROOT)
    write_rows(RESULT, rows)
    print_rows("Pipeline", rows)


if __name__ == "__main__":
    main()
