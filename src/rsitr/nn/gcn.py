"""Graph convolutions over the cells of a feature map."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F


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
