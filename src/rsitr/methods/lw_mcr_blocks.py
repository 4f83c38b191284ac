"""What LW-MCR is built from: SqueezeNet, a convolutional text encoder, bilinear fusion."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import SqueezeNet1_1_Weights, squeezenet1_1

from rsitr.captions.words import PAD, Vocabulary
from rsitr.errors import ParamsError
from rsitr.nn.locations import resolve
from rsitr.nn.pixels import PixelFormat
from rsitr.nn.pretrained import note
from rsitr.nn.pyramid import Pyramid
from rsitr.nn.state import load_state
from rsitr.nn.text import TextEncoder, word_indices
from rsitr.nn.weights import downloaded

NAME = "squeezenet1_1"
CUTS = (5, 8)
"""Layers at which a level ends: after the second Fire module, and before the last pooling."""


class SqueezeNet(nn.Module):
    """SqueezeNet 1.1 (F. Iandola et al., 2016), its low map [B, 128, h, w] that of its second Fire module.

    It has the interface of a ``PyramidBackbone`` of one low level and two high ones, the last of them [B, 512, h/4,
    w/4]. ``weights`` is ``torchvision`` (its ImageNet weights, downloaded), ``none`` or a location that
    ``rsitr.nn.locations.resolve`` understands.
    """

    def __init__(
        self,
        name: str,
        weights: str,
        size: int,
        mean: tuple[float, ...] | None = None,
        std: tuple[float, ...] | None = None,
        options: dict[str, Any] | None = None,
        setting: str = "image_weights",
    ):
        super().__init__()
        if name != NAME or weights == "timm" or options:
            raise ParamsError(f"{NAME} takes image_weights torchvision, none or a file, and no image_options")
        imagenet = SqueezeNet1_1_Weights.IMAGENET1K_V1
        self.model = squeezenet1_1()
        self.model.classifier = nn.Identity()
        if weights != "none":
            path = downloaded(imagenet.url) if weights == "torchvision" else resolve(weights)
            load_state(self.model, path, ignore=("classifier",))
            note(setting, imagenet.url if weights == "torchvision" else weights, path)
        facts = imagenet.transforms()
        self.pixels = PixelFormat(size, mean or tuple(facts.mean), std or tuple(facts.std), facts.interpolation.value)
        with torch.no_grad():
            self.shapes = [tuple(level.shape[1:]) for level in self._maps(torch.zeros(1, 3, size, size))]

    def forward(self, pixels: Tensor) -> Tensor:
        """Packed maps [B, 1, sum of C h w] of pixels [B, 3, H, W]."""
        return torch.cat([level.flatten(1) for level in self._maps(pixels)], 1).unsqueeze(1)

    def unpack(self, packed: Tensor) -> Pyramid:
        """Maps from packed ones [B, 1, K]."""
        parts = packed.squeeze(1).split([c * h * w for c, h, w in self.shapes], 1)
        low, *high = (part.unflatten(1, shape) for part, shape in zip(parts, self.shapes, strict=True))
        return Pyramid([low], high)

    def _maps(self, pixels: Tensor) -> list[Tensor]:
        layers, maps = self.model.features, [pixels]
        for start, end in zip((0, *CUTS), (*CUTS, len(layers)), strict=True):
            maps.append(layers[start:end](maps[-1]))
        return maps[1:]


class TextCNN(TextEncoder):
    """Word embeddings, kernels of several lengths, the largest response of each (Y. Kim, EMNLP 2014, section 2).

    A kernel stays inside the caption; one longer than the caption is applied once, to the caption padded with zeros.
    ``dropout`` applies to the pooled responses.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        *,
        word_size: int,
        kernels: tuple[int, ...],
        channels: int,
        max_words: int,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.vocabulary, self.max_words = vocabulary, max_words
        self.kernels, self.width = kernels, len(kernels) * channels
        self.embed = nn.Embedding(len(vocabulary), word_size, padding_idx=PAD)
        self.convolutions = nn.ModuleList(nn.Conv1d(word_size, channels, kernel) for kernel in kernels)
        self.dropout = nn.Dropout(dropout)

    def tokenize(self, captions: list[str]) -> Tensor:
        """Word indices [B, L]."""
        return word_indices(self.vocabulary, captions, self.max_words)

    def forward(self, tokens: Tensor) -> Tensor:
        """Responses [B, L, width] of the kernels that start at each word; zero where one would leave the caption."""
        embedded = self.embed(tokens).transpose(1, 2)
        lengths = (tokens != PAD).sum(1, keepdim=True)
        starts = torch.arange(tokens.shape[1], device=tokens.device)
        states = []
        for kernel, convolution in zip(self.kernels, self.convolutions, strict=True):
            reach = kernel - 1
            inside = starts <= (lengths - 1 - reach).clamp(min=0)
            states.append(F.relu(convolution(F.pad(embedded, (0, reach)))) * inside[:, None])
        return torch.cat(states, 1).transpose(1, 2)

    def pool(self, states: Tensor, tokens: Tensor) -> Tensor:
        """The largest responses [B, width]."""
        return self.dropout(states.amax(1))


