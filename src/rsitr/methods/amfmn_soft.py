"""AMFMN-soft: the image opens a gate for every feature of the text."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from rsitr.methods.amfmn import AMFMN, RELEASED, AMFMNConfig
from rsitr.methods.base import method
from rsitr.nn.text import GRUEncoder
from rsitr.records.cell import Published


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

    def score(self, images: Tensor, texts: Tensor) -> Tensor:
        """As in ``AMFMN``; for a text on its own, by two matrix products, without a vector for each pair.

        With g the gate, t the text and v the direction of the image: v.(g t) is (v g).t, and |g t|^2 is g^2.t^2.
        """
        if texts.ndim == 3 or not self.config.guided:
            return super().score(images, texts)
        images, texts = images.float(), texts.float()
        gates = self.image_gate(images).sigmoid()
        products = (F.normalize(images, dim=1) * gates) @ texts.t()
        return products / (gates.square() @ texts.square().t()).clamp(min=1e-16).sqrt()
