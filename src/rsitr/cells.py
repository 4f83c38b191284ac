"""The record of a cell: what was run, what came out of it, and whether it still describes the present code and data."""

from __future__ import annotations

import json
import os
import traceback
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

from rsitr.errors import RecordError, RsitrError, Unsupported, WeightsUnavailable
from rsitr.params import SCENES, CellId, Prior, PriorId, TwoStageId
from rsitr.provenance import sha256_json

TRACEBACK_LINES = 15
J = TypeVar("J", bound=BaseModel)


class PriorSpec(BaseModel):
    """What a prior is expected to be: for its rule and its record what ``Spec`` is for those of a cell."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    experiment: str
    name: str
    prior: Prior
    """What params.yaml says of it, defaults included."""
    threads: int
    code_sha: str

    @property
    def id(self) -> PriorId:
        """The identity of the prior."""
        return PriorId(self.experiment, self.name)

    @property
    def path(self) -> str:
        """What messages call it."""
        return f"{SCENES}/{self.id.path}"

    @property
    def params_sha(self) -> str:
        """Hash of everything that params.yaml says about this prior."""
        return sha256_json(self.prior.model_dump(mode="json"))


class Spec(BaseModel):
    """What a cell is expected to be: written before the run, read by it, compared with its record ever after.

    The spec is an input file of the cell's rules and holds every parameter, so a change of parameters or code is a
    change of this file.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    experiment: str
    dataset: str
    method: str
    seed: int
    settings: dict[str, Any]
    """What params.yaml sets of the method's configuration."""
    dedup: str
    threads: int
    code_sha: str
    """Of the code that runs for this cell; its teacher's is part of it."""
    teacher: Spec | None = None
    """What the cell is expected to be whose scores this one learns from."""
    prior: PriorSpec | None = None
    """What the scene classifier is expected to be whose backbone this cell takes."""

    @property
    def cell(self) -> CellId:
        """The identity of the cell."""
        return CellId(self.experiment, self.dataset, self.method, self.seed)

    @property
    def path(self) -> str:
        """What messages call it."""
        return self.cell.path

    @property
    def clean(self) -> Path:
        """The cleaned view that the cell reads."""
        return Layout.clean(self.dataset, self.dedup)

    @property
    def similarity(self) -> Path:
        """Folder of how alike its training captions are."""
        return Layout.similarity(self.dataset, self.dedup)

    @property
    def keywords(self) -> Path:
        """The keywords of its images."""
        return Layout.keywords(self.dataset)

    @property
    def params_sha(self) -> str:
        """Hash of everything that params.yaml says about this cell, and of the identity of what it learns from.

        That is its teacher with what params.yaml says of it, and its prior with that and its code.
        """
        taught_by = [self.teacher.method, self.teacher.params_sha] if self.teacher else []
        begun_with = [self.prior.params_sha, self.prior.code_sha] if self.prior else []
        return sha256_json([self.settings, self.dedup, self.seed, *taught_by, *begun_with])


class Outcome(BaseModel):
    """How a stage of a cell ended."""

    model_config = ConfigDict(extra="forbid")

    status: Literal["ok", "skipped", "failed"] = "ok"
    reason: str = ""
    traceback: str = ""

    @classmethod
    def of(cls, error: Exception) -> Outcome:
        """Outcome of a stage that raised ``error``: skipped where something is not to be had here, else failed.

        A failed one carries the end of its traceback.
        """
        if isinstance(error, Unsupported | WeightsUnavailable):
            return cls(status="skipped", reason=str(error))
        lines = "".join(traceback.format_exception(error)).splitlines()
        # Lines of the traceback name files by path; the part before the package says nothing about the failure.
        tail = [line.replace(str(Path(__file__).parents[1]) + os.sep, "") for line in lines[-TRACEBACK_LINES:]]
        reason = str(error) if isinstance(error, RsitrError) else f"{type(error).__name__}: {error}"
        return cls(status="failed", reason=reason, traceback="\n".join(tail))


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
    learning_rate: float
    image_cosine: float
    """Mean cosine of different images: 1 means that all have one embedding."""


