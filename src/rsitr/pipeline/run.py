"""Computing artefacts: whichever kind, only what is not current, one process at a time for each."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from filelock import FileLock, Timeout

from rsitr.errors import RsitrError
from rsitr.params import Params
from rsitr.params.ids import CellId
from rsitr.pipeline.devices import check_gpu
from rsitr.pipeline.freshness import Present, read
from rsitr.pipeline.litter import sweep
from rsitr.pipeline.process import run_process
from rsitr.pipeline.seals import broken, known, seal_file, sealing
from rsitr.pipeline.specs import check_cell, spec_of
from rsitr.pipeline.weights import check_weights
from rsitr.progress import by_reason
from rsitr.records.artefact import ArtefactRecord, ArtefactSpec, Outcome
from rsitr.records.bundle import begun, write_bundle
from rsitr.records.cell import (
    Record,
    Spec,
    TrainReport,
    TuningSpec,
    read_report,
    trained_identities,
    write_history,
)
from rsitr.records.files import as_json, set_aside, write_csv, write_json, write_text
from rsitr.records.paths import Paths
from rsitr.records.pretraining import PretrainingRecord, PretrainingSpec
from rsitr.records.prior import PriorSpec, SceneRecord
from rsitr.records.provenance import library_versions, sha256_file
from rsitr.records.study import Study, StudySpec
from rsitr.records.tuning import TuningRecord
from rsitr.records.two_stage import TwoStageRecord, TwoStageSpec
from rsitr.records.weights import write_weights

BOTH = ("train", "evaluate")
"""The stages of a cell."""


class Result(NamedTuple):
    """How an artefact stands after ``run``."""

    outcome: Outcome
    ran: bool
    """Whether anything was computed."""
    left_out: Mapping[str, int] = MappingProxyType({})
    """How many of the images, or samples, that it might have learned from it did not use, by reason."""

    def say(self, spec: ArtefactSpec) -> str:
        """One line for a person."""
        said = self.outcome.status if self.ran else "current, not run"
        reason = f" ({self.outcome.reason})" if self.outcome.reason else ""
        left_out = f", left out: {by_reason(self.left_out)}" if self.left_out else ""
        return f"{spec.path}: {said}{reason}{left_out}"


def _spec_file(spec: ArtefactSpec) -> Path:
    return Path(".rsitr/specs", spec.item + ".json")


def write_spec(spec: ArtefactSpec) -> Path:
    """Write the specification of an artefact for the process that computes it."""
    path = _spec_file(spec)
    if not path.is_file() or path.read_bytes() != as_json(spec).encode():
        write_text(path, as_json(spec))
    return path


def run(spec: ArtefactSpec, stages: Sequence[str] = BOTH) -> Result:
    """Compute an artefact unless it is current; of a cell, the ``stages`` that are not.

    Raises ``RsitrError`` where something that it rests on has not been computed, where it needs a GPU and there is
    none, where this machine does not see weights that were fetched for it, and for an evaluation alone without a
    current checkpoint.
    """
    lock = FileLock(Path(".rsitr/locks", spec.item.replace("/", "+") + ".lock"))
    Path(lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
    try:
        held = lock.acquire(timeout=0)
    except Timeout:
        print(f"{spec.path} is being computed by another process: waiting for it", file=sys.stderr)
        held = lock.acquire()
    with held:
        _set_damaged_aside(spec)
        sweep(_written_to(spec))
        return _run_cell(spec, stages) if isinstance(spec, Spec) else _run_whole(spec)


def _written_to(spec: ArtefactSpec) -> list[Path]:
    """The folders in which a run of an artefact may leave what it was writing when it was killed."""
    own = [path.parent for path in (*spec.outputs, _spec_file(spec), seal_file(spec))]
    return [*own, Path("cache"), *([Paths.trials(spec.id)] if isinstance(spec, TuningSpec) else [])]


def _drop_state(spec: ArtefactSpec, name: str) -> None:
    """Remove what a run continued from that was killed after it had written its last file."""
    if isinstance(spec, Spec | PriorSpec | PretrainingSpec):
        spec.trained_outputs[0].with_name(name).unlink(missing_ok=True)


def _set_damaged_aside(spec: ArtefactSpec) -> None:
    for path in broken(spec):
        print(
            f"{set_aside(path)} is damaged: it is not what the last run here wrote, and is made again", file=sys.stderr
        )
    present = Present()
    if present.record(spec) is None and spec.item in present.damaged:
        print(f"{set_aside(spec.record_file)} cannot be read: it is made again", file=sys.stderr)


def _run_whole(spec: ArtefactSpec) -> Result:
    if finished(spec, Present()):
        _drop_state(spec, "resume.pt")
        return _result(spec, False)
    check_gpu(spec)
    check_weights(spec)
    _check_prerequisites(spec)
    with sealing(spec, spec.outputs):
        if killed := run_process(spec, write_spec(spec)):
            _record_kill(spec, killed)
    return _result(spec, True)


def _run_cell(spec: Spec, stages: Sequence[str]) -> Result:
    present = Present()
    train = "train" in stages and needs_training(spec, present)
    evaluate = "evaluate" in stages and (train or not finished(spec, present))
    if evaluate and "train" not in stages and needs_training(spec, present):
        # A training that ended without weights has a record, too, which says why.
        report = read_report(spec.cell)
        if report is None or report.outcome.status == "ok" or present.other_training(spec, report):
            other = present.other_checkpoint(spec)
            of = "" if other == ["checkpoint"] else f" of the present {' and '.join(other)}"
            raise RsitrError(f"{spec.path} has no checkpoint{of}: run `rsitr train {spec.path}` first")
    for stage, wanted, state in (("train", train, "resume.pt"), ("evaluate", evaluate, "scores.pt")):
        if stage in stages and not wanted:
            _drop_state(spec, state)
    needed = [stage for stage, wanted in (("train", train), ("evaluate", evaluate)) if wanted]
    if not needed:
        return _result(spec, False, stages)
    check_gpu(spec)
    check_weights(spec)
    _check_prerequisites(spec)
    with sealing(spec, [*(spec.trained_outputs if train else []), *(spec.scored_outputs if evaluate else [])]):
        killed = run_process(spec, write_spec(spec), needed)
        if killed and train and Present().other_checkpoint(spec):
            write_weights(spec.trained_outputs[0], {}, "cell", spec.place)
            report = TrainReport(outcome=killed, identities=trained_identities(spec))
            write_json(spec.trained_outputs[1], report)
            write_bundle(spec.trained_outputs[0].parent, begun(spec, report))
        if killed and evaluate:
            _record_kill(spec, killed)
    return _result(spec, True, stages)


def _result(spec: ArtefactSpec, ran: bool, stages: Sequence[str] = BOTH) -> Result:
    found = read_report(spec.cell) if isinstance(spec, Spec) and "evaluate" not in stages else read(spec)
    assert found is not None
    return Result(found.outcome, ran, _left_out(found))


def _left_out(found: TrainReport | ArtefactRecord) -> Mapping[str, int]:
    match found:
        case TrainReport() | Record():
            return dict(found.data.get("left_out", {}))
        case SceneRecord():
            return found.left_out
        case PretrainingRecord():
            return found.skipped
    return {}


def finished(spec: ArtefactSpec, present: Present) -> bool:
    """Whether an artefact ended well, and all of it is here and current."""
    record = present.record(spec)
    if record is None or record.outcome.status != "ok" or not present.current(spec):
        return False
    if isinstance(spec, PriorSpec | PretrainingSpec) and not _intact(spec.outputs[0], record.weights_sha):
        return False
    kept = spec.scored_outputs if isinstance(spec, Spec) else spec.outputs
    if isinstance(spec, Spec) and spec.top_file not in known(spec):
        kept = [path for path in kept if path != spec.top_file]
    return all(map(Path.is_file, kept))


def needs_training(spec: Spec, present: Present) -> bool:
    """Whether a cell has no current checkpoint here; a damaged one is set aside."""
    if present.other_checkpoint(spec):
        return True
    report = read_report(spec.cell)
    assert report is not None
    return not _intact(spec.trained_outputs[0], report.weights_sha)


def _intact(path: Path, sha256: str) -> bool:
    if not path.is_file():
        return False
    if sha256_file(path) == sha256:
        return True
    print(f"{set_aside(path)} is damaged: it is not the file that its record is of, and is made again", file=sys.stderr)
    return False


def _check_prerequisites(spec: ArtefactSpec) -> None:
    """Raise ``RsitrError`` unless what an artefact rests on has been computed, however that ended.

    Raises ``Damaged`` for a table that it reads and that is not what was written; weights of that sort are set aside.
    """
    from rsitr.records.parquet import read_facts, read_rows  # pyarrow, which what is current need not wait for

    for path in filter(Path.is_file, (*spec.inputs, *([spec.keywords] if isinstance(spec, Spec) else []))):
        read_facts(path)
        read_rows(path)
    for other in spec.rests_on.values():
        found = read_report(other.cell) if isinstance(spec, Spec) and isinstance(other, Spec) else read(other)
        if found is None:
            raise RsitrError(f"{spec.path} rests on {other.item}, which has not been computed: run `{other.command}`")
        if isinstance(other, TuningSpec):
            continue
        kept = read_report(other.cell) if isinstance(other, Spec) else found
        weights = other.outputs[0]
        if kept and kept.outcome.status == "ok" and weights.is_file() and not _intact(weights, kept.weights_sha):
            raise RsitrError(f"{spec.path} rests on the checkpoint of {other.item}: run `{other.command}` first")


def checkpoint_of(spec: Spec) -> TrainReport:
    """How training of a cell ended; raises ``RsitrError`` unless it was trained here by the present code and data."""
    report = read_report(spec.cell)
    if report is None:
        raise RsitrError(f"{spec.path} has not been trained: run `rsitr train {spec.path}` first")
    if changed := Present().other_training(spec, report):
        raise RsitrError(
            f"{spec.path} was trained with other {' and '.join(changed)} than the present: "
            f"run `rsitr train {spec.path}`"
        )
    return report


def trained(params: Params, cell: CellId) -> Spec:
    """The spec of a cell that was trained; raises ``RsitrError`` where it was not, or ended without weights."""
    check_cell(params, cell)
    report = read_report(cell)
    if report is None:
        raise RsitrError(f"{cell.path} has not been trained: run `rsitr train {cell.path}` first")
    if report.outcome.status != "ok":
        raise RsitrError(f"{cell.path} has no trained model: it {report.outcome.status} ({report.outcome.reason})")
    return spec_of(params, cell)


def _record_kill(spec: ArtefactSpec, outcome: Outcome) -> None:
    record: ArtefactRecord
    match spec:
        case Spec():
            from rsitr.retrieval.rank_files import write_ranks
            from rsitr.retrieval.top_files import write_top

            report = read_report(spec.cell)
            assert report is not None
            record = Record.begun(spec, report).model_copy(update={"versions": library_versions()})
            ranks_file, top_file, history_file, _ = spec.scored_outputs
            write_ranks(ranks_file, None, None)
            write_top(top_file, None, None)
            write_history(history_file, report.history)
        case PriorSpec():
            record = SceneRecord.begun(spec)
            write_weights(spec.outputs[0], {}, "prior", spec.place)
            write_csv(spec.outputs[1], ("dataset", "image", "class", "reason"), ())
        case PretrainingSpec():
            record = PretrainingRecord.begun(spec)
            write_weights(spec.outputs[0], {}, "pretraining", spec.place)
        case TuningSpec():
            record = TuningRecord.begun(spec)
        case TwoStageSpec():
            record = TwoStageRecord.begun(spec)
        case StudySpec():
            from rsitr.retrieval.failures import write_failures

            record = Study.begun(spec)
            write_failures([], spec.outputs[0])
        case _:
            raise TypeError(spec)
    write_json(spec.record_file, record.model_copy(update={"outcome": outcome}))
