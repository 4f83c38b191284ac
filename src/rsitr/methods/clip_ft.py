"""CLIP-FT: CLIP with all its weights trained further on one retrieval set."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from rsitr.cells import Published
from rsitr.methods.base import Optimizer, method
from rsitr.methods.clip_training import CLIPTrainingConfig, TrainedCLIP


class CLIPFTConfig(CLIPTrainingConfig):
    """Defaults of PIR, section V-B, fine-tuning of its CLIP; rate and decay are those of its public code."""

    epochs: int = Field(10, ge=1)
    batch_size: int = Field(512, ge=2)
    optimizer: Optimizer = "adamw"
    learning_rate: float = Field(1e-5, gt=0)
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = Field(0.5, ge=0)
    schedule: Literal["step", "linear", "cosine"] = "linear"
    warmup: float = Field(0.1, ge=0, lt=1)
    augment: Literal["none", "crop-flip", "randaugment", "rotate-crop"] = "randaugment"


@method("clip-ft")
class CLIPFT(TrainedCLIP):
    """CLIP-FT of PIR (J. Pan et al., 2024), Table II, which is the CLIP-baseline of its Table III.

    PIR states no recipe of its own for this row; that of its own model's second stage is taken, of which the baseline
    differs in modules and loss alone. Loss: its Eq. 15 from CLIP's learned temperature.
    """

    Config: ClassVar[type[CLIPFTConfig]] = CLIPFTConfig
    config: CLIPFTConfig
    published: ClassVar[dict[str, Published]] = {
        "": Published(paper="pir2024", table="table2", method="clip-ft", backbone="ViT-B / Transformer"),
    }