class TrainReport(BaseModel):
    """``train.json``: how training ended, and what of it belongs in the record."""

    model_config = ConfigDict(extra="forbid")

    outcome: Outcome = Outcome()
    selection: dict[str, Any] = {}
    config: dict[str, Any] = {}
    published: Published | None = None
    deviations: list[str] = []
    data: dict[str, Any] = {}
    data_sha: str = ""
    weights_sha: str = ""
    teacher_sha: str = ""
    prior_sha: str = ""
    machine: dict[str, Any] = {}
    seconds: dict[str, float] = {}
    peak_memory_mib: dict[str, int] = {}
    parameters: dict[str, int] = {}
    history: list[Epoch] = []


class Record(BaseModel):
    """``cell.json``. Shares in percent, times in seconds, memory in MiB."""

    model_config = ConfigDict(extra="forbid")

    version: Literal[1] = 1
    experiment: str
    dataset: str
    method: str
    seed: int
    outcome: Outcome
    metrics: dict[str, float] = {}
    """i2t_r1 ... mr, i2t_medr; ``dup_``: identical captions count; ``rr_``: after re-ranking; ``ceiling_``: the best
    possible."""
    selection: dict[str, Any] = {}
    """Which epoch was chosen, on which split, with which mean recall."""
    config: dict[str, Any] = {}
    """The configuration in full, defaults included."""
    published: Published | None = None
    deviations: list[str] = []
    """Where the configuration differs from the published one; empty means comparable."""
    data: dict[str, Any] = {}
    """Origin, licence, synthetic, and the number of images and captions by split."""
    params_sha: str
    code_sha: str
    data_sha: str = ""
    weights_sha: str = ""
    """SHA-256 of ``model.safetensors``."""
    teacher_sha: str = ""
    """``weights_sha`` of the teacher that the cell learned from."""
    prior_sha: str = ""
    """SHA-256 of the weights of the prior, the scene classifier that a part of the cell's model began as."""
    machine: dict[str, Any] = {}
    versions: dict[str, str] = {}
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

    def stale(
        self,
        spec: Spec,
        current_data_sha: str | None,
        current_teacher_sha: str | None = None,
        current_prior_sha: str | None = None,
    ) -> list[str]:
        """What has changed since the record was made: any of code, parameters, data, teacher, prior.

        ``current_data_sha`` is None where the data is not at hand (a clone without data); it is then not judged. So are
        the teacher and the prior where there is none, or nothing is known of its weights.
        """
        changed = {
            "code": self.code_sha != spec.code_sha,
            "parameters": self.params_sha != spec.params_sha,
            # A record that failed before it read the data has no data hash to compare.
            "data": bool(current_data_sha and self.data_sha and self.data_sha != current_data_sha),
            "teacher": bool(current_teacher_sha and self.teacher_sha and self.teacher_sha != current_teacher_sha),
            "prior": bool(current_prior_sha and self.prior_sha and self.prior_sha != current_prior_sha),
        }
        return [name for name, differs in changed.items() if differs]


