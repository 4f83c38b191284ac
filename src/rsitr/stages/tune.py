"""Tuning of a method on a dataset, from top to bottom: trials with other settings, each judged on val, and the best.

A trial is the training of a cell, of at most so many steps. The test split takes no part: it is taken away before the
first trial. A killed tuning goes on in the trial that it was in, and ends with the same trials: what is tried next is a
function of the seed and of the trials before, which are written down as they end.
"""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import mean
from typing import Any

from filelock import FileLock, Timeout

from rsitr.errors import DatasetError, ParamsError, RecordError, TrainingDiverged, Unsupported, WeightsUnavailable
from rsitr.methods.base import TrainingConfig
from rsitr.nn.seeds import derive
from rsitr.records.artefact import Outcome
from rsitr.records.cell import Spec, TrainReport, TuningSpec
from rsitr.records.files import read_json, set_aside, write_json
from rsitr.records.paths import Paths
from rsitr.records.provenance import library_versions, machine, sha256_json
from rsitr.records.tuning import COMPLETE, DIVERGED, FAILED, PRUNED, Trial, TuningRecord
from rsitr.stages.course import capped
from rsitr.stages.sampling import draw, hopeless
from rsitr.stages.setup import (
    LOCKS,
    CellData,
    build_method,
    check_usable,
    configuration,
    device_of,
    load_data,
    started_from,
)
from rsitr.stages.teacher import Teacher
from rsitr.stages.train import Trainer, begin, sample_order

ATTEMPTS = 20
"""How often settings are drawn that have been tried already, before they are tried again."""
SEEN = ("train", "val")
"""The splits that a trial may read."""


class GivenUp(Exception):
    """A trial is not worth going on with."""


def seen(spec: Spec) -> CellData:
    """The data of a cell without its test split."""
    data = load_data(spec)
    return data._replace(splits={name: data.splits[name] for name in SEEN})


class Study:
    """The trials of a tuning; those that have ended are in ``record``."""

    def __init__(self, spec: TuningSpec, record: TuningRecord):
        """Raises ``Unsupported`` for a method that is not trained or a dataset without images to judge it on."""
        base = spec.base
        config = configuration(base)
        if not isinstance(config, TrainingConfig):
            raise Unsupported(f"{base.method} is not trained")
        if config.selection != "val":
            raise ParamsError(f"{base.method} has `selection: {config.selection}`: a tuning goes by val alone")
        self.spec, self.record = spec, record
        self.space, self.folder = dict(sorted(spec.space.items())), Paths.trials(spec.id)
        self.data = seen(base)
        record.data_sha, record.synthetic = self.data.facts.data_sha, self.data.facts.synthetic
        record.config = config.model_dump(mode="json")
        check_usable(base, self.data)
        record.used = started_from(prior=base.prior, pretraining=base.pretraining)
        self.device = device_of(base)
        record.machine = machine(self.device)
        self.teacher = Teacher(base.teacher, self.device, seen(base.teacher)) if base.teacher else None
        if self.teacher:
            record.used["teacher"] = self.teacher.weights_sha

    @property
    def kept(self) -> Path:
        """The file of the trials so far."""
        return self.folder / "trials.json"

    def restore(self) -> None:
        """Take the trials that have ended from the file of a tuning by the same code, parameters and data."""
        try:
            found = read_json(TuningRecord, self.kept, sealed=True) if self.kept.is_file() else None
        except RecordError:
            print(f"{set_aside(self.kept)} is damaged: the tuning begins again", file=sys.stderr)
            return
        if found and _made_by(found) != _made_by(self.record):
            print(f"{self.kept} is of other code, parameters, data or device: the tuning begins again", file=sys.stderr)
        elif found:
            self.record.trials = found.trials

    def run(self) -> None:
        """All trials, from wherever the tuning stands."""
        self.restore()
        while (number := len(self.record.trials)) < self.spec.trials:
            trial = self.trial(number, self.settings(number))
            self.record.trials.append(trial)
            write_json(self.kept, self.record, sealed=True)
            shutil.rmtree(self.folder / str(number), ignore_errors=True)
            print(self.told(trial), file=sys.stderr, flush=True)

    def settings(self, number: int) -> dict[str, Any]:
        """Of a trial: of the first those given, of each other ones that have not been tried yet, if there are any."""
        if number == 0:
            return {name: self._given(name) for name in self.space}
        tried = [trial.settings for trial in self.record.trials]
        for attempt in range(ATTEMPTS):
            found = draw(self.space, self.record.trials, derive(self.spec.base.seed, "trial", number, attempt))
            if found not in tried:
                break
        return found

    def _given(self, name: str) -> Any:
        """A setting as given: a list as params.yaml has it, without defaults, for so it is among the choices."""
        value = self.record.config[name]
        return self.spec.base.settings.get(name, value) if isinstance(value, list) else value

    def capped(self, settings: dict[str, Any]) -> Spec:
        """The cell of a trial; raises ``ParamsError`` for settings that do not go together."""
        spec = self.spec.base.model_copy(update={"settings": self.spec.base.settings | settings})
        config = configuration(spec)
        assert isinstance(config, TrainingConfig)
        steps = len(sample_order(self.data.splits["train"], config, spec.seed, 0))
        return spec.model_copy(update={"settings": spec.settings | capped(config, self.spec.max_steps, steps)})

    def trial(self, number: int, settings: dict[str, Any]) -> Trial:
        """Train with some settings, or go on with it. What is unavailable for all trials raises."""
        found = Trial(number=number, settings=settings)
        identities = self.record.identities | {"trial": sha256_json([number, settings])}
        report = TrainReport(identities=identities, data_sha=self.record.data_sha, used={**self.record.used})
        trainer: Trainer | None = None

        def give_up() -> None:
            assert trainer is not None
            merits = [epoch.merit for epoch in report.history]
            if hopeless(self.record.trials, merits, trainer.steps_per_epoch, self.spec.max_steps):
                raise GivenUp

        try:
            spec = self.capped(settings)
            state = self.folder / str(number) / "resume.pt"
            method = build_method(spec, self.data)
            trainer = begin(method, spec, self.data, self.device, state, report, self.teacher)
            trainer.after_epoch = give_up
            trainer.run()
            chosen = report.history[trainer.chosen_epoch() - 1]
            found.merit, found.val_mr = chosen.merit, chosen.val_mr
            found.val_dup_mr = chosen.val_dup_mr
        except GivenUp:
            found.status = PRUNED
            found.reason = f"below the median of the others after epoch {len(report.history)}"
        except TrainingDiverged as error:
            found.status, found.reason = DIVERGED, str(error)
        except (Unsupported, WeightsUnavailable, DatasetError, RecordError, OSError):
            raise
        except Exception as error:  # settings that do not work are a result
            found.status, found.reason = FAILED, Outcome.of(error).reason
        found.merits = [epoch.merit for epoch in report.history]
        if trainer:
            # Steps whose losses have not been read may come after the one that diverged.
            found.steps, found.seconds = len(trainer.steps.losses), round(trainer.steps.seconds, 2)
        return found

    def told(self, trial: Trial) -> str:
        """One line on a trial that has ended, with an estimate of what is left."""
        trials, best = self.record.trials, self.record.best_trial
        left = mean(each.seconds for each in trials) * (self.spec.trials - len(trials)) / 60
        what = f"val mR {trial.merit:.2f}" if trial.merit is not None else f"{trial.status} ({trial.reason})"
        so_far = f", best {best.merit:.2f} (trial {best.number})" if best else ""
        done = f"{len(trials)} of {self.spec.trials} trials"
        return f"{done}: trial {trial.number} {what}{so_far}, {trial.seconds:.0f} s, about {left:.1f} min left"


