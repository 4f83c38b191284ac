"""Artefacts as if they had been computed, and processes that compute nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rsitr.datasets.table import read_facts, read_table
from rsitr.records.artefact import ArtefactSpec, Outcome
from rsitr.records.cell import (
    Record,
    Spec,
    TrainReport,
    TuningSpec,
    current_weights_sha,
    read_report,
    trained_identities,
)
from rsitr.records.files import write_json
from rsitr.records.parquet import write_table
from rsitr.records.pretraining import PretrainingRecord, PretrainingSpec
from rsitr.records.prior import PriorSpec, SceneRecord
from rsitr.records.provenance import sha256_file
from rsitr.records.study import Study, StudySpec
from rsitr.records.tuning import Trial, TuningRecord
from rsitr.records.two_stage import TwoStageRecord, TwoStageSpec
from rsitr.retrieval.failures import write_failures

KILLED = Outcome(status="failed", reason="killed by SIGKILL")


def fill(path: Path, content: bytes = b"") -> Path:
    """Write a file of no meaning."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def put_trained(spec: Spec, weights: bytes = b"weights", **report: Any) -> str:
    """What training leaves, by the spec and the data that is here unless said otherwise; returns the weights' hash."""
    path = fill(spec.trained_outputs[0], weights)
    used = {"teacher": spec.teacher and current_weights_sha(spec.teacher.cell)}
    for name, start in (("prior", spec.prior), ("pretraining", spec.pretraining)):
        kind = SceneRecord if name == "prior" else PretrainingRecord
        used[name] = (start and (begun := kind.read(start.record_file)) and begun.weights_sha) or None
    if spec.tuning and (tuning := TuningRecord.read(spec.tuning.record_file)):
        used["tuning"] = tuning.weights_sha
    made = TrainReport(
        identities=trained_identities(spec),
        data_sha=read_facts(spec.clean).data_sha if spec.clean.is_file() else "",
        weights_sha=sha256_file(path),
        used={name: sha for name, sha in used.items() if sha},
    )
    write_json(spec.trained_outputs[1], made.model_copy(update=report))
    for path in spec.trained_outputs[2:]:
        fill(path)
    return made.weights_sha


def put_evaluated(spec: Spec, **record: Any) -> None:
    """What evaluation leaves of a trained cell."""
    report = read_report(spec.cell)
    assert report is not None
    for path in spec.scored_outputs[:-1]:
        fill(path)
    write_json(spec.record_file, Record.begun(spec, report).model_copy(update=record))


def put_cell(spec: Spec, weights: bytes = b"weights", **record: Any) -> str:
    """All files of a cell that was trained and evaluated; ``record`` changes what its record says."""
    sha = put_trained(spec, weights)
    put_evaluated(spec, **record)
    return sha


def put_prior(spec: PriorSpec, weights: bytes = b"weights", **record: Any) -> str:
    """All files of a prior; returns the hash of its weights."""
    sha = sha256_file(fill(spec.outputs[0], weights))
    fill(spec.outputs[1])
    write_json(spec.record_file, SceneRecord.begun(spec).model_copy(update={"weights_sha": sha} | record))
    return sha


def put_pretraining(spec: PretrainingSpec, weights: bytes = b"weights", **record: Any) -> str:
    """All files of a pretraining; returns the hash of its weights."""
    sha = sha256_file(fill(spec.outputs[0], weights))
    made = PretrainingRecord.begun(spec).model_copy(update={"weights_sha": sha})
    if spec.prior and (prior := SceneRecord.read(spec.prior.record_file)):
        made.used = {"prior": prior.weights_sha}
    write_json(spec.record_file, made.model_copy(update=record))
    return sha


def put_tuning(spec: TuningSpec, best: dict[str, Any] | None = None, **record: Any) -> str:
    """The record of a tuning of one trial, by the data that is here; returns the hash of its best settings."""
    made = TuningRecord.begun(spec)
    made.trials = [Trial(number=0, settings=best or {}, merit=50.0, val_mr=50.0, merits=[50.0], steps=3)]
    made.data_sha = read_facts(spec.base.clean).data_sha if spec.base.clean.is_file() else ""
    made.conclude()
    write_json(spec.record_file, made.model_copy(update=record))
    return made.weights_sha


def put_two_stage(spec: TwoStageSpec, **record: Any) -> None:
    """The record of a two-stage retrieval by the cells as they are."""
    write_json(spec.record_file, TwoStageRecord.begun(spec).model_copy(update=record))


def put_study(spec: StudySpec) -> None:
    """The study of a cell that answers everything right."""
    write_failures([], spec.outputs[0])
    write_json(spec.record_file, Study.begun(spec))


def other_data(spec: Spec) -> None:
    """Give the clean table of a cell another hash."""
    rows, facts = read_table(spec.clean)
    write_table(rows, facts._replace(data_sha="0" * 64), spec.clean)


class Processes:
    """In place of ``run_process``: notes what was to be computed, and leaves the files of it, unless it is killed."""

    def __init__(self) -> None:
        self.ran: list[tuple[str, ...]] = []
        self.killed: Outcome | None = None
        self.weights = b"new weights"

    def __call__(self, spec: ArtefactSpec, path: Path, stages: Sequence[str] = ()) -> Outcome | None:
        self.ran.append((spec.item, *stages))
        if self.killed:
            return self.killed
        match spec:
            case Spec():
                if "train" in stages:
                    put_trained(spec, self.weights)
                if "evaluate" in stages:
                    put_evaluated(spec)
            case PriorSpec():
                put_prior(spec, self.weights)
            case PretrainingSpec():
                put_pretraining(spec, self.weights)
            case TuningSpec():
                put_tuning(spec)
            case TwoStageSpec():
                put_two_stage(spec)
            case StudySpec():
                put_study(spec)
        return None
