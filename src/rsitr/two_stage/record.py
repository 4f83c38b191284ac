"""``two_stage.json``: what re-ranking shortlists costs and what it loses, beside scoring everything."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from rsitr.cells import Layout, Outcome, Spec, current_weights_sha, read_json
from rsitr.params import TwoStageId
from rsitr.provenance import sha256_json


class TwoStageSpec(BaseModel):
    """What a two-stage retrieval is expected to be: for its rule and record what ``Spec`` is for those of a cell."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scorer: Spec
    filter: Spec
    shortlists: tuple[int, ...]
    code_sha: str
    """Of the code that runs for it; how its cells were trained shows in their weights."""

    @property
    def id(self) -> TwoStageId:
        """The identity of the two-stage retrieval."""
        cell = self.scorer
        return TwoStageId(cell.experiment, cell.dataset, cell.method, self.filter.method, cell.seed)

    @property
    def path(self) -> str:
        """What messages call it."""
        return f"two_stage/{self.id.path}"

    @property
    def threads(self) -> int:
        """Most threads that it may use."""
        return self.scorer.threads

    @property
    def params_sha(self) -> str:
        """Hash of everything that params.yaml says about it and its cells."""
        return sha256_json([self.scorer.params_sha, self.filter.params_sha, list(self.shortlists)])


class Seconds(BaseModel):
    """Mean time of a query."""

    model_config = ConfigDict(extra="forbid")

    i2t: float
    """Of an image."""
    t2i: float
    """Of a text."""


class Way(BaseModel):
    """A way to answer queries: recalls i2t_r1 ... mr in percent, and the time of a query from its encoding on."""

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


class TwoStageRecord(BaseModel):
    """Shares in percent, times in seconds, memory in MiB."""

    model_config = ConfigDict(extra="forbid")

    version: Literal[1] = 1
    experiment: str
    dataset: str
    scorer: str
    filter: str
    seed: int
    outcome: Outcome = Outcome()
    exhaustive: Way | None = None
    """The scorer alone on all pairs: recalls as the record of its cell has them, time measured beside the others."""
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
    params_sha: str
    code_sha: str
    data_sha: str = ""
    scorer_sha: str = ""
    """SHA-256 of the weights of the scorer."""
    filter_sha: str = ""
    """Of the filter."""
    machine: dict[str, Any] = {}
    versions: dict[str, str] = {}
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
        scorer_sha, filter_sha = (current_weights_sha(cell) or "" for cell in spec.id.cells)
        return cls(
            **spec.id._asdict(),
            params_sha=spec.params_sha,
            code_sha=spec.code_sha,
            scorer_sha=scorer_sha,
            filter_sha=filter_sha,
        )

    def stale(
        self, spec: TwoStageSpec, data_sha: str | None, scorer_sha: str | None, filter_sha: str | None
    ) -> list[str]:
        """What has changed since: any of code, parameters, data, scorer, filter, as ``Record.stale``.

        Hashes of the data and of the weights as they are now are None where they are not at hand, and not judged.
        """
        changed = {
            "code": self.code_sha != spec.code_sha,
            "parameters": self.params_sha != spec.params_sha,
            "data": bool(data_sha and self.data_sha and self.data_sha != data_sha),
            "scorer": bool(scorer_sha and self.scorer_sha != scorer_sha),
            "filter": bool(filter_sha and self.filter_sha != filter_sha),
        }
        return [name for name, differs in changed.items() if differs]


def read_two_stage(wanted: TwoStageId) -> TwoStageRecord | None:
    """The record of a two-stage retrieval, or None when there is none yet."""
    path = Layout.two_stage(wanted)
    return read_json(TwoStageRecord, path) if path.is_file() else None
