"""AMFMN-fusion: image and text together make the text's features and the gates for them."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn

from rsitr.methods.amfmn import AMFMN, RELEASED, AMFMNConfig
from rsitr.methods.base import method
from rsitr.nn.text import GRUEncoder
from rsitr.records.cell import Published


@method("amfmn-fusion")
class AMFMNFusion(AMFMN):
    """AMFMN (Z. Yuan et al., IEEE TGRS 2022) with fusion attention: section III-D1, Eqs. 21 and 22; Table II."""

    variants: ClassVar[dict[str, dict[str, Any]]] = {"released": RELEASED}
    published: ClassVar[dict[str, Published]] = {
        "": Published(paper="amfmn2022", table="table2", method="amfmn-fusion"),
    }

    def __init__(self, config: AMFMNConfig, text: GRUEncoder):
        super().__init__(config, text)
        if config.guided:
            # A layer on [v; t] is the sum of one on v and one on t, so that neither is repeated for every pair.
            self.image_part = nn.Linear(config.width, 2 * config.width)
            self.text_part = nn.Linear(config.width, 2 * config.width, bias=False)

    def guide(self, images: Tensor, texts: Tensor) -> Tensor:
        """Eq. 22."""
        features, gates = (self.image_part(images)[:, None] + self.text_part(texts)).chunk(2, 2)
        return features * gates.sigmoid()
