"""Visual multiscale fusion: one vector from the last three levels of an image's feature maps."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from rsitr.nn.pyramid import Shape

DROPOUT = 0.2


class VMSF(nn.Module):
    """SWAN's VMSF (J. Pan et al., ICMR 2023), as in its authors' code.

    A 1 x 1 convolution of each level, all at the size of the middle one (nearest neighbour), concatenated by channel, a
    1 x 1 convolution with batch norm and ReLU, the mean over places, an MLP. The last level has twice the channels of
    the others.

    There is nothing between the two convolutions, so they are multiplied with each other before they meet the maps, and
    a level is enlarged after them or shrunk before; that gives the same for much less work. A bias before a batch norm
    changes nothing and is left out.
    """

    def __init__(self, shapes: list[Shape], width: int):
        super().__init__()
        self.widths = [width, width, 2 * width]
        self.levels = nn.ModuleList(
            nn.Linear(channels, wide, bias=False) for (channels, _, _), wide in zip(shapes, self.widths, strict=True)
        )
        self.merge = nn.Linear(sum(self.widths), width, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.ReLU(), nn.Dropout(DROPOUT), nn.Linear(2 * width, width)
        )

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Features [B, width] of three maps [B, C, h, w], each half as high and wide as the one before."""
        large, middle, small = maps
        large, middle, small = (
            self._convolve(level, number) for number, level in enumerate([large[..., ::2, ::2], middle, small])
        )
        merged = large + middle + F.interpolate(small, size=middle.shape[2:])
        return self.mlp(F.relu(self.norm(merged)).mean((2, 3)))

    def _convolve(self, level: Tensor, number: int) -> Tensor:
        """What a level contributes to the merged map, [B, width, h, w]."""
        merge = self.merge.weight.split(self.widths, 1)[number]
        weight = merge @ self.levels[number].weight
        return F.conv2d(level, weight[:, :, None, None])
