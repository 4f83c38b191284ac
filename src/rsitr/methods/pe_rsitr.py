"""PE-RSITR: adapters in the blocks of a CLIP that stays as it is."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field
from torch import Tensor

from rsitr.methods.base import Phase, method
from rsitr.methods.clip_training import CLIPTrainingConfig, TrainedCLIP
from rsitr.nn.adapters import insert_adapters
from rsitr.records.cell import Published

LEARNS = ("adapters.", "log_temperature")


class PERSITRConfig(CLIPTrainingConfig):
    """Defaults of the options of its authors' code, which take 20 % of the training split for validation."""

    epochs: int = Field(30, ge=1)
    batch_size: int = Field(16, ge=2)
    learning_rate: float = Field(2e-4, gt=0)
    step_epochs: int = Field(20, ge=1)
    step_factor: float = Field(0.7, gt=0)
    augment: Literal["none", "crop-flip", "randaugment", "rotate-crop"] = "none"
    freeze_backbone: Literal[False] = False
    """CLIP's own weights never learn here; the embeddings of its image tower do change, with the adapters inside."""
    bottleneck: int = Field(64, ge=1)
    shared: int = Field(64, ge=1)
    """How many of the numbers that an adapter adds come from the projection that both towers share."""
    adapter_dropout: float = Field(0.5, ge=0, lt=1)
    form: Literal["paper", "released"] = "paper"
    """An adapter for each block, or one for all of them as in the authors' code."""

    @property
    def course(self) -> tuple[Phase, ...]:
        """In every phase only adapters and temperature learn."""
        return tuple(phase.model_copy(update={"learns": LEARNS}) for phase in super().course)


@method("pe-rsitr")
class PERSITR(TrainedCLIP):
    """The public part of PE-RSITR (Y. Yuan, Y. Zhan, Z. Xiong, "Parameter-Efficient Transfer Learning for Remote
    Sensing Image-Text Retrieval", IEEE TGRS 2023), PIR's Table II: its MRS-Adapter.

    An adapter runs parallel to the normalisation and MLP of each block of both towers, from the state after attention:
    down to 64, ReLU, dropout .5, up again, with 64 of the numbers from a projection that the towers share. It starts at
    zero, so training starts from CLIP itself. The hybrid multi-modal contrastive loss (HMMC), for which each input is
    encoded twice under different dropout, is not public. Here the loss is PIR's Eq. 15.
    """

    Config: ClassVar[type[PERSITRConfig]] = PERSITRConfig
    config: PERSITRConfig
    variants: ClassVar[dict[str, dict[str, Any]]] = {"released": {"form": "released"}}
    published: ClassVar[dict[str, Published]] = {
        "": Published(paper="pir2024", table="table2", method="pe-rsitr", backbone="ViT-B / Transformer"),
        "released": Published(paper="pir2024", table="table2", method="pe-rsitr", backbone="ViT-B / Transformer"),
    }

    def __init__(self, config: PERSITRConfig):
        super().__init__(config)
        self.adapters = insert_adapters(
            self.backbone.visual,
            self.text,
            bottleneck=config.bottleneck,
            shared=config.shared,
            dropout=config.adapter_dropout,
            single=config.form == "released",
        )

    @property
    def departures(self) -> list[str]:
        """The loss."""
        return [*super().departures, "contrastive loss (PIR, Eq. 15) instead of HMMC, which is not public"]

    def learned_state(self) -> dict[str, Tensor]:
        """Adapters and temperature; CLIP's weights are stored only where they came from."""
        return {name: value for name, value in self.state_dict().items() if name.startswith(LEARNS)}
