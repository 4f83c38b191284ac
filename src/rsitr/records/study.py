"""``study.json``: what the study of CLIP alone asks of a cell beyond its record, and which cells it asks."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from pydantic import model_validator

from rsitr.params import CellId
from rsitr.records.artefact import ArtefactRecord, ArtefactSpec
from rsitr.records.cell import Spec
from rsitr.records.files import read_json

CLIP_ONLY = ("clip", "clip-ft")
"""Methods that the study is about: one CLIP answers in both directions."""
TWO_ENCODERS = "vse"
"""The method that it is held against. As published that is Swin-T and BERT, the two that the study names."""


class StudySpec(ArtefactSpec):
    """What the study of a cell is expected to be."""

    kind: ClassVar[str] = "peder"

    cell: Spec
    two_encoders: Spec | None = None
    """The cell that it is timed next to."""

    @property
    def place(self) -> str:
        """That of the cell."""
        return self.cell.place

    @property
    def facts(self) -> Any:
        """Those of the cells."""
        return [self.cell.facts, self.two_encoders.facts if self.two_encoders else None]

    @property
    def draws(self) -> int:
        """The seed of the cells."""
        return self.cell.seed

    @property
    def record_file(self) -> Path:
        """``study.json``."""
        return folder(self.cell.cell) / "study.json"

    @property
    def outputs(self) -> list[Path]:
        """The failures, and the record."""
        return [folder(self.cell.cell) / "failures.csv", self.record_file]

    @property
    def inputs(self) -> list[Path]:
        """The clean table."""
        return self.cell.inputs

    @property
    def rests_on(self) -> dict[str, Spec]:
        """The cell, and the one that it is timed next to."""
        return {"cell": self.cell} | ({"two_encoders": self.two_encoders} if self.two_encoders else {})


class Study(ArtefactRecord):
    """Cosines from -1 to 1, everything else of ``metrics`` in percent; times in seconds."""

    USED: ClassVar[tuple[str, ...]] = ("cell", "two_encoders")

    experiment: str
    dataset: str
    method: str
    seed: int
    metrics: dict[str, float] = {}
    """``map_i2t``, ``map_t2i`` and their mean ``map``; with ``dup_``: identical captions count. ``accuracy``: of the
    queries of both directions, those whose first item is theirs. ``choice``: of images, how often the fitting one of
    five captions is told. ``cosine_matched``, ``cosine_unmatched``: means over pairs."""
    failures: dict[str, int] = {}
    """By direction: queries whose first item is not theirs."""
    seconds: dict[str, float] = {}
    """``inference``: from one image and one caption to their score; ``two_encoders``: of that method, side by side."""

    @model_validator(mode="before")
    @classmethod
    def _weights_of_the_cell(cls, raw: Any) -> Any:
        """The first version called them its own."""
        if not isinstance(raw, dict) or raw.get("version", 2) != 1:
            return raw
        raw = dict(raw)
        raw["cell_sha"] = raw.pop("weights_sha", "")
        return raw

    @classmethod
    def begun(cls, spec: StudySpec) -> Study:
        """The record before anything has come out."""
        return cls(**spec.cell.cell._asdict(), identities=spec.identities)


def folder(cell: CellId) -> Path:
    """Folder of ``study.json`` and ``failures.csv`` of a cell."""
    return Path("results/peder", cell.path)


def read_study(cell: CellId) -> Study | None:
    """The study of a cell, or None when there is none yet."""
    path = folder(cell) / "study.json"
    return read_json(Study, path) if path.is_file() else None
