"""What tuning found: the trials of every method on every dataset, what the best gain, and settings at the edge."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import stdev

from rsitr.params import Experiment
from rsitr.params.ids import MAIN, Role, TuningId
from rsitr.params.tuning import Tuning, edges
from rsitr.records.files import write_csv
from rsitr.records.paths import Paths
from rsitr.records.tuning import COMPLETE, DIVERGED, FAILED, PRUNED, TuningRecord
from rsitr.tables.declared import Declared, rendered
from rsitr.tables.layout import Cell, Group, Note, Row, Table, labelled, noted, write_tables
from rsitr.tables.view import with_roles

COLUMNS = (
    *("trials", "complete", "pruned", "lost", "best", "spread", "as given", "gain", "best settings", "at the edge"),
)
TRIAL_COLUMNS = (
    *("dataset", "method", "role", "trial", "status", "merit", "val_mr", "val_dup_mr"),
    *("epochs", "steps", "seconds", "settings", "reason"),
)
CAPTION = (
    "Every method has {trials} trials of at most {max_steps} steps, with seed {seed}; test takes no part. "
    "Numbers are mean recalls on val in percent, those that epochs are chosen by. Best: of the best complete trial; "
    "spread: sample standard deviation over all complete ones; as given: of the first trial, which has the settings of "
    "params.yaml; gain: best minus as given. Pruned: given up, as its epochs were below the median of the others; "
    "lost: it diverged or failed. At the edge: settings whose best value is the least or the greatest choice, or "
    "within 5 % of an end of its range, so that better ones may lie beyond."
)


@dataclass(frozen=True)
class Found:
    """A tuning, its record, or None before the first run, and what is stale about it."""

    id: TuningId
    record: TuningRecord | None
    stale: Sequence[str]
    role: Role
    """Of the method that it is for."""

    @property
    def reason(self) -> str:
        """Why there are no settings; empty if there are."""
        if self.record is None:
            return "not run yet"
        outcome = self.record.outcome
        return "" if outcome.status == "ok" else f"{outcome.status}: {outcome.reason}"

    def cells(self) -> Iterator[Cell]:
        """Those of its row."""
        record = self.record
        if record is None or self.reason:
            yield from [noted("NA", self.reason), *[Cell()] * (len(COLUMNS) - 1)]
            return
        best, given = record.best_trial, record.trials[0].merit
        assert best is not None
        assert best.merit is not None
        merits = [trial.merit for trial in record.of(COMPLETE) if trial.merit is not None]
        stale = (Note(f"made by other {' and '.join(self.stale)} than the present", "†"),) if self.stale else ()
        for statuses in ((COMPLETE, PRUNED, DIVERGED, FAILED), (COMPLETE,), (PRUNED,), (DIVERGED, FAILED)):
            yield Cell(str(len(record.of(*statuses))))
        yield Cell(f"{best.merit:.2f}", notes=stale)
        yield Cell(f"{stdev(merits):.2f}" if len(merits) > 1 else "")
        yield noted("NA", record.trials[0].reason) if given is None else Cell(f"{given:.2f}")
        yield Cell("" if given is None else f"{best.merit - given:+.2f}")
        yield Cell(", ".join(f"{name} {_told(value)}" for name, value in sorted(record.best.items())))
        yield Cell(", ".join(edges(record.space, record.best)))

    def trials(self) -> Iterator[tuple[object, ...]]:
        """A row of ``TRIAL_COLUMNS`` for each trial."""
        for trial in self.record.trials if self.record else ():
            recalls = ("" if each is None else each for each in (trial.merit, trial.val_mr, trial.val_dup_mr))
            settings = json.dumps(trial.settings, sort_keys=True)
            yield (
                *(self.id.dataset, self.id.method, self.role, trial.number, trial.status, *recalls),
                *(len(trial.merits), trial.steps, trial.seconds, settings, trial.reason),
            )


def _told(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else json.dumps(value).strip('"')


def collect(experiment: Experiment, stale: Mapping[TuningId, Sequence[str]]) -> list[Found]:
    """The tunings of an experiment, with what is stale about their records."""
    return [
        Found(
            wanted,
            TuningRecord.read(Paths.tuning(wanted)),
            parts,
            experiment.roles.get((wanted.dataset, wanted.method), MAIN),
        )
        for wanted, parts in stale.items()
    ]


def _tables(found: Sequence[Found], how: Tuning) -> Iterator[Table]:
    caption = CAPTION.format(trials=how.trials, max_steps=how.max_steps, seed=how.seed)
    for dataset in dict.fromkeys(each.id.dataset for each in found):
        own = [each for each in found if each.id.dataset == dataset]
        synthetic = any(each.record and each.record.synthetic for each in own)
        rows = tuple(Row(each.id.method, tuple(each.cells())) for each in own)
        table = Table(labelled(dataset, synthetic), caption, "method", (Group("", COLUMNS),), rows)
        yield with_roles(table, [each.role for each in own])


def build(name: str, experiment: Experiment, stale: Mapping[TuningId, Sequence[str]], out_dir: Path) -> list[Path]:
    """Write ``tuning.csv``, ``.md``, ``.tex`` and ``.html``, and ``tuning.trials.csv``."""
    found = collect(experiment, stale)
    assert experiment.tuning is not None
    written = write_tables(f"Tuning in {name}", _tables(found, experiment.tuning), name, out_dir / "tuning")
    path = out_dir / "tuning.trials.csv"
    write_csv(path, TRIAL_COLUMNS, [row for each in found for row in each.trials()])
    return [*written, path]


TABLE = Declared(
    "tuning",
    lambda material: build(material.name, material.experiment, material.tunings, material.out),
    "The same number of trials for every method, judged on val: the best settings, what they gain over those given, "
    "and which of them are at the edge of what was searched.",
    listed=lambda experiment: [*rendered("tuning"), "tuning.trials.csv"],
    concerns=lambda experiment: any(block.settings == "tuned" for block in experiment.matrix),
)