def _made_by(record: TuningRecord) -> list[Any]:
    """What trials have to have in common; a GPU computes in another arithmetic."""
    return [record.identities, record.data_sha, record.used, record.machine.get("device")]


@contextmanager
def alone(spec: TuningSpec) -> Iterator[None]:
    """Raise ``RecordError`` while another process is at the same tuning."""
    LOCKS.mkdir(parents=True, exist_ok=True)
    lock = FileLock(LOCKS / f"trials+{spec.place.replace('/', '+')}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise RecordError(f"{spec.path} is running in another process: wait for it, or stop it") from None
    try:
        yield
    finally:
        lock.release()


def tune(spec: TuningSpec, before_keeping: Callable[[], None] = lambda: None) -> TuningRecord:
    """Tune and write ``tuning.json``; what goes wrong is recorded.

    ``before_keeping`` is called when everything is computed, and may object. Raises ``RecordError`` as ``alone``.
    """
    with alone(spec):
        record = TuningRecord.begun(spec)
        record.versions = library_versions()
        try:
            Study(spec, record).run()
            record.conclude()
            print(summary(record), file=sys.stderr)
            if record.best_trial is None:
                raise TrainingDiverged(f"none of {spec.trials} trials is complete: {record.trials[0].reason}")
        except Exception as error:  # the cells that need it say so, and the rest goes on
            print(f"{spec.path}: {error}", file=sys.stderr)
            record.outcome = Outcome.of(error)
        record.seconds["train"] = round(sum(trial.seconds for trial in record.trials), 2)
        before_keeping()
        write_json(spec.record_file, record)
        if len(record.trials) == spec.trials:
            shutil.rmtree(Paths.trials(spec.id), ignore_errors=True)
    return record


def summary(record: TuningRecord) -> str:
    """What came of all trials, in a line or two."""
    counts = Counter(trial.status for trial in record.trials)
    told = ", ".join(f"{counts[status]} {status}" for status in (COMPLETE, PRUNED, DIVERGED, FAILED) if counts[status])
    text = f"{len(record.trials)} trials: {told}"
    if (best := record.best_trial) is None:
        return text
    given = record.trials[0].merit
    as_given = "" if given is None else f", {given:.2f} with the settings as given"
    edge = f"; at the edge of the space: {', '.join(record.edges)}" if record.edges else ""
    found = f"best val mR {best.merit:.2f} in trial {best.number}{as_given}{edge}"
    return f"{text}; {found}\nbest settings: {best.settings}"
