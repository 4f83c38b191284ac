"""The cell: a method trained and evaluated on a dataset with a seed. Its specification, training report and record.

The specification of a tuning is here, too: a cell may rest on a tuning, and a tuning on the cell of a teacher.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from rsitr.params.ids import MAIN, OFFICIAL, CellId, CleanId, TuningId
from rsitr.params.tuning import Space
from rsitr.records.artefact import PARAMETERS, ArtefactRecord, ArtefactSpec, Outcome, Pretrained
from rsitr.records.files import read_json, write_csv
from rsitr.records.paths import Paths
from rsitr.records.pretraining import PretrainingSpec
from rsitr.records.prior import PriorSpec

TRAINED, SCORED = "trained", "scored"
"""The parts of a cell's code: what an edit of evaluation touches asks for no training."""
TRAINED_FILES = ("model.safetensors", "train.json", "bundle.json", "README.md")
"""Of a checkpoint: weights, how training ended, and what a user of the model needs (``rsitr.records.bundle``)."""
UNCLAIMED = "the method names no published row for this configuration"


class Spec(ArtefactSpec):
    """What a cell is expected to be: written before the run, read by it, compared with its record ever after."""

    kind: ClassVar[str] = "cells"
    FILE: ClassVar[str] = "cell.json"

    experiment: str
    dataset: str
    method: str
    seed: int
    settings: dict[str, Any]
    """What params.yaml sets of the method's configuration."""
    dedup: str
    split_protocol: str = OFFICIAL
    query: str = "sentence"
    """What a text query is (``rsitr.captions.queries``)."""
    role: str = MAIN
    """What the cell is there for (``rsitr.params.ids.Role``), which no number depends on."""
    packages: dict[str, str] = {}
    """Version of each package whose weights the settings name."""
    teacher: Spec | None = None
    """The cell whose scores this one learns from."""
    prior: PriorSpec | None = None
    """The scene classifier whose backbone this cell takes."""
    pretraining: PretrainingSpec | None = None
    """The CLIP that this cell starts from."""
    tuning: TuningSpec | None = None
    """The tuning whose best settings this cell takes."""
    own: tuple[str, ...] = ()
    """Settings that its tuning leaves alone: those that its variant states itself."""

    @property
    def cell(self) -> CellId:
        """The identity of the cell."""
        return CellId(self.experiment, self.dataset, self.method, self.seed)

    @property
    def place(self) -> str:
        """``experiment/dataset/method/seed``."""
        return self.cell.path

    @property
    def path(self) -> str:
        """What messages call it."""
        return self.place

    @property
    def clean_id(self) -> CleanId:
        """The identity of the clean table that the cell reads."""
        return CleanId(self.dataset, self.split_protocol, self.dedup)

    @property
    def clean(self) -> Path:
        """The clean table that the cell reads."""
        return Paths.clean(self.clean_id)

    @property
    def similarity(self) -> Path:
        """Folder of how similar its training captions are."""
        return Paths.similarity(self.clean_id)

    @property
    def keywords(self) -> Path:
        """The keywords of its images."""
        return Paths.keywords(self.dataset)

    @property
    def facts(self) -> Any:
        """Its settings, and those of what it rests on."""
        return [
            self.method,
            self.settings,
            self.split_protocol,
            self.dedup,
            self.threads,
            self.packages,
            self.teacher.facts if self.teacher else None,
            self.prior.facts if self.prior else None,
            self.pretraining.facts if self.pretraining else None,
            *([self.tuning.facts, [*self.own]] if self.tuning else []),
        ]

    @property
    def draws(self) -> int:
        """The seed."""
        return self.seed

    @property
    def trained_outputs(self) -> list[Path]:
        """The files that training writes."""
        return [Paths.checkpoint(self.cell) / name for name in TRAINED_FILES]

    @property
    def scored_outputs(self) -> list[Path]:
        """The files that evaluation writes."""
        names = ("ranks.parquet", "top.parquet", "history.csv", "cell.json")
        return [Paths.cell(self.cell) / name for name in names]

    @property
    def top_file(self) -> Path:
        """The one of them that a finished cell may lack: git has that of seed 0 alone."""
        return self.scored_outputs[1]

    @property
    def outputs(self) -> list[Path]:
        """Those of training, then those of evaluation."""
        return [*self.trained_outputs, *self.scored_outputs]

    @property
    def inputs(self) -> list[Path]:
        """The clean table."""
        return [self.clean]

    @property
    def rests_on(self) -> dict[str, ArtefactSpec]:
        """The teacher, the prior, the pretraining and the tuning, where there are any."""
        found: dict[str, ArtefactSpec | None] = {
            "teacher": self.teacher,
            "prior": self.prior,
            "pretraining": self.pretraining,
            "tuning": self.tuning,
        }
        return {name: spec for name, spec in found.items() if spec}


