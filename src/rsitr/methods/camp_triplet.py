"""CAMP with a ranking loss."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from rsitr.methods.base import Batch, method
from rsitr.methods.camp import CAMP, KEYWORDS_ROW, VARIANTS, CAMPConfig
from rsitr.methods.triplet import TripletConfig
from rsitr.records.cell import Published

ROW = Published(paper="amfmn2022", table="table2", method="camp-triplet")


class CAMPTripletConfig(CAMPConfig, TripletConfig):
    """What params.yaml may set."""


@method("camp-triplet")
class CAMPTriplet(CAMP):
    """CAMP (Z. Wang et al., ICCV 2019): model of sections 3.1-3.4, with a hinge on the match instead of its own loss.

    The score is that of ``camp-bce``, which says more about it and about the variants. The loss is a hinge on the
    hardest negative of each query (VSE++, Eq. 6), as in the row CAMP-triplet of AMFMN's Table II.
    """

    Config: ClassVar[type[CAMPTripletConfig]] = CAMPTripletConfig
    config: CAMPTripletConfig
    variants: ClassVar[dict[str, dict[str, Any]]] = VARIANTS
    published: ClassVar[dict[str, Published]] = {"": ROW, "single-token": ROW, "keywords": KEYWORDS_ROW}

    def loss(self, batch: Batch) -> Tensor:
        """The hinge between probabilities of a match."""
        return self.triplet_loss(self.matches(batch), batch)
