"""An experiment of thousands of cells whose records are current, and what it costs to look at it.

``benchmarks/pipeline.py`` measures with this; the peer is the graph of the commit before records had identities by
content, measured on the same experiment (5,000 cells: 150 CPU seconds to plan, 51 for the tables).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml

from rsitr.datasets.splits import SplitData
from rsitr.params import load_params
from rsitr.pipeline.specs import open_params, spec_of
from rsitr.records.cell import Record, TrainReport, trained_identities
from rsitr.records.files import as_json
from rsitr.retrieval.rank_files import SplitRanks, write_ranks
from rsitr.retrieval.recall import Ranks

METHODS = ("vse", "vse++", "amfmn-soft", "scan-i2t", "galr", "swan", "hvsa", "mtfn", "scan-t2i", "lw-mcr")
DATASETS = ("scenes-a", "scenes-b")
IMAGES, CAPTIONS = 40, 5
SETTINGS = {"image_backbone": "test_resnet", "image_weights": "none", "text_encoder": "gru"}


class Cost(NamedTuple):
    """Of a command."""

    cpu: float
    """Seconds, of it and of everything that it started."""
    mib: float
    written: int
    """Files that were not there before or have another time."""


def write_experiment(folder: Path, cells: int) -> None:
    """An experiment ``big`` of so many cells in ``folder``, with records that are current; changes into the folder."""
    seeds = list(range(cells // (len(METHODS) * len(DATASETS))))
    matrix = [{"datasets": [*DATASETS], "methods": [*METHODS], "seeds": seeds}]
    big = {"title": "big", "matrix": matrix, "settings": {"all": SETTINGS}}
    params = {"experiment": "big", "experiments": {"big": big}}
    (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    os.chdir(folder)
    shutil.rmtree("results", ignore_errors=True)
    opened = open_params(load_params().model_dump())
    split = SplitData(
        [f"{number:03}.png" for number in range(IMAGES)],
        *([], [], ["a"] * (CAPTIONS * IMAGES)),
        np.repeat(np.arange(IMAGES), CAPTIONS),
        (),
    )
    random = np.random.default_rng(0)
    for cell in opened.cells("big"):
        spec = spec_of(opened, cell)
        report = TrainReport(identities=trained_identities(spec), data={"synthetic": True}, weights_sha="0" * 64)
        ranks, _, history, record = spec.scored_outputs
        record.parent.mkdir(parents=True)
        record.write_text(as_json(Record.begun(spec, report)), encoding="utf-8")
        history.write_text("epoch,loss,val_mr,learning_rate\n1,1.0,2.0,1e-3\n", encoding="utf-8")
        sides = [Ranks(random.integers(1, 50, IMAGES), random.integers(1, 30, CAPTIONS * IMAGES)) for _ in range(3)]
        write_ranks(ranks, split, SplitRanks(*sides))


def cost(folder: Path, *command: str) -> Cost:
    """Run a command in ``folder`` and measure it; its output is shown only when it fails."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(folder / "src")}
    before = _times(folder)
    # A process of its own, since a process knows the largest of all its children alone.
    measure = (
        "import resource,subprocess,sys;"
        "code=subprocess.run(sys.argv[1:],stdout=sys.stderr).returncode;"
        "use=resource.getrusage(resource.RUSAGE_CHILDREN);"
        "print(use.ru_utime+use.ru_stime,use.ru_maxrss/1024);sys.exit(code)"
    )
    result = subprocess.run(
        [sys.executable, "-c", measure, *command], cwd=folder, env=environment, capture_output=True, text=True
    )
    if result.returncode:
        sys.exit(result.stdout + result.stderr)
    cpu, mib = map(float, result.stdout.split())
    after = _times(folder)
    return Cost(cpu, mib, sum(before.get(name) != time for name, time in after.items()))


def _times(folder: Path) -> dict[str, int]:
    found = (path for path in folder.rglob("*") if path.is_file())
    # Snakemake keeps a log of every command, dry or not.
    kept = (path for path in found if not {".snakemake", "__pycache__"} & {*path.parts})
    return {str(path): path.stat().st_mtime_ns for path in kept}
