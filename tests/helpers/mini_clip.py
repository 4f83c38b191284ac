"""A CLIP of a few thousand parameters besides open_clip's word list, and runs of it."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import torch

from rsitr.pretraining.spec import PretrainRecord, PretrainSpec
from rsitr.records.files import read_json
from rsitr.stages.resume import DIGEST

MINI = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "patch_size": 16, "width": 32, "head_width": 8, "layers": 1},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 1, "layers": 1},
}


def spec(out: str = "out", **fields: Any) -> PretrainSpec:
    """Three epochs of three steps on the shards of ``write_colours`` in ``shards``."""
    plain = {"shards": ("shards/*.tar",), "model": "mini", "epochs": 3, "batch_size": 8, "learning_rate": 1e-3}
    return PretrainSpec(**(plain | {"out": Path(out), "workers": 0} | fields))


def losses(folder: str | Path) -> list[float]:
    """Of every step."""
    with Path(folder, "loss.csv").open(newline="") as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def saved(folder: str | Path) -> dict[str, Any]:
    """What a run continues from."""
    content = Path(folder, "resume.pt").read_bytes()
    return torch.load(io.BytesIO(content[DIGEST:]), weights_only=True)


def record(folder: str | Path) -> PretrainRecord:
    """How a run has ended."""
    return read_json(PretrainRecord, Path(folder, "pretrain.json"))
