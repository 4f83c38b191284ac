"""A prior as a cell uses it: whether it is there, and which weights of it the cell's model began with."""

from __future__ import annotations

from rsitr.cells import Layout, Outcome, Spec, TrainReport, read_json, write_json
from rsitr.errors import RsitrError
from rsitr.provenance import sha256_file
from rsitr.scenes.record import read_prior


def current_prior_sha(spec: Spec) -> str | None:
    """Hash of the weights of a cell's prior as its record has them; None where there is none."""
    record = read_prior(spec.prior.id) if spec.prior else None
    return record.weights_sha if record else None


def prior_failure(spec: Spec) -> Outcome | None:
    """How a cell ends whose prior ended without weights; None where it has them, or needs none.

    Raises ``RsitrError`` where the prior has not been trained, or other weights lie there than its record is of.
    """
    if spec.prior is None:
        return None
    record, weights, place = read_prior(spec.prior.id), Layout.prior_weights(spec.prior.id), spec.prior.id.path
    if record is None or not weights.is_file():
        raise RsitrError(f"the prior {place} has not been trained: run `rsitr scenes train {place}` first")
    if record.outcome.status != "ok":
        reason = f"its prior {place} is {record.outcome.status}: {record.outcome.reason}"
        return Outcome(status=record.outcome.status, reason=reason)
    if sha256_file(weights) != record.weights_sha:
        raise RsitrError(
            f"{weights} is not the file that {Layout.prior(spec.prior.id)}/scenes.json is of: run `dvc pull`, or "
            f"`rsitr scenes train {place}`"
        )
    return None


def begin_with_prior(spec: Spec) -> None:
    """Before a cell is trained: what an earlier run saved that began with other weights is not continued."""
    sha, folder = current_prior_sha(spec), Layout.checkpoint(spec.cell)
    if sha is None:
        return
    noted, state = folder / "resume.prior", folder / "resume.pt"
    if not noted.is_file() or noted.read_text(encoding="utf-8") != sha:
        state.unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    noted.write_text(sha, encoding="utf-8")


def note_prior(spec: Spec) -> None:
    """After a cell was trained: its report says which weights it began with."""
    path = Layout.checkpoint(spec.cell) / "train.json"
    if spec.prior is None or not path.is_file():
        return
    report = read_json(TrainReport, path)
    if report.outcome.status == "ok":
        noted = path.with_name("resume.prior")
        write_json(path, report.model_copy(update={"prior_sha": noted.read_text(encoding="utf-8")}))
        noted.unlink()


def check_prior(spec: Spec) -> None:
    """Before a cell is evaluated: raise ``RsitrError`` when it was trained with other weights than lie there."""
    path = Layout.checkpoint(spec.cell) / "train.json"
    if spec.prior is None or not path.is_file():
        return
    report = read_json(TrainReport, path)
    if report.outcome.status != "ok":
        return
    prior_failure(spec)
    if report.prior_sha != current_prior_sha(spec):
        raise RsitrError(
            f"{spec.cell.path} was trained with other weights of the prior {spec.prior.id.path}: "
            f"run `rsitr train {spec.cell.path}` first"
        )
