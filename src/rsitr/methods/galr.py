"""GaLR: global features of several levels and local features of a graph, fused into one vector of an image."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from rsitr.methods.base import method, those
from rsitr.methods.dual_encoder import DualEncoderConfig, PyramidEncoder
from rsitr.methods.triplet import TripletConfig
from rsitr.nn.pyramid import Form
from rsitr.nn.text import TextEncoder
from rsitr.records.cell import Published


def grid_adjacency(height: int, width: int) -> Tensor:
    """D^-1/2 (A + I) D^-1/2 of the cells of a grid, row by row: [h w, h w], neighbours share a side (T. Kipf,
    M. Welling, ICLR 2017, Eq. 2)."""
    places = torch.cartesian_prod(torch.arange(height), torch.arange(width))
    distance = (places[:, None] - places[None]).abs().sum(2)
    linked = (distance <= 1).float()
    scale = linked.sum(1).rsqrt()
    return scale[:, None] * linked * scale


class GraphConvolutions(nn.Module):
    """Layers X -> ReLU(A X W) without bias, from the first of ``widths`` to the last (Kipf, Welling, Eq. 2)."""

    def __init__(self, widths: tuple[int, ...]):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(before, after, bias=False) for before, after in pairwise(widths))

    def forward(self, adjacency: Tensor, nodes: Tensor) -> Tensor:
        """[B, N, widths[-1]] of nodes [B, N, widths[0]]; ``adjacency`` [N, N] or [B, N, N]."""
        for layer in self.layers:
            nodes = F.relu(layer(adjacency @ nodes))
        return nodes


class GridGraph(nn.Module):
    """The local branch of GaLR on the cells of a feature map [C, h, w], each one node.

    A linear layer maps a cell to ``node_width`` numbers; three graph convolutions follow, the second halving that
    width, then a linear layer on all nodes together.
    """

    adjacency: Tensor

    def __init__(self, shape: tuple[int, int, int], node_width: int, width: int):
        super().__init__()
        channels, height, columns = shape
        self.register_buffer("adjacency", grid_adjacency(height, columns), persistent=False)
        self.reduce = nn.Linear(channels, node_width)
        self.convolutions = GraphConvolutions((node_width, node_width, node_width // 2, node_width))
        self.embed = nn.Linear(height * columns * node_width, width)

    def forward(self, maps: Tensor) -> Tensor:
        """Embeddings [B, width] of unit length of maps [B, C, h, w]."""
        nodes = self.reduce(maps.flatten(2).transpose(1, 2))
        return F.normalize(self.embed(self.convolutions(self.adjacency, nodes).flatten(1)), dim=1)


HEADS = 8
DROPOUT, GATE_DROPOUT = 0.1, 0.2


class MIDF(nn.Module):
    """GaLR's fusion (Z. Yuan et al., IEEE TGRS 2022): self-attention of each, attention of each guided by the other,
    and their sum with weights from both.

    Each of the two is a sequence of one, over which a softmax is 1: its attentions are linear maps of values, and their
    queries and keys, which the authors' code also has, change nothing. That code gives both parts the weight of the
    global one (``released``).
    """

    def __init__(self, width: int, form: Form):
        super().__init__()
        self.form = form
        sizes: dict[str, Any] = {
            "d_model": width,
            "nhead": HEADS,
            "dim_feedforward": 2 * width,
            "dropout": DROPOUT,
            "batch_first": True,
        }
        self.attend_global = nn.TransformerEncoderLayer(**sizes)
        self.attend_local = nn.TransformerEncoderLayer(**sizes)
        self.correct = nn.TransformerDecoderLayer(**sizes)
        self.supplement = nn.TransformerDecoderLayer(**sizes)
        self.weights = nn.Sequential(
            nn.Linear(width, width), nn.Sigmoid(), nn.Dropout(GATE_DROPOUT), nn.Linear(width, 2), nn.Softmax(1)
        )

    def forward(self, whole: Tensor, local: Tensor) -> Tensor:
        """Fused features [B, width] of global ones and local ones [B, width]."""
        wide, near = self.attend_global(whole[:, None]), self.attend_local(local[:, None])
        near = self.correct(near, wide)
        wide = self.supplement(wide, near)
        return self.fuse(wide[:, 0], near[:, 0])

    def fuse(self, whole: Tensor, local: Tensor) -> Tensor:
        """The dynamic fusion [B, width]: local features gate the global ones, which are added to them."""
        corrected, supplemented = local.sigmoid() * whole, whole + local
        weights = self.weights(corrected + supplemented)
        first, second = weights[:, :1], weights[:, :1] if self.form == "released" else weights[:, 1:]
        return first * corrected + second * supplemented


class GaLRConfig(DualEncoderConfig, TripletConfig):
    """Defaults of the options of the authors' code for RSICD; on RSITMD it trains 20 epochs."""

    epochs: int = Field(70, ge=1)
    batch_size: int = Field(100, ge=2)
    clip_norm: float | None = None
    step_epochs: int = Field(20, ge=1)
    step_factor: float = Field(0.7, gt=0)
    augment: Literal["none", "crop-flip", "randaugment", "rotate-crop"] = "rotate-crop"
    image_size: int = Field(256, ge=16)
    text_encoder: Literal["gru", "bigru"] = "gru"  # type: ignore[assignment]
    text_width: int = Field(512, ge=1)
    """Of a GRU's state if ``text_head`` follows it; otherwise it is ``width``."""
    text_head: bool = False
    """A linear layer and ReLU on the text, which the authors' code has."""
    width: int = Field(512, ge=HEADS, multiple_of=HEADS)
    """Of the embedding."""
    negatives: Literal["hardest", "most-similar", "all"] = "all"
    form: Form = "paper"
    """Whether MVSA and the fusion follow the paper or the authors' code."""
    low_levels: int = Field(3, ge=1)
    """How many levels of the backbone are low features; two more are high ones."""
    node_width: int = Field(20, ge=2)
    """Numbers that describe a node."""


