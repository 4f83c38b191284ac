"""AMFMN-sim: the similarity of image and text is the gate for the text."""

from __future__ import annotations

from itertools import product
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from rsitr.methods.amfmn import AMFMN, RELEASED, AMFMNConfig
from rsitr.methods.base import method
from rsitr.nn.text import GRUEncoder
from rsitr.records.cell import Published

UNGUIDED = {"guided": False}
ABLATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "m1": ("m1 v(g)+s(g)", UNGUIDED | {"visual": "global"}),
    "m2": ("m2 v(g)+k(g)", UNGUIDED | {"visual": "global", "query": "keywords"}),
    "m3": ("m3 Fv+s(g)", UNGUIDED),
    "m4": ("m4 Fv+k(g)", UNGUIDED | {"query": "keywords"}),
    "m5": ("m5 Fv+s(g)+k(g)", UNGUIDED | {"query": "joint", "fusion": "mean"}),
    "m8": ("m8 Fv+s(v)+k(v)", {"query": "joint", "fusion": "mean"}),
}
"""Rows of Table VI; m6, m7 and m9 are the method itself on sentences, keywords and both."""
MARGINS: dict[str, tuple[str, dict[str, Any]]] = {
    f"alpha-{margin}": (f"alpha={margin}", {"margin": margin, "margin_type": "fixed"}) for margin in (0.4, 0.6, 0.8)
} | {
    f"gamma-{margin}-beta-{beta}": (f"gamma={margin} beta={beta}", {"margin": margin, "beta": float(beta)})
    for margin, beta in product((0.4, 0.6, 0.8), (3, 5, 7))
    if (margin, beta) != (0.6, 5)
}
"""Rows of Table V; gamma = .6 with beta = 5 is the method itself."""


def _row(table: str, variant: str = "") -> Published:
    return Published(paper="amfmn2022", table=table, method="amfmn", variant=variant)


@method("amfmn-sim")
class AMFMNSim(AMFMN):
    """AMFMN (Z. Yuan et al., IEEE TGRS 2022) with similarity attention: section III-D1, Eqs. 23-25; Tables II-VI.

    The gate of Eq. 25 is one number per pair, and the cosine of Eq. 4 ignores the length of a text: for a sentence
    alone the gate cancels, and only the attention's linear layer on the text is left. In a joint query the gate weighs
    the sentence against the keywords. The authors' code has a gate for every feature.
    """

    variants: ClassVar[dict[str, dict[str, Any]]] = {
        "released": RELEASED,
        **{name: overlay for name, (_, overlay) in (ABLATIONS | MARGINS).items()},
    }
    published: ClassVar[dict[str, Published]] = {
        "": Published(paper="amfmn2022", table="table2", method="amfmn-sim"),
        "keywords": _row("table3"),
        "joint": _row("table4", "input=sentence+keywords"),
        **{name: _row("table6", label) for name, (label, _) in ABLATIONS.items()},
        **{name: _row("table5", label) for name, (label, _) in MARGINS.items()},
    }

    def __init__(self, config: AMFMNConfig, text: GRUEncoder):
        super().__init__(config, text)
        if config.guided:
            self.text_part = nn.Linear(config.width, config.width)
            if self.guides_direction or config.query == "joint":
                self.image_part = nn.Linear(config.width, config.width)

    @property
    def guides_direction(self) -> bool:
        """A gate for the whole text keeps its direction."""
        return self.config.guided and self.config.form == "released"

    def encode_texts(self, tokens: Tensor) -> Tensor:
        """Eq. 24, f(t), of the sentence, the keywords, or both."""
        texts = super().encode_texts(tokens)
        return self.text_part(texts) if self.config.guided else texts

    def guide(self, images: Tensor, texts: Tensor) -> Tensor:
        """Eq. 25, or a gate for every feature."""
        image_parts = self.image_part(images)
        if self.config.form == "released":
            return (image_parts[:, None] * texts).sigmoid() * texts
        gates = (F.normalize(image_parts, dim=1) @ F.normalize(texts, dim=1).t()).sigmoid()
        return gates[..., None] * texts
