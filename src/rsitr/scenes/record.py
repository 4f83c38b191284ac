"""``scenes.json``: how the training of a scene classifier ended, how well it tells scenes apart, and from what."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from rsitr.cells import Layout, Outcome, PriorSpec, read_json
from rsitr.params import PriorId


class ClassAccuracy(BaseModel):
    """One class in the held-out part."""

    model_config = ConfigDict(extra="forbid")

    images: int
    """Trained on."""
    held_out: int
    correct: int
    accuracy: float | None
    """In percent; None where none of its images is held out."""


class SceneRecord(BaseModel):
    """Shares in percent, times in seconds, memory in MiB."""

    model_config = ConfigDict(extra="forbid")

    version: Literal[1] = 1
    experiment: str
    name: str
    outcome: Outcome = Outcome()
    datasets: list[str]
    without: list[str]
    dedup: str
    """The rule of near duplicates; without meaning where ``without`` is empty."""
    seed: int
    images: dict[str, int] = {}
    """train and held_out."""
    left_out: dict[str, int] = {}
    """Images of the training splits that were not used, by dataset and reason."""
    unseen: list[str] = []
    """Classes that the datasets name and of which no image was trained on."""
    accuracy: float | None = None
    """Percentage of the held-out images whose class is told right."""
    mean_class_accuracy: float | None = None
    """Mean over the classes that have held-out images."""
    classes: dict[str, ClassAccuracy] = {}
    loss: list[float] = []
    """Mean training loss of each epoch."""
    synthetic: bool = False
    config: dict[str, Any] = {}
    """The settings in full, defaults included."""
    params_sha: str
    code_sha: str
    data_sha: str = ""
    weights_sha: str = ""
    """SHA-256 of ``model.safetensors``."""
    machine: dict[str, Any] = {}
    versions: dict[str, str] = {}
    seconds: dict[str, float] = {}
    peak_memory_mib: int = 0
    parameters: int = 0

    @classmethod
    def begun(cls, spec: PriorSpec) -> SceneRecord:
        """The record of a prior before anything has come out."""
        prior = spec.prior
        return cls(
            experiment=spec.experiment,
            name=spec.name,
            **prior.model_dump(include={"datasets", "without", "dedup", "seed"}),
            config=prior.settings.model_dump(mode="json"),
            params_sha=spec.params_sha,
            code_sha=spec.code_sha,
        )

    def stale(self, spec: PriorSpec, current_data_sha: str | None) -> list[str]:
        """What has changed since: any of code, parameters, data, as ``Record.stale``."""
        changed = {
            "code": self.code_sha != spec.code_sha,
            "parameters": self.params_sha != spec.params_sha,
            "data": bool(current_data_sha and self.data_sha and self.data_sha != current_data_sha),
        }
        return [name for name, differs in changed.items() if differs]


def read_prior(prior: PriorId) -> SceneRecord | None:
    """The record of a prior, or None when there is none yet."""
    path = Layout.prior(prior) / "scenes.json"
    return read_json(SceneRecord, path) if path.is_file() else None