class TuningSpec(ArtefactSpec):
    """What a tuning is expected to be: a search for the settings of a method on a dataset, judged on val."""

    kind: ClassVar[str] = "tuning"
    FILE: ClassVar[str] = "tuning.json"

    base: Spec
    """A cell with the settings as given and the seed of the tuning: what is trained in every trial."""
    space: Space
    trials: int
    max_steps: int
    """Of a trial, the last epoch whole."""

    @property
    def id(self) -> TuningId:
        """Its identity."""
        return TuningId(self.base.experiment, self.base.dataset, self.base.method)

    @property
    def place(self) -> str:
        """``experiment/dataset/method``."""
        return self.id.path

    @property
    def seedless(self) -> str:
        """The same."""
        return self.place

    @property
    def command(self) -> str:
        """What computes it."""
        return f"rsitr tune {self.place}"

    @property
    def facts(self) -> Any:
        """The settings as given, and how others are searched for."""
        space = {name: domain.model_dump(mode="json") for name, domain in sorted(self.space.items())}
        return [self.base.facts, space, self.trials, self.max_steps]

    @property
    def draws(self) -> int:
        """The seed."""
        return self.base.seed

    @property
    def outputs(self) -> list[Path]:
        """The record."""
        return [self.record_file]

    @property
    def inputs(self) -> list[Path]:
        """The clean table."""
        return self.base.inputs

    @property
    def rests_on(self) -> dict[str, ArtefactSpec]:
        """What its cell rests on."""
        return self.base.rests_on


Spec.model_rebuild()


