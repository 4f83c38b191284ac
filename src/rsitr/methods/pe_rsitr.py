"""PE-RSITR: adapters in the blocks of a CLIP that stays as it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from rsitr.errors import ParamsError
from rsitr.methods.base import Phase, method
from rsitr.methods.clip import CLIPTrainingConfig, TrainedCLIP
from rsitr.records.cell import Published


class Adapter(nn.Module):
    """One adapter for a block of each tower.

    A state x of width d becomes [U ReLU(D x), S ReLU(D x)], with dropout before U and S: D down to ``bottleneck``, U up
    to d - ``shared``, and S up to ``shared``, the same for both towers. U and S start at zero.
    """

    def __init__(self, widths: Sequence[int], bottleneck: int, shared: int, dropout: float):
        super().__init__()
        self.down = nn.ModuleList(nn.Linear(width, bottleneck) for width in widths)
        self.up = nn.ModuleList(nn.Linear(bottleneck, width - shared) for width in widths)
        self.shared = nn.Linear(bottleneck, shared)
        self.dropout = nn.Dropout(dropout)
        for layer in self.down:
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        for layer in (*self.up, self.shared):
            nn.init.zeros_(layer.weight)  # type: ignore[arg-type]
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, states: Tensor, tower: int) -> Tensor:
        """What is added to states [..., widths[tower]], of the same shape."""
        inner = self.dropout(self.down[tower](states).relu())
        return torch.cat([self.up[tower](inner), self.shared(inner)], dim=-1)


class AdaptedMLP(nn.Module):
    """The normalisation and MLP of a block, and its adapter parallel to both."""

    def __init__(self, norm: nn.Module, mlp: nn.Module, adapter: Adapter, tower: int):
        super().__init__()
        self.norm, self.mlp, self.tower = norm, mlp, tower
        # In a tuple, so that its parameters have a single name, the one in the list of adapters.
        self._adapter = (adapter,)

    @property
    def c_fc(self) -> nn.Module:
        """The first layer of the MLP, whose dtype open_clip asks a block for."""
        return self.mlp.c_fc  # type: ignore[return-value]

    def forward(self, states: Tensor) -> Tensor:
        """What the block adds to its states [B, N, D] after attention."""
        return self.mlp(self.norm(states)) + self._adapter[0](states, self.tower)


def insert_adapters(
    visual: Any, text: Any, *, bottleneck: int, shared: int, dropout: float, single: bool
) -> nn.ModuleList:
    """Put adapters into the blocks of both towers of an open_clip model and return them, from the first block on.

    ``single`` uses one adapter for all blocks. ``shared`` is at most half the narrower tower's width. Raises
    ``ParamsError`` unless both towers are open_clip's own transformers.
    """
    towers: list[Any] = [getattr(getattr(tower, "transformer", None), "resblocks", ()) for tower in (visual, text)]
    if not all(towers):
        raise ParamsError("adapters need a model whose two towers are transformers, such as ViT-B-32-quickgelu")
    widths = [int(blocks[0].ln_2.normalized_shape[0]) for blocks in towers]
    count = 1 if single else max(map(len, towers))
    size = (widths, bottleneck, min(shared, min(widths) // 2), dropout)
    adapters = nn.ModuleList(Adapter(*size) for _ in range(count))
    for tower, blocks in enumerate(towers):
        for depth, block in enumerate(blocks):
            adapter = adapters[min(depth, count - 1)]
            block.mlp, block.ln_2 = AdaptedMLP(block.ln_2, block.mlp, adapter, tower), nn.Identity()  # type: ignore[arg-type]
    return adapters


LEARNS = ("adapters.", "log_temperature")
ROW = Published(paper="pir2024", table="table2", method="pe-rsitr", backbone="ViT-B / Transformer")


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
    encoded twice under different dropout, is not rebuilt. Here the loss is PIR's Eq. 15 instead.
    """

    Config: ClassVar[type[PERSITRConfig]] = PERSITRConfig
    config: PERSITRConfig
    variants: ClassVar[dict[str, dict[str, Any]]] = {"released": {"form": "released"}}
    published: ClassVar[dict[str, Published]] = {"": ROW}

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
        return [*super().departures, "contrastive loss (PIR, Eq. 15) instead of HMMC, with inputs encoded once"]

    @property
    def fixed_weights(self) -> tuple[str, ...]:
        """CLIP's."""
        return ("weights",)

    def learned_state(self) -> dict[str, Tensor]:
        """Adapters and temperature; CLIP's weights are stored only where they came from."""
        return {name: value for name, value in self.state_dict().items() if name.startswith(LEARNS)}
