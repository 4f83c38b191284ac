"""Pretraining: a CLIP that methods start from. Its settings, specification and record, ``pretraining.json``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from rsitr.params.ids import PRETRAINING, CleanId
from rsitr.records.artefact import ArtefactRecord, NamedSpec
from rsitr.records.paths import Paths
from rsitr.records.prior import PriorSpec

Form = Literal["paper", "released"]
"""How beliefs weight the tokens of an instructed tower (``rsitr.nn.instructed_vit``)."""


class Instruction(BaseModel):
    """The instruction encoder. Defaults: the ResNet-50 of CLIP (J. Pan et al., 'PIR', 2024, section V-C)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    layers: tuple[int, int, int, int] = (3, 4, 6, 3)
    """Blocks of each stage."""
    width: int = Field(default=64, ge=2, multiple_of=2)
    """Channels of the stem; the attention pool reads 32 times as many."""


class PretrainSettings(BaseModel):
    """How a CLIP is pretrained. Defaults: stage 1 of PIR-CLIP.

    Epochs and batch are those of J. Pan et al., 'PIR', 2024, section V-C. Rate, decay, betas, schedule and crop, which
    it does not state, are open_clip's, of which the authors' code is a copy.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = "ViT-B-32"
    """Any model of open_clip, or of ``OWN`` in ``rsitr.nn.clip_models``."""
    weights: str = "none"
    """Where training starts: a tag of open_clip, ``none``, or a file: path, mirror://path, package://name/path."""
    instruction: Instruction | None = None
    """Of PIR-CLIP's instructed image tower; none for a plain CLIP."""
    instruction_weights: str = "none"
    """What the instruction encoder starts as: scenes://EXPERIMENT/NAME, a file as for ``weights``, or ``none``."""
    belief: Form = "paper"
    """How an instruction's beliefs weight the patches: as in the paper, or as in the authors' code."""
    epochs: int = Field(20, ge=1)
    samples_per_epoch: int | None = Field(None, ge=2)
    """None for one pass over the shards; PIR-CLIP counts 1,000,000."""
    batch_size: int = Field(256, ge=2)
    """Of all processes together."""
    learning_rate: float = Field(5e-4, gt=0)
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = Field(0.2, ge=0)
    """Of matrices; biases, gains and the temperature have none."""
    warmup: float = Field(0.1, ge=0, lt=1)
    """Share of all steps during which the rate rises linearly from zero; it then falls to zero as a cosine."""
    clip_norm: float | None = Field(1.0, gt=0)
    """The norm that larger gradients are scaled down to; None leaves them as they are."""
    crop: tuple[float, float] = (0.9, 1.0)
    """Share of the image's area that the random resized crop takes."""
    bf16: bool = True
    """Compute in bfloat16 on a GPU."""
    grad_checkpointing: bool = False
    """Compute activations again in the backward pass instead of keeping them: less memory, a third more work."""
    seed: int = 0
    workers: int = Field(2, ge=0)
    """Processes that read and decode, per training process. It does not affect results."""
    patience: float = Field(600, gt=0)
    """Seconds for which a process waits for another before it gives up. It does not affect results."""


class PretrainingSpec(NamedSpec):
    """What a pretraining is expected to be."""

    kind: ClassVar[str] = PRETRAINING
    FILE: ClassVar[str] = "pretraining.json"

    dataset: str
    shards: tuple[str, ...] = ()
    """Patterns of the dataset's own shards; those of a dataset without any are written from its clean table."""
    settings: PretrainSettings
    prior: PriorSpec | None = None
    """The scene classifier that the instruction encoder starts as."""

    @property
    def command(self) -> str:
        """What computes it."""
        return f"rsitr pretrain {self.place}"

    @property
    def facts(self) -> Any:
        """Its data and settings, and those of the prior."""
        settings = self.settings.model_dump(mode="json", exclude={"seed", "workers", "patience"})
        return [self.dataset, settings, self.threads, self.prior.facts if self.prior else None]

    @property
    def draws(self) -> int:
        """The seed."""
        return self.settings.seed

    @property
    def trained_outputs(self) -> list[Path]:
        """The weights."""
        return [Paths.pretrained_weights(self.id)]

    @property
    def outputs(self) -> list[Path]:
        """The weights, and the record."""
        return [*self.trained_outputs, self.record_file]

    @property
    def inputs(self) -> list[Path]:
        """The clean table that shards are written from; shards of the dataset's own are looked for when it runs."""
        return [] if self.shards else [Paths.clean(CleanId(self.dataset))]

    @property
    def rests_on(self) -> dict[str, PriorSpec]:
        """The prior, where there is one."""
        return {"prior": self.prior} if self.prior else {}


class PretrainingRecord(ArtefactRecord):
    """``pretraining.json``. Times in seconds, memory in MiB."""

    experiment: str
    name: str
    dataset: str
    config: dict[str, Any] = {}
    """The settings in full, defaults included."""
    samples: int = 0
    """With an image and captions."""
    skipped: dict[str, int] = {}
    """Samples that were left out, by problem."""
    steps: int = 0
    loss: list[float] = []
    """Mean training loss of each epoch."""
    parameters: dict[str, int] = {}
    """total and trainable."""
    peak_memory_mib: dict[str, int] = {}

    @classmethod
    def begun(cls, spec: PretrainingSpec) -> PretrainingRecord:
        """The record of a pretraining before anything has come out."""
        return cls(
            experiment=spec.experiment,
            name=spec.name,
            dataset=spec.dataset,
            config=spec.settings.model_dump(mode="json"),
            identities=spec.identities,
        )