def write_json(path: Path, value: BaseModel | dict[str, Any]) -> None:
    """Write JSON atomically: a killed process leaves the old file or the new one, never half of one."""
    plain = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    partial.write_text(json.dumps(plain, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    os.replace(partial, path)


def read_json(model: type[J], path: Path) -> J:
    """Read what ``write_json`` wrote; raises ``RecordError`` for a file that is damaged or of another version."""
    try:
        return model.model_validate_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        what = str(error).splitlines()[0]
        raise RecordError(f"{path} cannot be read ({what}): delete it, or restore it from git, and run again") from None


def read_spec(path: Path) -> Spec:
    """Read the spec of a cell."""
    return read_json(Spec, path)


def read_record(path: Path) -> Record | None:
    """Read a record, or None when there is none yet."""
    return read_json(Record, path) if path.is_file() else None


def current_weights_sha(cell: CellId) -> str | None:
    """Hash of the weights of a cell as they lie here, or as its record has them; None where neither says."""
    path = Layout.checkpoint(cell) / "train.json"
    if path.is_file():
        return read_json(TrainReport, path).weights_sha
    record = read_record(Layout.cell(cell) / "cell.json")
    return record.weights_sha if record else None


class Layout:
    """Where the files of cells and datasets lie, relative to the project's folder."""

    @staticmethod
    def spec(cell: CellId) -> Path:
        """What the cell is expected to be."""
        return Path(".rsitr/specs", cell.path + ".json")

    @staticmethod
    def checkpoint(cell: CellId) -> Path:
        """Folder of ``model.safetensors``, ``train.json``, ``spec.json`` and, while training, ``resume.pt``."""
        return Path("checkpoints", cell.path)

    @staticmethod
    def origin(cell: CellId) -> Path:
        """The spec that the checkpoint was trained by."""
        return Layout.checkpoint(cell) / "spec.json"

    @staticmethod
    def cell(cell: CellId) -> Path:
        """Folder of ``cell.json``, ``ranks.parquet`` and ``history.csv``."""
        return Path("results/cells", cell.path)

    @staticmethod
    def prior_spec(prior: PriorId) -> Path:
        """What the prior is expected to be."""
        return Path(".rsitr/specs", SCENES, prior.path + ".json")

    @staticmethod
    def prior_weights(prior: PriorId) -> Path:
        """The backbone of a scene classifier; while it is trained, ``resume.pt`` lies beside it."""
        return Path("checkpoints", SCENES, prior.path, "model.safetensors")

    @staticmethod
    def prior(prior: PriorId) -> Path:
        """Folder of ``scenes.json`` and ``left_out.csv``."""
        return Path("results", SCENES, prior.path)

    @staticmethod
    def two_stage_spec(wanted: TwoStageId) -> Path:
        """What the two-stage retrieval is expected to be."""
        return Path(".rsitr/specs/two_stage", wanted.path + ".json")

    @staticmethod
    def two_stage(wanted: TwoStageId) -> Path:
        """The record of a two-stage retrieval."""
        return Path("results/two_stage", wanted.path, "two_stage.json")

    @staticmethod
    def raw(name: str) -> Path:
        """Folder of the fetched files and the receipt ``source.json``."""
        return Path("data/raw", name)

    @staticmethod
    def extracted(name: str) -> Path:
        """Folder of the extracted files."""
        return Path("data/extracted", name)

    @staticmethod
    def tables(experiment: str) -> Path:
        """Folder of an experiment's tables and figures."""
        return Path("results/tables", experiment)

    @staticmethod
    def overlaps(experiment: str) -> Path:
        """Of each dataset, how many test images are nearly in what the experiment trains on."""
        return Path("results/tables", experiment, "leakage.training.csv")

    @staticmethod
    def dataset(name: str) -> Path:
        """The canonical table."""
        return Path("data/canonical", name, "dataset.parquet")

    @staticmethod
    def clean(name: str, dedup: str) -> Path:
        """The cleaned view under a de-duplication protocol."""
        return Path("data/canonical", name, f"clean-{dedup}.parquet")

    @staticmethod
    def similarity(name: str, dedup: str) -> Path:
        """Folder of how alike the training captions of a clean table are: ``<measure>.npy``."""
        return Path("data/similarity", name, dedup)

    @staticmethod
    def keywords(name: str) -> Path:
        """Keywords of every image."""
        return Path("data/keywords", f"{name}.parquet")

    @staticmethod
    def thumbnails(name: str) -> Path:
        """Every image of a dataset at a small size."""
        return Path("data/thumbnails", f"{name}.parquet")

    @staticmethod
    def copies(first: str, second: str) -> Path:
        """Pairs of near duplicates between two datasets, or inside one; the names come in alphabetical order."""
        return Path("data/copies", min(first, second), max(first, second) + ".parquet")

    @staticmethod
    def copies_shard(first: str, second: str, shard: int, shards: int) -> Path:
        """One shard of the pairs between two datasets."""
        return Path("data/copies", min(first, second), max(first, second), f"{shard}-of-{shards}.parquet")

    @staticmethod
    def joint(protocol: str, rule: str) -> Path:
        """The training set of a joint protocol after de-duplication by a rule."""
        return Path("data/joint", f"{protocol}-{rule}.parquet")
