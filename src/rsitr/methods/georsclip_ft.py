"""GeoRSCLIP-FT: GeoRSCLIP with all its weights trained further on one retrieval set."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from rsitr.methods.base import Optimizer, method
from rsitr.methods.clip_training import CLIPTrainingConfig, TrainedCLIP
from rsitr.records.cell import Published


class GeoRSCLIPFTConfig(CLIPTrainingConfig):
    """Defaults of its authors' fine-tuning. Their 100 steps of warm-up are a fifth of seven epochs on RSICD."""

    weights: str = "georsclip-vit-b-32"
    epochs: int = Field(7, ge=1)
    batch_size: int = Field(600, ge=2)
    optimizer: Optimizer = "adamw"
    learning_rate: float = Field(5e-6, gt=0)
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = Field(0.5, ge=0)
    schedule: Literal["step", "linear", "cosine"] = "cosine"
    warmup: float = Field(0.2, ge=0, lt=1)
    clip_norm: float = Field(50.0, gt=0)


@method("georsclip-ft")
class GeoRSCLIPFT(TrainedCLIP):
    """GeoRSCLIP-FT (Z. Zhang et al., "RS5M and GeoRSCLIP", IEEE TGRS 2024), PIR's Table II.

    The known parts of the recipe are rate, decay, batch, epochs, warm-up and the norm that gradients are clipped to;
    schedule, betas and loss are CLIP's (A. Radford et al., ICML 2021, section 2.5), the augmentation is the
    benchmark's. The row on RET-2 is ``georsclip@ret-2``, its authors' own weights.
    """

    Config: ClassVar[type[GeoRSCLIPFTConfig]] = GeoRSCLIPFTConfig
    config: GeoRSCLIPFTConfig
    published: ClassVar[dict[str, Published]] = {
        "": Published(paper="pir2024", table="table2", method="georsclip-ft", variant="train=own"),
    }

    @property
    def departures(self) -> list[str]:
        """The unknown parts of the recipe."""
        return [*super().departures, "augmentation and schedule of the benchmark, those of the authors are not known"]
