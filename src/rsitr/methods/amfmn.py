"""AMFMN without its visual-guided attention: each of its three methods has its own.

Z. Yuan et al., "Exploring a Fine-Grained Multiscale Method for Cross-Modal Remote Sensing Image Retrieval", IEEE TGRS
2022: visual and text embedding section III-B, MVSA III-C, VGMF III-D, the dynamic margin III-E.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rsitr.methods.amfmn_query_text import QueryEncoder
from rsitr.methods.amfmn_settings import (
    ABLATIONS,
    BRANCHES,
    FIXED_MARGIN,
    MARGINS,
    OF_DATASET,
    RELEASED,
    AMFMNConfig,
)
from rsitr.methods.base import method, those
from rsitr.methods.dual_encoder import PyramidEncoder
from rsitr.nn.text import GRUEncoder
from rsitr.records.cell import Published


class AMFMN(PyramidEncoder):
    """The frame: F_v of images, s and k of texts, and for each pair the score of F_v and the guided, fused text.

    The loss is Eq. 30, or Eq. 28 with a fixed margin.
    """

    Config: ClassVar[type[AMFMNConfig]] = AMFMNConfig
    config: AMFMNConfig
    of_dataset: ClassVar[dict[str, dict[str, Any]]] = OF_DATASET
    text: QueryEncoder  # type: ignore[assignment]

    def __init__(self, config: AMFMNConfig, text: GRUEncoder):
        super().__init__(config, text)
        width = config.width
        self.text = QueryEncoder(text, config.text_mode, width, config.text_head)
        if config.visual == "mvsa":
            self.mvsa = self.make_mvsa()
        if config.text_mode == "joint" and config.fusion == "gate":
            self.gate = nn.Linear(2 * width, width)

    @property
    def departures(self) -> list[str]:
        """From the paper, or for ``released`` from the authors' code."""
        config, paper = self.config, self.config.form == "paper"
        dynamic, mode = config.margin_type == "dynamic", config.text_mode
        largest, summed = config.negatives == "hardest", config.negatives == "all"
        mvsa = paper and config.visual == "mvsa"
        found = {
            "a GRU of words as wide as the skip-thoughts of the authors' code": not paper,
            "cosine, as in the authors' code, where Eqs. 1-4 have a product": paper and config.score == "cosine",
            "a sentence feeds no keyword branch, as in Table VI; in section V-C it does": paper and mode == "sentence",
            "keywords feed no sentence branch, as in Table VI; in section V-C they do": paper and mode == "keywords",
            "hardest negative of Eq. 30 by its violation; the paper leaves it open": dynamic and largest,
            "S of the negative's caption and image in both sums of Eq. 30; the paper leaves it open": dynamic,
            "not the sum over all negatives of Eq. 28": not dynamic and not summed,
            "three channels in MVSA, as in the authors' code; the paper states no number": mvsa,
            "a linear layer from the cells of MVSA to the mask, as in the authors' code": mvsa,
        }
        return [*super().departures, *those(found)]

    @abstractmethod
    def guide(self, images: Tensor, texts: Tensor) -> Tensor:
        """Visual-guided texts [I, C, D] of all pairs of images [I, D] and texts [C, D]."""

    @property
    def guides_direction(self) -> bool:
        """Whether the image changes more of a text on its own than its length, which a cosine ignores."""
        return self.config.guided

    def direction(self, vectors: Tensor) -> Tensor:
        """Vectors [..., D] as they are compared: of unit length for a cosine."""
        return vectors if self.config.score == "dot" else F.normalize(vectors, dim=-1)

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
        """Cosine [I, C] of F_v and F_t, the text of each pair (Eq. 4), or their dot product."""
        images, texts = images.float(), texts.float()
        if texts.ndim == 2 and not self.guides_direction:
            return self.direction(images) @ self.direction(texts).t()
        fused = self.fuse(images, texts)
        return torch.einsum("id,icd->ic", self.direction(images), self.direction(fused))

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

    variants: ClassVar[dict[str, dict[str, Any]]] = {"released": RELEASED, **BRANCHES, **FIXED_MARGIN}
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
        products = (self.direction(images) * gates) @ texts.t()
        if self.config.score == "dot":
            return products
        return products / (gates.square() @ texts.square().t()).clamp(min=1e-16).sqrt()


@method("amfmn-fusion")
class AMFMNFusion(AMFMN):
    """AMFMN (Z. Yuan et al., IEEE TGRS 2022) with fusion attention: section III-D1, Eqs. 21 and 22; Table II."""

    variants: ClassVar[dict[str, dict[str, Any]]] = {"released": RELEASED, **BRANCHES, **FIXED_MARGIN}
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


def _row(table: str, variant: str = "") -> Published:
    return Published(paper="amfmn2022", table=table, method="amfmn", variant=variant)


@method("amfmn-sim")
class AMFMNSim(AMFMN):
    """AMFMN (Z. Yuan et al., IEEE TGRS 2022) with similarity attention: section III-D1, Eqs. 23-25; Tables II-VI.

    The gate of Eq. 25 is one number per pair, and the cosine of Eq. 4 ignores the length of a text: for a sentence
    alone the gate cancels, and only the attention's linear layer on the text is left (not with ``score: dot``). In a
    joint query the gate weighs the sentence against the keywords. The authors' code has a gate for every feature.
    """

    variants: ClassVar[dict[str, dict[str, Any]]] = {
        "released": RELEASED,
        **BRANCHES,
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
            if self.guides_direction or config.text_mode == "joint":
                self.image_part = nn.Linear(config.width, config.width)

    @property
    def guides_direction(self) -> bool:
        """A gate for the whole text keeps its direction, and only a dot product sees its length."""
        return self.config.guided and (self.config.form == "released" or self.config.score == "dot")

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
