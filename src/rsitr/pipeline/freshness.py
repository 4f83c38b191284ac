"""Whether a record still describes the present: parameters, code, data, and what it rests on."""

from __future__ import annotations

from pathlib import Path

from rsitr.errors import Damaged, DatasetError, RecordError, Unsupported
from rsitr.records.artefact import PARAMETERS, ArtefactRecord, ArtefactSpec
from rsitr.records.cell import (
    SCORED,
    TRAINED,
    Record,
    Spec,
    TrainReport,
    TuningSpec,
    current_weights_sha,
    read_report,
    trained_identities,
)
from rsitr.records.certificates import Ledger
from rsitr.records.pretraining import PretrainingRecord, PretrainingSpec
from rsitr.records.prior import PriorSpec, SceneRecord
from rsitr.records.study import Study, StudySpec
from rsitr.records.tuning import TuningRecord
from rsitr.records.two_stage import TwoStageRecord, TwoStageSpec

RECORDS: dict[str, type[ArtefactRecord]] = {
    **{Spec.kind: Record, PriorSpec.kind: SceneRecord, PretrainingSpec.kind: PretrainingRecord},
    **{TuningSpec.kind: TuningRecord, TwoStageSpec.kind: TwoStageRecord, StudySpec.kind: Study},
}
NAMES = {TRAINED: "code", SCORED: "code of evaluation"}
"""What messages call the parts of an identity."""


def read(spec: ArtefactSpec) -> ArtefactRecord | None:
    """The record of an artefact, or None when there is none yet."""
    return RECORDS[spec.kind].read(spec.record_file)


class Present:
    """The present that records are held against. All is read once: make a new one after something has changed."""

    def __init__(self, ledger: Ledger | None = None):
        self.ledger = Ledger.read() if ledger is None else ledger
        self._records: dict[str, ArtefactRecord | None] = {}
        self.damaged: dict[str, str] = {}
        """Artefacts whose records cannot be read, which counts as if there were none -> what is wrong with them."""
        self._data: dict[Path | str, str | None] = {}
        self._stale: dict[str, list[str]] = {}

    def record(self, spec: ArtefactSpec) -> ArtefactRecord | None:
        """The record of an artefact, or None when there is none yet."""
        if spec.item not in self._records:
            try:
                self._records[spec.item] = read(spec)
            except RecordError as error:
                self._records[spec.item], self.damaged[spec.item] = None, str(error)
        return self._records[spec.item]

    def data_sha(self, spec: ArtefactSpec) -> str | None:
        """Hash of the data of an artefact as it is here, or None where it has not been built."""
        key: Path | str
        match spec:
            case Spec():
                key = spec.clean
            case TuningSpec():
                key = spec.base.clean
            case PretrainingSpec():
                if not spec.inputs:  # shards as they were fetched, which nothing here changes
                    return None
                (key,) = spec.inputs
            case PriorSpec():
                key = spec.item
            case _:  # it rests on cells of one dataset
                return self.data_sha(next(iter(spec.rests_on.values())))
        if key not in self._data:
            self._data[key] = _selected(spec) if isinstance(spec, PriorSpec) else _table_sha(Path(key))
        return self._data[key]

    def weights_sha(self, spec: ArtefactSpec) -> str | None:
        """Hash of the weights of an artefact as they are here, or as its record has them."""
        if isinstance(spec, Spec):
            return current_weights_sha(spec.cell)
        record = self.record(spec)
        return record.weights_sha if record else None

    def other(self, spec: ArtefactSpec, identities: dict[str, str]) -> list[str]:
        """Parts of some identities that no chain of certificates connects with the expected ones."""
        expected, of = spec.identities, spec.configuration
        found = [part for part, sha in identities.items() if not self.ledger.connects(part, sha, expected[part], of)]
        return list(dict.fromkeys(NAMES.get(part, part) for part in found))

    def stale(self, spec: ArtefactSpec) -> list[str]:
        """What the record of an artefact no longer agrees with; empty when there is none.

        Any of code, code of evaluation, parameters, data, and the parts of what it rests on. Data and weights that are
        not here are not judged: a clone with records and no data has to believe them.
        """
        if spec.item not in self._stale:
            record = self.record(spec)
            self._stale[spec.item] = self._changed(spec, record) if record else []
        return self._stale[spec.item]

    def _changed(self, spec: ArtefactSpec, made: ArtefactRecord | TrainReport) -> list[str]:
        changed = self.other(spec, made.identities)
        data_sha = self.data_sha(spec)
        # What failed before it read the data has no data hash to compare.
        if data_sha and made.data_sha and data_sha != made.data_sha:
            changed.append("data")
        for name, other in spec.rests_on.items():
            weights, used = self.weights_sha(other), made.used.get(name)
            # A checkpoint is of the weights that it was trained with, whatever has become of their own record.
            untrusted = isinstance(made, ArtefactRecord) and any(part != NAMES[SCORED] for part in self.stale(other))
            if untrusted or (weights and used and weights != used):
                changed.append(name.replace("_", " "))
        return changed

    def other_checkpoint(self, spec: Spec) -> list[str]:
        """What the checkpoint of a cell was not trained by: any of code, parameters, data, teacher, prior.

        ``checkpoint`` where there is none here, or training ended without weights.
        """
        report = read_report(spec.cell)
        if report is None or report.outcome.status != "ok" or not all(map(Path.is_file, spec.trained_outputs)):
            return ["checkpoint"]
        return self.other_training(spec, report)

    def other_training(self, spec: Spec, report: TrainReport) -> list[str]:
        """What a training that has been reported was not done by."""
        if set(report.identities) != set(trained_identities(spec)):
            return [PARAMETERS, NAMES[TRAINED]]
        return self._changed(spec, report)

    def current(self, spec: ArtefactSpec) -> bool:
        """Whether an artefact has a record that agrees with everything here, and is of the current checkpoint.

        A record from git is of another, once the cell was trained again on this machine: the numbers agree, the weights
        need not, bit by bit, and what learns from the cell or ranks by it states which weights it took.
        """
        record = self.record(spec)
        if record is None or self.stale(spec):
            return False
        if not isinstance(spec, Spec) or record.outcome.status != "ok":
            return True
        return record.weights_sha == current_weights_sha(spec.cell) or bool(self.other_checkpoint(spec))


def _table_sha(path: Path) -> str | None:
    from rsitr.datasets.table import read_facts  # pyarrow, which a parse need not wait for without data

    try:
        return read_facts(path).data_sha if path.is_file() else None
    except Damaged:
        return None  # the run itself sets it aside


def _selected(spec: PriorSpec) -> str | None:
    from rsitr.dedup.prior_images import select

    try:
        return select(spec).data_sha if all(path.is_file() for path in spec.inputs) else None
    except (DatasetError, Unsupported):
        return None  # the run itself says what is wrong
