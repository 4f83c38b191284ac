"""Settings of AMFMN: those of the paper and of its authors' code, and the rows of its ablations and grids.

Z. Yuan et al., "Exploring a Fine-Grained Multiscale Method for Cross-Modal Remote Sensing Image Retrieval", IEEE TGRS
2022: settings section V-B, ablations V-E.
"""

from __future__ import annotations

from itertools import product
from typing import Any, Literal

from pydantic import Field

from rsitr.captions.queries import QueryMode
from rsitr.methods.base import Optimizer
from rsitr.methods.dual_encoder import DualEncoderConfig
from rsitr.methods.triplet import TripletConfig
from rsitr.nn.pyramid import Form


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
    clip_norm: float | None = None
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
    branches: Literal["given", "both"] = "given"
    """Which text branches work: those whose input a query has (m6 and m7 of Table VI), or both, each fed from the
    other's input where a query lacks its own (section V-C)."""
    score: Literal["cosine", "dot"] = "cosine"
    """Of image and text: their cosine, as in the authors' code, or their dot product, as in Eqs. 1-4."""
    text_head: bool = False
    """A linear layer and ReLU on the text, which the authors' code has."""

    @property
    def text_mode(self) -> QueryMode:
        """Which text branches there are, as a query that has their input."""
        return "joint" if self.branches == "both" else self.query


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
OF_DATASET: dict[str, dict[str, Any]] = {"rsitmd@released": {"learning_rate": 2e-4}}
"""Of the options that the authors' code has for each dataset."""
BRANCHES: dict[str, dict[str, Any]] = {
    "both-branches": {"branches": "both"},
    "keywords-both-branches": {"branches": "both", "query": "keywords"},
}
"""Section V-C: a sentence feeds the keyword branch, too, and keywords the sentence branch."""


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
FIXED = {"margin_type": "fixed", "negatives": "all"}
"""Eq. 28, which sums over all negatives."""
MARGINS: dict[str, tuple[str, dict[str, Any]]] = {
    f"alpha-{margin}": (f"alpha={margin}", FIXED | {"margin": margin}) for margin in (0.4, 0.6, 0.8)
} | {
    f"gamma-{margin}-beta-{beta}": (f"gamma={margin} beta={beta}", {"margin": margin, "beta": float(beta)})
    for margin, beta in product((0.4, 0.6, 0.8), (3, 5, 7))
    if (margin, beta) != (0.6, 5)
}
"""Rows of Table V; gamma = .6 with beta = 5 is the method itself."""
FIXED_MARGIN: dict[str, dict[str, Any]] = {"alpha-0.6": MARGINS["alpha-0.6"][1]}
"""Table V compares the margins of AMFMN-sim alone; of the others, a fixed one as large as their largest dynamic one."""
