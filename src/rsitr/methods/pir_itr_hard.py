"""PIR-ITR that goes on with the tokens the instruction believes in most."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field
from torch import Tensor

from rsitr.cells import Published
from rsitr.methods.base import method
from rsitr.methods.pir import PIR, PIRConfig
from rsitr.nn.belief import select

WITHOUT: dict[str, Any] = {"spatial": False, "temporal": False, "affiliation": 0.0}


class PIRHardConfig(PIRConfig):
    """Defaults of section V-C, and the best filter size of Table IV."""

    keep: int = Field(40, ge=1)
    """Filter size K: how many tokens go on, of a Swin-T's 49 and their mean; all of them where there are fewer."""


def _ablation(variant: str) -> Published:
    return Published(paper="pir2024", table="table3", method="pir-itr-hard", variant=variant)


@method("pir-itr-hard")
class PIRHard(PIR):
    """PIR-ITR (J. Pan et al., "PIR", 2024) with the hard belief strategy: section IV-B, Eqs. 3 and 4; Tables I and III.

    The K tokens of the highest belief go on, in its order, so that the first of them, which S-PAE ends with, is the one
    that is believed in most and not the mean of all.
    """

    Config: ClassVar[type[PIRHardConfig]] = PIRHardConfig
    config: PIRHardConfig
    variants: ClassVar[dict[str, dict[str, Any]]] = {
        "baseline": WITHOUT,
        "spatial": WITHOUT | {"spatial": True},
        "temporal": WITHOUT | {"temporal": True},
        "affiliation": WITHOUT | {"affiliation": 1.0},
        "spatial-temporal": {"affiliation": 0.0},
        "spatial-affiliation": {"temporal": False},
        "temporal-affiliation": {"spatial": False},
        "random-prior": {"instruction_weights": "none"},
        "prefix-labels": {"labels": "prefix"},
    }
    published: ClassVar[dict[str, Published]] = {
        "": Published(paper="pir2024", table="table1", method="pir-itr-hard"),
        "baseline": _ablation("baseline"),
        "spatial": _ablation("+S-PAE"),
        "temporal": _ablation("+T-PAE"),
        "affiliation": _ablation("+L_A"),
        "spatial-temporal": _ablation("+S-PAE+T-PAE"),
        "spatial-affiliation": _ablation("+S-PAE+L_A"),
        "temporal-affiliation": _ablation("+T-PAE+L_A"),
        "prefix-labels": Published(paper="pir2024", table="table1", method="pir-itr-hard"),
    }

    def believe(self, tokens: Tensor, belief: Tensor) -> Tensor:
        """Eq. 4."""
        return select(tokens, belief, self.config.keep)
