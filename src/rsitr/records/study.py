"""``study.json``: what the study of CLIP alone asks of a cell beyond its record, and which cells it asks."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from rsitr.records.artefact import ArtefactRecord, ArtefactSpec
from rsitr.records.cell import Spec

CLIP_ONLY = ("clip", "clip-ft", "remoteclip")
"""Methods that the study is about: one CLIP answers in both directions. It names no weights; its Fig. 4.1 has the
captions, and for RN50 the probabilities, of the notebook in RemoteCLIP's repository."""
TWO_ENCODERS = "vse"
"""The method that it is held against. As published that is Swin-T and BERT, the two that the study names."""


class StudySpec(ArtefactSpec):
    """What the study of a cell is expected to be."""

    kind: ClassVar[str] = "peder"
    FILE: ClassVar[str] = "study.json"

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
    def outputs(self) -> list[Path]:
        """The failures, and the record."""
        return [self.record_file.with_name("failures.csv"), self.record_file]

    @property
    def rests_on(self) -> dict[str, Spec]:
        """The cell, and the one that it is timed next to."""
        return {"cell": self.cell} | ({"two_encoders": self.two_encoders} if self.two_encoders else {})


class Study(ArtefactRecord):
    """Cosines from -1 to 1, everything else of ``metrics`` in percent; times in seconds."""

    USED: ClassVar[dict[str, str]] = {"cell": "weights_sha", "two_encoders": "two_encoders_sha"}
    """The first version called the weights of the cell its own."""

    experiment: str
    dataset: str
    method: str
    seed: int
    metrics: dict[str, float] = {}
    """``map_i2t``, ``map_t2i`` and their mean ``map``; with ``dup_``: identical captions and pictures count.
    ``accuracy``: of the queries of both directions, those whose first item is theirs. ``choice``: of images, how often
    the fitting one of five captions is told. ``cosine_matched``, ``cosine_unmatched``: means over pairs."""
    failures: dict[str, int] = {}
    """By direction: queries whose first item is not theirs."""
    seconds: dict[str, float] = {}
    """``inference``: from one image and one caption to their score; ``two_encoders``: of that method, side by side."""

    @classmethod
    def begun(cls, spec: StudySpec) -> Study:
        """The record before anything has come out."""
        return cls(**spec.cell.cell._asdict(), identities=spec.identities)
