"""CAMP with the loss of its paper."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from torch import Tensor

from rsitr.methods.base import Batch, method
from rsitr.methods.camp import CAMP, KEYWORDS_ROW, VARIANTS, CAMPConfig
from rsitr.nn.losses import matching_loss
from rsitr.records.cell import Published

ROW = Published(paper="amfmn2022", table="table2", method="camp-bce")


class CAMPBCEConfig(CAMPConfig):
    """What params.yaml may set."""

    negatives: Literal["hardest", "all"] = "hardest"


@method("camp-bce")
class CAMPBCE(CAMP):
    """CAMP (Z. Wang et al., ICCV 2019): messages and gates of sections 3.1-3.3, binary cross-entropy of section 3.4.

    Image: regions, projected. Text: the states of a bidirectional GRU, its directions averaged. For each pair, every
    region hears a mean of the words and every word a mean of the regions; gates decide how much of that is fused into
    the fragment; a perceptron on the summary of both sides gives the probability of a match. Training covers the
    attention alone, whose score is the cosine of what both sides hear, then the gates, then everything (``STAGES``).

    The paper's regions are boxes of a detector; here they are the cells of the backbone's last map. Variant
    ``released`` is the authors' code, which departs from the paper (``rsitr.nn.message_passing_released``). The row of
    AMFMN's Table II was produced with one pooled token on either side, variant ``single-token``: each attention then
    has nothing to choose from.
    """

    Config: ClassVar[type[CAMPBCEConfig]] = CAMPBCEConfig
    config: CAMPBCEConfig
    variants: ClassVar[dict[str, dict[str, Any]]] = VARIANTS
    published: ClassVar[dict[str, Published]] = {"": ROW, "single-token": ROW, "keywords": KEYWORDS_ROW}

    def loss(self, batch: Batch) -> Tensor:
        """L_BCE-h of section 3.4."""
        return matching_loss(self.matches(batch), batch.image_ids, self.config.negatives)
