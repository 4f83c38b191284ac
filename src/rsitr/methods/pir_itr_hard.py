"""PIR-ITR that keeps the tokens the instruction believes in most."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field
from torch import Tensor

from rsitr.methods.base import method
from rsitr.methods.pir import PIR, PIRConfig
from rsitr.nn.belief import select
from rsitr.records.cell import Published

WITHOUT: dict[str, Any] = {"spatial": False, "temporal": False, "affiliation": 0.0}
ABLATION: dict[str, tuple[str, dict[str, Any]]] = {
    "baseline": ("baseline", WITHOUT),
    "spatial": ("+S-PAE", WITHOUT | {"spatial": True}),
    "temporal": ("+T-PAE", WITHOUT | {"temporal": True}),
    "affiliation": ("+L_A", WITHOUT | {"affiliation": 1.0}),
    "spatial-temporal": ("+S-PAE+T-PAE", {"affiliation": 0.0}),
    "spatial-affiliation": ("+S-PAE+L_A", {"temporal": False}),
    "temporal-affiliation": ("+T-PAE+L_A", {"spatial": False}),
}
"""Variant -> what Table III calls it, and what it changes."""
FILTER_SIZES = (10, 20, 30, 50)
"""Of Table IV, besides the default."""
INSTRUCTORS = {
    "vgg16": "vgg16",
    "vgg19": "vgg19",
    "resnet50": "resnet50",
    "resnet101": "resnet101",
    "vit": "vit_base_patch16_224",
    "swin-t": "swin_tiny_patch4_window7_224",
}
"""What Table V calls an instruction encoder -> its name in timm."""
PRIORS = {
    "AID": ("vgg16", "vgg19", "resnet101", "vit", "swin-t"),
    "ImageNet": ("vgg16", "resnet50", "swin-t"),
    "RESISC45": ("vgg16", "resnet50", "swin-t"),
}
"""What they are trained on in Table V, besides the default."""


class PIRHardConfig(PIRConfig):
    """Defaults of section V-C, and the best filter size of Table IV."""

    keep: int = Field(40, ge=1)
    """Filter size K: how many tokens are kept, of a Swin-T's 49 and their mean; all where there are fewer."""


def _prior(instructor: str, trained_on: str) -> dict[str, Any]:
    weights = "timm" if trained_on == "ImageNet" else f"scenes://paper/{instructor}-{trained_on.lower()}"
    return {"instruction_backbone": INSTRUCTORS[instructor], "instruction_weights": weights}


def _row(table: str, variant: str = "") -> Published:
    return Published(paper="pir2024", table=table, method="pir-itr-hard", variant=variant)


@method("pir-itr-hard")
class PIRHard(PIR):
    """PIR-ITR (J. Pan et al., "PIR", 2024) with the hard belief strategy: section IV-B, Eqs. 3 and 4; Tables I, III, IV
    and V.

    The K tokens of highest belief are kept, in that order, so the first, which S-PAE ends with, is the one believed in
    most and not the mean of all.
    """

    Config: ClassVar[type[PIRHardConfig]] = PIRHardConfig
    config: PIRHardConfig
    variants: ClassVar[dict[str, dict[str, Any]]] = (
        {name: overlay for name, (_, overlay) in ABLATION.items()}
        | {f"keep-{size}": {"keep": size} for size in FILTER_SIZES}
        | {f"{name}-{source.lower()}": _prior(name, source) for source, names in PRIORS.items() for name in names}
        | {"random-prior": {"instruction_weights": "none"}, "prefix-labels": {"labels": "prefix"}}
    )
    published: ClassVar[dict[str, Published]] = (
        {"": _row("table1"), "prefix-labels": _row("table1")}
        | {name: _row("table3", printed) for name, (printed, _) in ABLATION.items()}
        | {f"keep-{size}": _row("table4", f"k={size} hard") for size in FILTER_SIZES}
        | {
            f"{name}-{source.lower()}": _row("table5", f"instruction={name}@{source}")
            for source, names in PRIORS.items()
            for name in names
        }
    )

    def believe(self, tokens: Tensor, belief: Tensor) -> Tensor:
        """Eq. 4."""
        return select(tokens, belief, self.config.keep)
