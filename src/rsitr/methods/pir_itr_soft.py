"""PIR-ITR that weights every token by how much the instruction believes in it."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from rsitr.methods.base import method
from rsitr.methods.pir import PIR
from rsitr.nn.belief import weigh
from rsitr.records.cell import Published


@method("pir-itr-soft")
class PIRSoft(PIR):
    """PIR-ITR (J. Pan et al., "PIR", 2024) with the soft belief strategy: section IV-B, Eqs. 3, 5 and 6; Table I.

    All tokens are kept in their original order, weighted by belief and rank, so that S-PAE ends with the mean token.
    Eqs. 5 and 6 are reconstructions (``rsitr.nn.belief``).
    """

    variants: ClassVar[dict[str, dict[str, Any]]] = {
        "random-prior": {"instruction_weights": "none"},
        "prefix-labels": {"labels": "prefix"},
    }
    published: ClassVar[dict[str, Published]] = {
        "": Published(paper="pir2024", table="table1", method="pir-itr-soft"),
        "prefix-labels": Published(paper="pir2024", table="table1", method="pir-itr-soft"),
    }

    def believe(self, tokens: Tensor, belief: Tensor) -> Tensor:
        """Eqs. 5 and 6."""
        return weigh(tokens, belief)
