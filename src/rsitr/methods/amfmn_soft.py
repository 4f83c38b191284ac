"""AMFMN-soft: the image opens a gate for every feature of the text."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn

from rsitr.cells import Published
from rsitr.methods.amfmn import AMFMN, RELEASED, AMFMNConfig
from rsitr.methods.base import method
from rsitr.nn.text import GRUEncoder


@method("amfmn-soft")
class AMFMNSoft(AMFMN):
    """AMFMN (Z. Yuan et al., IEEE TGRS 2022) with soft attention: section III-D1, Eq. 20; Table II."""

    variants: ClassVar[dict[str, dict[str, Any]]] = {"released": RELEASED}
    published: ClassVar[dict[str, Published]] = {
        "": Published(paper="amfmn2022", table="table2", method="amfmn-soft"),
    }

    def __init__(self, config: AMFMNConfig, text: GRUEncoder):
        super().__init__(config, text)
        if config.guided:
            self.image_gate = nn.Linear(config.width, config.width)

    def guide(self, images: Tensor, texts: Tensor) -> Tensor:
        """Eq. 20."""
        return self.image_gate(images).sigmoid()[:, None] * texts
