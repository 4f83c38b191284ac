"""``study.json``: what the study of CLIP alone asks of a cell beyond its record, and which cells it asks."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from rsitr.cells import Outcome, Record, read_json
from rsitr.params import CellId
from rsitr.provenance import code_sha

CLIP_ONLY = ("clip", "clip-ft")
"""Methods that the study is about: one CLIP answers in both directions."""
TWO_ENCODERS = "vse"
"""The method that it is held against. As published that is Swin-T and BERT, the two that the study names."""


class Study(BaseModel):
    """Cosines from -1 to 1, everything else of ``metrics`` in percent; times in seconds."""

    model_config = ConfigDict(extra="forbid")

    version: Literal[1] = 1
    experiment: str
    dataset: str
    method: str
    seed: int
    outcome: Outcome = Outcome()
    metrics: dict[str, float] = {}
    """``map_i2t``, ``map_t2i`` and their mean ``map``; with ``dup_``: identical captions count. ``accuracy``: of the
    queries of both directions, those whose first item is theirs. ``choice``: of images, how often the fitting one of
    five captions is told. ``cosine_matched``, ``cosine_unmatched``: means over pairs."""
    failures: dict[str, int] = {}
    """By direction: queries whose first item is not theirs."""
    seconds: dict[str, float] = {}
    """``inference``: from one image and one caption to their score; ``two_encoders``: of that method, side by side."""
    code_sha: str = ""
    data_sha: str = ""
    weights_sha: str = ""
    """Of the cell, as its record has them."""
    two_encoders_sha: str = ""
    """Hash of the weights of the cell that it was timed beside."""
    machine: dict[str, Any] = {}
    versions: dict[str, str] = {}

    def stale(self, record: Record, beside: Record | None) -> list[str]:
        """What has changed since the study was made: any of its code, weights, data, the weights it was timed beside.

        ``record`` is the cell's, ``beside`` that of the two encoders where there is one.
        """
        timed_beside = beside.weights_sha if beside and beside.outcome.status == "ok" and self.two_encoders_sha else ""
        changed = {
            "code of the study": self.code_sha != present_code(),
            "weights": self.weights_sha != record.weights_sha,
            "data": self.data_sha != record.data_sha,
            "weights of the two encoders": self.two_encoders_sha != timed_beside,
        }
        return [name for name, differs in changed.items() if differs]


def folder(cell: CellId) -> Path:
    """Folder of ``study.json`` and ``failures.csv`` of a cell."""
    return Path("results/peder", cell.path)


def read_study(cell: CellId, below: Path | None = None) -> Study | None:
    """The study of a cell, or None when there is none yet; ``below`` is another folder than ``results/peder``."""
    path = (folder(cell) if below is None else below / cell.path) / "study.json"
    return read_json(Study, path) if path.is_file() else None


def present_code() -> str:
    """Hash of the code that makes a study; that of the cell itself is in its record."""
    return code_sha(["rsitr.peder.run"])