EPSILON = 1e-5
"""Added under the square root, whose slope would otherwise be infinite where no channel responds."""


class BilinearPooling(nn.Module):
    """How often each low-level channel responds together with each high-level one (T.-Y. Lin et al., ICCV 2015, Eq. 2).

    Both maps are brought to ``channels`` non-negative channels and one size: the low one to half its size by a
    convolution, the high one to twice its size by repetition and a border of zeros. The low map's side is meant to be
    four times the high map's.
    """

    def __init__(self, low: int, high: int, channels: int):
        super().__init__()
        self.low = nn.Sequential(nn.Conv2d(low, channels, 3, 2, padding=1), nn.BatchNorm2d(channels), nn.ReLU())
        self.high = nn.Conv2d(high, channels, 1)
        self.high_norm = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU())

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        """[B, channels, channels]: mean products of low (rows) and high channels, their square roots, each column of
        unit length; float32."""
        below = self.low(low)
        above = self._doubled(high, below.shape[2], below.shape[3])
        products = torch.einsum("bchw,bdhw->bcd", below, above).float() / below[0, 0].numel()
        return F.normalize((products + EPSILON).sqrt(), dim=1)

    def _doubled(self, high: Tensor, height: int, width: int) -> Tensor:
        """The reduced high map: 1 x 1 convolution before repetition, which gives the same for a quarter of the work."""
        reduced = F.interpolate(F.conv2d(high, self.high.weight), scale_factor=2.0)
        assert self.high.bias is not None
        return self.high_norm(_centred(reduced, height, width) + self.high.bias[:, None, None])


def _centred(maps: Tensor, height: int, width: int) -> Tensor:
    """Maps centred in a frame of zeros, or cropped to it."""
    rows, columns = height - maps.shape[2], width - maps.shape[3]
    return F.pad(maps, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))


class ChannelAttention(nn.Module):
    """Channel gates from their mean and largest values (CBAM, S. Woo et al., ECCV 2018, Eq. 2)."""

    def __init__(self, channels: int, reduction: int):
        super().__init__()
        self.squeeze = nn.Conv2d(channels, channels // reduction, 1, bias=False)
        self.excite = nn.Conv2d(channels // reduction, channels, 1, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        """[B, C, h, w] -> the same, gated."""
        summaries = maps.mean((2, 3), keepdim=True), maps.amax((2, 3), keepdim=True)
        return maps * torch.stack([self.excite(F.relu(self.squeeze(part))) for part in summaries]).sum(0).sigmoid()


class SpatialAttention(nn.Module):
    """Place gates from their mean and largest channels (CBAM, S. Woo et al., ECCV 2018, Eq. 3)."""

    def __init__(self, kernel: int):
        super().__init__()
        self.gate = nn.Conv2d(2, 1, kernel, padding=kernel // 2, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        """[B, C, h, w] -> the same, gated."""
        return maps * self.gate(torch.cat([maps.mean(1, keepdim=True), maps.amax(1, keepdim=True)], 1)).sigmoid()


def attended(low: int, high: int) -> nn.Sequential:
    """A convolution that halves the size, with channel and spatial attention."""
    convolution = nn.Conv2d(low, high, 3, 2, padding=1)
    return nn.Sequential(convolution, nn.BatchNorm2d(high), nn.PReLU(), ChannelAttention(high, 4), SpatialAttention(7))


class BilinearEmbedding(nn.Module):
    """The image tower of LW-MCR after its backbone: two small convolutions read the bilinear pooling as a picture."""

    CHANNELS = 64

    def __init__(self, low: int, high: int, width: int, dropout: float):
        super().__init__()
        self.pool = BilinearPooling(low, high, self.CHANNELS)
        first = nn.Sequential(attended(1, 4), nn.MaxPool2d(2), nn.Dropout(dropout))
        second = nn.Sequential(attended(4, 8), nn.Dropout(dropout))
        # Three halvings of the picture, eight channels of it.
        self.layers = nn.Sequential(first, second, nn.Flatten(), nn.Linear(8 * (self.CHANNELS // 8) ** 2, width))

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        """Embeddings [B, width], of any length, of maps [B, C, 4h, 4w] and [B, D, h, w]."""
        return self.layers(self.pool(low, high).unsqueeze(1))