class Published(BaseModel):
    """The published row that a configuration stands for: keys into published.csv."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    paper: str
    table: str
    method: str
    variant: str = ""
    backbone: str = ""


class Epoch(BaseModel):
    """One line of the training history."""

    epoch: int
    loss: float
    val_mr: float
    """Mean recall in percent on the split that selects."""
    val_dup_mr: float | None = None
    """The same with identical captions and pictures counted; None in a history written before it was taken."""
    learning_rate: float
    image_cosine: float
    """Mean cosine of different images: 1 means that all have one embedding."""
    text_cosine: float | None = None
    """The same of different captions; None in a history written before it was taken."""
    tasks: dict[str, float] = {}
    """The parts of ``loss`` by task; empty for a method with one, and in a history written before."""

    @property
    def merit(self) -> float:
        """The mean recall that epochs are compared by."""
        return self.val_mr if self.val_dup_mr is None else self.val_dup_mr


class TrainReport(BaseModel):
    """``train.json``: how training ended, by which code and from what, and what of it belongs in the record."""

    model_config = ConfigDict(extra="forbid")

    outcome: Outcome = Outcome()
    identities: dict[str, str] = {}
    """Parameters and training code of the spec that it was trained by."""
    selection: dict[str, Any] = {}
    config: dict[str, Any] = {}
    published: Published | None = None
    deviations: list[str] = []
    data: dict[str, Any] = {}
    data_sha: str = ""
    weights_sha: str = ""
    used: dict[str, str] = {}
    """SHA-256 of the weights of the teacher, the prior and the pretraining, and of the tuned settings."""
    pretrained: dict[str, Pretrained] = {}
    """The pretrained weights that it has started from, by the setting that names them."""
    machine: dict[str, Any] = {}
    seconds: dict[str, float] = {}
    peak_memory_mib: dict[str, int] = {}
    parameters: dict[str, int] = {}
    history: list[Epoch] = []


class Record(ArtefactRecord):
    """``cell.json``. Shares in percent, times in seconds, memory in MiB. Its recalls are in ``ranks.parquet``."""

    PARTS: ClassVar[tuple[str, ...]] = (TRAINED, SCORED)
    USED: ClassVar[dict[str, str]] = {"teacher": "teacher_sha", "prior": "prior_sha"}

    experiment: str
    dataset: str
    method: str
    seed: int
    role: str = ""
    """That in which it was computed. Tables have the present one, from params.yaml."""
    metrics: dict[str, float] = {}
    """``ceiling_i2t_r1`` ... ``ceiling_mr``: the best recalls that identical captions and pictures leave possible.
    Records of version 1 state all other metrics, too."""
    selection: dict[str, Any] = {}
    """Which epoch was chosen, on which split, with which mean recalls: ``mr``, and ``dup_mr`` that decided; how many
    epochs and steps training had, and how it ``ended`` (``rsitr.stages.course``)."""
    config: dict[str, Any] = {}
    """The configuration in full, defaults included."""
    published: Published | None = None
    deviations: list[str] = []
    """Where the configuration differs from the published one; empty means comparable."""
    data: dict[str, Any] = {}
    """Origin, licence, synthetic, and the number of images and captions by split."""
    seconds: dict[str, float] = {}
    """Wall time by stage: features (the frozen backbone's pass), teacher (its pass over the training split), train,
    evaluate. Of the last also its parts: encode (every image and caption once), score (all pairs), and inference (one
    image and one caption, from pixels on)."""
    peak_memory_mib: dict[str, int] = {}
    parameters: dict[str, int] = {}
    """total and trainable."""

    @property
    def cell(self) -> CellId:
        """The identity of the cell."""
        return CellId(self.experiment, self.dataset, self.method, self.seed)

    @classmethod
    def begun(cls, spec: Spec, report: TrainReport) -> Record:
        """The record of a cell that was trained, before it is evaluated."""
        trained = report.model_dump(exclude={"history", "outcome", "identities"})
        scored = {SCORED: spec.code[SCORED]}
        identities = report.identities | scored
        return cls(**spec.cell._asdict(), role=spec.role, outcome=report.outcome, identities=identities, **trained)


def trained_identities(spec: Spec) -> dict[str, str]:
    """What a checkpoint is identified by: parameters and training code."""
    return {part: sha for part, sha in spec.identities.items() if part in (PARAMETERS, TRAINED)}


def read_report(cell: CellId) -> TrainReport | None:
    """How training of a cell ended, or None where it was not trained here."""
    path = Paths.checkpoint(cell) / "train.json"
    return read_json(TrainReport, path) if path.is_file() else None


def current_weights_sha(cell: CellId) -> str | None:
    """Hash of the weights of a cell as they are here, or as its record has them; None where neither says."""
    found = read_report(cell) or Record.read(Paths.cell(cell) / "cell.json")
    return found.weights_sha if found else None


def write_history(path: Path, history: Sequence[Epoch]) -> None:
    """Loss and both validation mR of every epoch, and the loss of every task in a column of its own."""
    tasks = list(dict.fromkeys(name for epoch in history for name in epoch.tasks))
    rows = []
    for e in history:
        parts = [f"{e.tasks[name]:.5f}" if name in e.tasks else "" for name in tasks]
        dup_mr = "" if e.val_dup_mr is None else f"{e.val_dup_mr:.4f}"
        rows.append((str(e.epoch), f"{e.loss:.5f}", f"{e.val_mr:.4f}", dup_mr, f"{e.learning_rate:.3e}", *parts))
    write_csv(path, ("epoch", "loss", "val_mr", "val_dup_mr", "learning_rate", *tasks), rows)
