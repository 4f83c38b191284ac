"""What PIR is built from: an instruction encoder that knows scenes, and progressive attention encoders."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rsitr.errors import Unsupported
from rsitr.methods.base import Corpus
from rsitr.nn.affiliation import class_numbers, prefix
from rsitr.nn.backbones import ImageBackbone
from rsitr.nn.features import state_sha
from rsitr.nn.pixels import PixelFormat
from rsitr.nn.token_sequence import check_heads
from rsitr.records.provenance import sha256_json


class Instructed(NamedTuple):
    """What an ``InstructedBackbone`` says about a batch."""

    tokens: Tensor
    """[B, N, C]"""
    instruction: Tensor
    """[B, G]"""


class InstructedBackbone(ImageBackbone):
    """An image model of timm whose tokens are packed into one vector with the pooled features of a second one.

    Packed, those of a frozen backbone are cached and read like any other tokens. ``instructor`` has the arguments of
    ``ImageBackbone`` for the second model, which never learns, is always in evaluation mode, and is not part of any
    checkpoint. Both models see the same image, each with its own size and statistics; the second has the size of the
    first if ``instructor`` states none.
    """

    def __init__(self, *, instructor: dict[str, Any], **arguments: Any):
        super().__init__(**arguments)
        size = instructor.get("size") or self.pixels.size
        encoder = ImageBackbone(**(instructor | {"size": size}))
        # In a tuple, so that neither the optimiser nor the checkpoint finds it.
        self._instructor = (encoder.eval().requires_grad_(False),)
        self.instruction_width = int(encoder.model.head_hidden_size)

    @property
    def instructor(self) -> ImageBackbone:
        """The second model."""
        return self._instructor[0]

    def extra_repr(self) -> str:
        """The token cache tells instructions apart by this."""
        encoder = self.instructor
        return f"instruction={sha256_json([str(encoder), state_sha(encoder), encoder.pixels])[:32]}"

    def forward(self, pixels: Tensor) -> Tensor:
        """Tokens and instruction, [B, 1, N C + G], of pixels [B, 3, H, W]."""
        return torch.cat([super().forward(pixels).flatten(1), self.instruct(pixels)], 1).unsqueeze(1)

    @torch.no_grad()
    def instruct(self, pixels: Tensor) -> Tensor:
        """Pooled features [B, G] of the instruction encoder."""
        encoder = self.instructor.to(pixels.device)
        pixels = rescale(pixels, self.pixels, encoder.pixels)
        return encoder.model(pixels.contiguous(memory_format=torch.channels_last))

    def unpack(self, packed: Tensor) -> Instructed:
        """Tokens and instruction from packed ones [B, 1, N C + G]."""
        tokens, instruction = packed.squeeze(1).tensor_split([-self.instruction_width], 1)
        return Instructed(tokens.unflatten(1, (-1, self.width)), instruction)


def rescale(pixels: Tensor, before: PixelFormat, after: PixelFormat) -> Tensor:
    """Pixels [B, 3, size, size] of one format, converted to the other."""
    if before.size != after.size:
        pixels = F.interpolate(pixels, (after.size, after.size), mode=after.interpolation, antialias=True)
    if (before.mean, before.std) == (after.mean, after.std):
        return pixels
    (mean, std), (other_mean, other_std) = (
        (pixels.new_tensor(values)[:, None, None] for values in (facts.mean, facts.std)) for facts in (before, after)
    )
    return (pixels * std + mean - other_mean) / other_std


def classes_of(config: Any, corpus: Corpus) -> Tensor:
    """int64 [images]: the number of each training image's class; raises ``Unsupported`` where no image has one."""
    if config.labels == "prefix":
        return class_numbers(tuple(map(prefix, corpus.image_names)))
    if not any(corpus.classes):
        raise Unsupported("the dataset states no scene classes: set labels to prefix, or affiliation to 0")
    return class_numbers(corpus.classes)


class AttentionBlock(nn.Module):
    """x = LN(x + MHA(q, x, x)), then LN(x + FFN(x)): Eqs. 7 and 8 where q is x itself, Eqs. 9 and 10 where it is not.

    The residual is that of the keys and values. FFN: linear to twice the width, LN, GELU, linear.
    """

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        check_heads(width, heads)
        self.attention = nn.MultiheadAttention(width, heads, dropout, batch_first=True)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, 2 * width), nn.LayerNorm(2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        self.norm_attention, self.norm_feed_forward = nn.LayerNorm(width), nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, states: Tensor, queries: Tensor, padding: Tensor | None = None, *, first_only: bool = False
    ) -> Tensor:
        """States [B, N, D], or the first of them [B, 1, D], changed by as many queries or by a single one for all.

        ``padding`` [B, N] is true where there is no token.
        """
        attended = self.attention(queries, states, states, key_padding_mask=padding, need_weights=False)[0]
        if first_only:
            states = states[:, :1]
        states = self.norm_attention(states + self.dropout(attended.expand_as(states)))
        return self.norm_feed_forward(states + self.dropout(self.feed_forward(states)))


class ProgressiveLayer(nn.Module):
    """PAEL: self-attention of a sequence, then cross-attention to it from a projected source (Eqs. 7-10, Fig. 3)."""

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.self_attention = AttentionBlock(width, heads, dropout)
        self.query = nn.Linear(width, width)
        self.cross_attention = AttentionBlock(width, heads, dropout)

    def forward(self, states: Tensor, source: Tensor, padding: Tensor | None = None, *, last: bool) -> Tensor:
        """States [B, N, D], or in the last layer the first one [B, 1, D]; ``source`` is [B, N, D] or [B, 1, D]."""
        attended = self.self_attention(states, states, padding)
        queries = self.query(source[:, :1] if last else source)
        return self.cross_attention(attended, queries, padding, first_only=last)


class ProgressiveEncoder(nn.Module):
    """Layers, and a linear head on the first token of the last."""

    def __init__(self, width: int, layers: int, heads: int, dropout: float):
        super().__init__()
        self.layers = nn.ModuleList(ProgressiveLayer(width, heads, dropout) for _ in range(layers))
        self.head = nn.Linear(width, width)


class SpatialPAE(ProgressiveEncoder):
    """F_(i+1) = PAEL_i(F_i, W_i g), and the head of the first token of the last F (Eqs. 11 and 12).

    The instruction g is the query at every place, so its attention is computed once for all of them; in training they
    therefore share the dropout of the weights.
    """

    def forward(self, tokens: Tensor, instruction: Tensor) -> Tensor:
        """[B, D] of tokens [B, N, D] and an instruction [B, D]."""
        for layer in self.layers:
            tokens = layer(tokens, instruction[:, None], last=layer is self.layers[-1])
        return self.head(tokens[:, 0])


class TemporalPAE(ProgressiveEncoder):
    """T_(i+1) = PAEL_i(T_i, W_i T_i), and the head of the first token of the last T (Eqs. 13 and 14)."""

    def forward(self, states: Tensor, padding: Tensor) -> Tensor:
        """[B, D] of states [B, L, D]; ``padding`` [B, L] is true where there is no token."""
        for layer in self.layers:
            states = layer(states, states, padding, last=layer is self.layers[-1])
        return self.head(states[:, 0])
