"""``two_stage.json``: what re-ranking shortlists costs and what it loses, compared with scoring everything."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from rsitr.params.ids import TwoStageId
from rsitr.records.artefact import ArtefactRecord, ArtefactSpec
from rsitr.records.cell import Spec, current_weights_sha


class TwoStageSpec(ArtefactSpec):
    """What a two-stage retrieval is expected to be."""

    kind: ClassVar[str] = "two_stage"
    FILE: ClassVar[str] = "two_stage.json"

    scorer: Spec
    filter: Spec
    shortlists: tuple[int, ...]

    @property
    def id(self) -> TwoStageId:
        """The identity of the two-stage retrieval."""
        cell = self.scorer
        return TwoStageId(cell.experiment, cell.dataset, cell.method, self.filter.method, cell.seed)

    @property
    def place(self) -> str:
        """``experiment/dataset/scorer/filter/seed``."""
        return self.id.path

    @property
    def facts(self) -> Any:
        """Those of its cells, and the lengths of the shortlists."""
        return [self.scorer.facts, self.filter.facts, list(self.shortlists)]

    @property
    def outputs(self) -> list[Path]:
        """The record alone."""
        return [self.record_file]

    @property
    def rests_on(self) -> dict[str, Spec]:
        """Both cells."""
        return {"scorer": self.scorer, "filter": self.filter}


class Seconds(BaseModel):
    """Mean time of a query."""

    model_config = ConfigDict(extra="forbid")

    i2t: float
    """Of an image."""
    t2i: float
    """Of a text."""


class Way(BaseModel):
    """A way to answer queries: recalls and median ranks as ``rank_files.metrics_of`` has them, plain and with identical
    captions and pictures as positives; and the time of a query from its encoding on."""

    model_config = ConfigDict(extra="forbid")

    metrics: dict[str, float]
    seconds: Seconds


class Point(Way):
    """Two-stage retrieval with shortlists of one length. ``seconds`` is that of both stages together."""

    k: int
    """Length of the shortlists as params.yaml has it: different captions, or images."""
    filter_seconds: Seconds
    """The filter's scores of the whole gallery, and its K best items."""
    rerank_seconds: Seconds
    """The scorer's scores of these."""


class TwoStageRecord(ArtefactRecord):
    """Shares in percent, times in seconds, memory in MiB."""

    USED: ClassVar[dict[str, str]] = {"scorer": "scorer_sha", "filter": "filter_sha"}

    experiment: str
    dataset: str
    scorer: str
    filter: str
    seed: int
    exhaustive: Way | None = None
    """The scorer alone on all pairs: recalls as the record of its cell has them, time measured next to the others."""
    filtered: Way | None = None
    """The filter alone, likewise."""
    points: list[Point] = []
    """By length of the shortlists, short ones first."""
    encode_seconds: dict[Literal["scorer", "filter"], Seconds] = {}
    """One image from its pixels, one caption from its text; not part of any other time."""
    gallery: dict[str, int] = {}
    """images, captions, texts: different captions, each of which is scored once."""
    timed: dict[str, int] = {}
    """Queries whose time was taken: i2t, t2i, and for scoring all pairs exhaustive_i2t, exhaustive_t2i."""
    data: dict[str, Any] = {}
    """As in the record of the scorer's cell."""
    seconds: dict[str, float] = {}
    """Wall time: encode (the test split by both), rank (all queries), time (the queries that are timed), total."""
    peak_memory_mib: int = 0

    @property
    def id(self) -> TwoStageId:
        """The identity of the two-stage retrieval."""
        return TwoStageId(self.experiment, self.dataset, self.scorer, self.filter, self.seed)

    @classmethod
    def begun(cls, spec: TwoStageSpec) -> TwoStageRecord:
        """The record before anything has come out, with the weights as they are now."""
        used = {name: current_weights_sha(part.cell) or "" for name, part in spec.rests_on.items()}
        return cls(**spec.id._asdict(), identities=spec.identities, used=used)