ROW = Published(paper="pir2024", table="table1", method="galr")


@method("galr")
class GaLR(PyramidEncoder):
    """GaLR (Z. Yuan et al., "Remote Sensing Cross-Modal Text-Image Retrieval Based on Global and Local Information",
    IEEE TGRS 2022), compared in PIR's Table I.

    Global: the pooled last map through AMFMN's MVSA (its section III-C), L2. Local: graph convolutions, linear, L2.
    MIDF fuses them. Text: GRU. Cosine similarity.

    The local branch is not the published one. In the paper its nodes are 20 detected objects, with an adjacency made
    from their similarity (DREA); the detector is not public. Here the nodes are the cells of the last map, linked to
    their neighbours. The published row is the one after multivariate re-ranking (``rsitr.retrieval.rerank``).

    ``released`` follows the code where it differs; its skip-thoughts are unavailable, so a GRU of their width replaces
    them.
    """

    Config: ClassVar[type[GaLRConfig]] = GaLRConfig
    config: GaLRConfig
    variants: ClassVar[dict[str, dict[str, Any]]] = {
        "released": {"form": "released", "low_levels": 2, "text_width": 2400, "text_head": True},
    }
    of_dataset: ClassVar[dict[str, dict[str, Any]]] = {"rsitmd": {"epochs": 20}}
    published: ClassVar[dict[str, Published]] = {"": ROW}

    def __init__(self, config: GaLRConfig, text: TextEncoder):
        super().__init__(config, text)
        width = config.width
        self.mvsa = self.make_mvsa()
        self.local = GridGraph(self.backbone.shapes[-1], config.node_width, width)
        self.fusion = MIDF(width, config.form)
        self.text_head = nn.Sequential(nn.Linear(text.width, width), nn.ReLU()) if config.text_head else nn.Identity()

    @property
    def departures(self) -> list[str]:
        """From the paper, or for ``released`` from the authors' code."""
        config = self.config
        found = {
            "local branch on cells of the last feature map instead of detected objects": True,
            "no multivariate re-ranking, which the published row has": True,
            "a GRU as wide as the skip-thoughts of the authors' code": config.text_head,
            "weights of both parts in MIDF; the authors' code gives both that of the global part": config.form
            == "paper",
        }
        return [*super().departures, *those(found)]

    def encode_images(self, images: Tensor) -> Tensor:
        """Embeddings [B, width] of unit length."""
        maps = self.maps(images)
        pooled = self.whole(maps)
        whole = F.normalize(self.mvsa(maps) * pooled, dim=1)
        return F.normalize(self.fusion(whole, self.local(maps.high[-1])), dim=1)

    def encode_texts(self, tokens: Tensor) -> Tensor:
        """Embeddings [B, width] of unit length."""
        return F.normalize(self.text_head(self.text.pool(self.text(tokens), tokens)), dim=1)
