"""AMFMN without its visual-guided attention: each of its three methods has its own.

Z. Yuan et al., "Exploring a Fine-Grained Multiscale Method for Cross-Modal Remote Sensing Image Retrieval", IEEE TGRS
2022: visual and text embedding section III-B, MVSA III-C, VGMF III-D, the dynamic margin III-E.
"""

from __future__ import annotations

from abc import abstractmethod
from itertools import product
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from rsitr.methods.amfmn_query_text import QueryEncoder
from rsitr.methods.base import Optimizer, method
from rsitr.methods.dual_encoder import DualEncoderConfig, PyramidEncoder
from rsitr.methods.triplet import TripletConfig
from rsitr.nn.pyramid import Form
from rsitr.nn.text import GRUEncoder
from rsitr.records.cell import Published


class AMFMNConfig(DualEncoderConfig, TripletConfig):
    """Defaults of section V-B; margin and decay are those of Table II's row, which is Table V's best."""

    epochs: int = Field(150, ge=1)
    optimizer: Optimizer = "adam"
    learning_rate: float = Field(1e-4, gt=0)
    step_epochs: int = Field(20, ge=1)
    step_factor: float = Field(0.7, gt=0)
    augment: Literal["none", "crop-flip", "randaugment", "rotate-crop"] = "rotate-crop"
    image_size: int = Field(256, ge=16)
    text_encoder: Literal["gru", "bigru"] = "bigru"  # type: ignore[assignment]
    text_pool: Literal["last", "mean"] = "mean"
    text_width: int = Field(512, ge=1)
    width: int = Field(512, ge=1)
    margin: float = Field(0.6, gt=0)
    margin_type: Literal["fixed", "dynamic"] = "dynamic"
    form: Form = "paper"
    """Whether MVSA and the guidance follow the paper or the authors' code."""
    low_levels: int = Field(3, ge=1)
    """How many levels of the backbone are low features; two more are high ones."""
    visual: Literal["mvsa", "global"] = "mvsa"
    """Image features: filtered by MVSA, F_v, or not, v(g) (Table VI)."""
    guided: bool = True
    """Whether the image guides the text, s(v) and k(v), or not, s(g) and k(g) (Table VI)."""
    fusion: Literal["gate", "mean"] = "gate"
    """How sentence and keywords are fused: Eq. 27, or their mean (m5 and m8 of Table VI)."""
    text_head: bool = False
    """A linear layer and ReLU on the text, which the authors' code has."""


RELEASED: dict[str, Any] = {
    "form": "released",
    "low_levels": 2,
    "epochs": 70,
    "batch_size": 100,
    "text_encoder": "gru",
    "text_pool": "last",
    "text_width": 2400,
    "text_head": True,
    "margin": 0.2,
    "margin_type": "fixed",
    "negatives": "all",
}
"""What the authors' code trains. Its skip-thoughts are unavailable; a GRU of the same width replaces them."""


class AMFMN(PyramidEncoder):
    """The frame: F_v of images, s and k of texts, and for each pair the cosine of F_v and the guided, fused text.

    The loss is Eq. 30, or Eq. 28 with a fixed margin.
    """

    Config: ClassVar[type[AMFMNConfig]] = AMFMNConfig
    config: AMFMNConfig
    text: QueryEncoder  # type: ignore[assignment]

    def __init__(self, config: AMFMNConfig, text: GRUEncoder):
        super().__init__(config, text)
        width = config.width
        self.text = QueryEncoder(text, config.query, width, config.text_head)
        if config.visual == "mvsa":
            self.mvsa = self.make_mvsa()
        if config.query == "joint" and config.fusion == "gate":
            self.gate = nn.Linear(2 * width, width)

    @abstractmethod
    def guide(self, images: Tensor, texts: Tensor) -> Tensor:
        """Visual-guided texts [I, C, D] of all pairs of images [I, D] and texts [C, D]."""

    @property
    def guides_direction(self) -> bool:
        """Whether the image changes the direction of a text on its own; the cosine ignores its length."""
        return self.config.guided

    def encode_images(self, images: Tensor) -> Tensor:
        """F_v [B, D], or v(g)."""
        maps = self.maps(images)
        features = self.whole(maps)
        return self.mvsa(maps) * features if self.config.visual == "mvsa" else features

    def tokenize(self, captions: list[str]) -> Tensor:
        """Words of sentences [B, L] or of sentence and keywords [B, 1 + N, L]."""
        return self.text.tokenize(captions)

    def encode_texts(self, tokens: Tensor) -> Tensor:
        """s or k [B, D], or both [B, 2, D]."""
        return self.text(tokens)

    def score(self, images: Tensor, texts: Tensor) -> Tensor:
        """Cosine [I, C] of F_v and F_t, the text of each pair (Eq. 4)."""
        images, texts = images.float(), texts.float()
        directions = F.normalize(images, dim=1)
        if texts.ndim == 2 and not self.guides_direction:
            return directions @ F.normalize(texts, dim=1).t()
        fused = self.fuse(images, texts)
        return torch.einsum("id,icd->ic", directions, F.normalize(fused, dim=2))

    def fuse(self, images: Tensor, texts: Tensor) -> Tensor:
        """F_t [I, C, D] of all pairs: Eqs. 26 and 27 of the guided sentence and keywords, or the only one present."""
        parts = [texts] if texts.ndim == 2 else texts.unbind(1)
        guided = [self._guided(images, part) for part in parts]
        if len(guided) == 1:
            return guided[0]
        sentence, keywords = guided
        if self.config.fusion == "mean":
            return (sentence + keywords) / 2
        weight = self.gate(torch.cat([F.normalize(part, dim=2) for part in guided], 2)).sigmoid()
        return weight * sentence + (1 - weight) * keywords

    def _guided(self, images: Tensor, texts: Tensor) -> Tensor:
        return self.guide(images, texts) if self.config.guided else texts.expand(len(images), *texts.shape)


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
