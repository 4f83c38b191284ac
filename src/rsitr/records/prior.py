"""The prior: a scene classifier whose backbone methods start from. Its specification and record, ``scenes.json``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from rsitr.params import Prior
from rsitr.params.ids import SCENES
from rsitr.records.artefact import ArtefactRecord, NamedSpec
from rsitr.records.paths import Paths


class PriorSpec(NamedSpec):
    """What a prior is expected to be."""

    kind: ClassVar[str] = SCENES
    FILE: ClassVar[str] = "scenes.json"

    prior: Prior
    """What params.yaml says of it, defaults included."""
    packages: dict[str, str] = {}
    """Version of each package whose weights the settings name."""

    @property
    def facts(self) -> Any:
        """Its images and settings."""
        return [self.prior.model_dump(mode="json", exclude={"seed"}), self.threads, self.packages]

    @property
    def draws(self) -> int:
        """The seed."""
        return self.prior.seed

    @property
    def trained_outputs(self) -> list[Path]:
        """The backbone."""
        return [Paths.prior_weights(self.id)]

    @property
    def outputs(self) -> list[Path]:
        """The backbone, the images that were left out, the record."""
        return [*self.trained_outputs, self.record_file.with_name("left_out.csv"), self.record_file]

    @property
    def inputs(self) -> list[Path]:
        """The canonical tables of its datasets, and the tables of near duplicates between them."""
        return [*map(Paths.dataset, self.prior.named), *(Paths.near_duplicates(*pair) for pair in self.prior.compared)]


class ClassAccuracy(BaseModel):
    """One class in the held-out part."""

    model_config = ConfigDict(extra="forbid")

    images: int
    """Trained on."""
    held_out: int
    correct: int
    accuracy: float | None
    """In percent; None where none of its images is held out."""


class SceneRecord(ArtefactRecord):
    """Shares in percent, times in seconds, memory in MiB."""

    experiment: str
    name: str
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
            identities=spec.identities,
        )
