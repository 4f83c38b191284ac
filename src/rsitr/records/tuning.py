"""``tuning.json``: every trial of a tuning, and the best settings that it found."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from rsitr.params.tuning import Space, edges
from rsitr.records.artefact import ArtefactRecord
from rsitr.records.cell import TuningSpec
from rsitr.records.provenance import sha256_json

Ending = Literal["complete", "pruned", "diverged", "failed"]
COMPLETE: Ending = "complete"
PRUNED: Ending = "pruned"
DIVERGED: Ending = "diverged"
FAILED: Ending = "failed"


class Trial(BaseModel):
    """A training with some settings, of at most as many steps as all others. Mean recalls on val in percent."""

    model_config = ConfigDict(extra="forbid")

    number: int
    """From 0, which has the settings as given."""
    settings: dict[str, Any]
    """What every setting of the space was."""
    status: Ending = COMPLETE
    reason: str = ""
    """Why it did not end."""
    merit: float | None = None
    """What trials are compared by (``Epoch.merit``): of the chosen epoch of a complete one."""
    val_mr: float | None = None
    """Of the same epoch."""
    val_dup_mr: float | None = None
    """The same with identical captions and images as positives; None where that was not measured."""
    merits: list[float] = []
    """Of each epoch."""
    steps: int = 0
    """Of the optimiser."""
    seconds: float = 0


class TuningRecord(ArtefactRecord):
    """``tuning.json``. ``weights_sha`` is the SHA-256 of the best settings: what cells take from it."""

    experiment: str
    dataset: str
    method: str
    seed: int
    max_steps: int
    space: Space
    planned: int
    """How many trials there are to be."""
    trials: list[Trial] = []
    best: dict[str, Any] = {}
    """The settings of the best complete trial, the first of equals; empty without one."""
    edges: list[str] = []
    """Those that are at the edge of the space (``rsitr.params.tuning.edges``)."""
    config: dict[str, Any] = {}
    """The configuration as given in full, defaults included."""
    synthetic: bool = False

    @classmethod
    def begun(cls, spec: TuningSpec) -> TuningRecord:
        """The record of a tuning before the first trial."""
        return cls(
            **spec.id._asdict(),
            seed=spec.base.seed,
            max_steps=spec.max_steps,
            space=spec.space,
            planned=spec.trials,
            identities=spec.identities,
        )

    def conclude(self) -> None:
        """State the best settings of the trials, if any is complete."""
        if (best := self.best_trial) is None:
            return
        self.best, self.edges = best.settings, edges(self.space, best.settings)
        self.weights_sha = sha256_json(self.best)

    @property
    def best_trial(self) -> Trial | None:
        """The complete trial with the highest merit, the first of equals."""
        return max(self.of(COMPLETE), key=lambda trial: trial.merit or 0.0, default=None)

    def of(self, *statuses: Ending) -> list[Trial]:
        """The trials that ended in one of some ways."""
        return [trial for trial in self.trials if trial.status in statuses]
