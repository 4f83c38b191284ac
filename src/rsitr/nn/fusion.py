"""The multimodal fusion encoder of MTGFE (X. Zhang et al., 2023, section 3.2): the upper layers of a BERT, each with
cross-attention from the tokens of a caption to those of an image between its self-attention and its feed-forward part.

Captions come as [I, C, L, D]: C captions of L tokens that each of I images is fused with, I = 1 as long as they hold
nothing of an image. An image's keys and values are computed once for all captions, and what a caption does before it
meets an image once for all images.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rsitr.nn.dropout import Dropout, replace_dropout

NUMBERS = {"cpu": 2**22}
"""Of the hidden layer of the feed-forward part, while pairs are scored: 16 MiB, small enough for a core's cache to
help."""
PACKED = 256
"""Tokens of captions that attend to themselves in one product. A batch of captions of one length with fewer costs more
in the calls than in the numbers; with more, what captions would say to each other, and is masked, costs too much. On a
CPU, lists of 16 to 64 captions take a tenth less time than with half as many."""
GPU_NUMBERS = 2**26
"""The same on a GPU, where larger steps are faster: 256 MiB."""


KEPT, GPU_KEPT = {"cpu": 2**29}, 2**32
"""Keys and values that a gallery may keep: 2 GiB, on a GPU 16."""


class Memory(NamedTuple):
    """Keys and values of images in one layer."""

    keys: Tensor
    """[I, heads, N, D / heads]"""
    values: Tensor

    def of(self, images: Tensor) -> Memory:
        """Those of some images, by position."""
        return Memory(self.keys[images], self.values[images])


class Gallery:
    """Images as their keys and values in every layer, for those that are asked again and again."""

    def __init__(self, layers: list[Memory]):
        self.layers = layers

    def __len__(self) -> int:
        return len(self.layers[0].keys)

    def __getitem__(self, images: slice | Tensor) -> Gallery:
        return Gallery([Memory(layer.keys[images], layer.values[images]) for layer in self.layers])


class CrossAttention(nn.Module):
    """LN(x + MHA(x, image, image)): Eqs. 1 and 2 with the caption as query, the image as key and value.

    BERT has no such layer; its weights are initialised as BERT's own were.
    """

    def __init__(self, shape: Any):
        super().__init__()
        width = shape.hidden_size
        self.heads, self.dropped = shape.num_attention_heads, shape.attention_probs_dropout_prob
        self.query, self.key, self.value, self.output = (nn.Linear(width, width) for _ in range(4))
        for linear in (self.query, self.key, self.value, self.output):
            nn.init.normal_(linear.weight, std=shape.initializer_range)
            nn.init.zeros_(linear.bias)
        self.norm = nn.LayerNorm(width, shape.layer_norm_eps)
        self.dropout = Dropout(shape.hidden_dropout_prob)

    def memory(self, images: Tensor) -> Memory:
        """Of image tokens [I, N, D]."""
        return Memory(split_heads(self.key(images), self.heads), split_heads(self.value(images), self.heads))

    def forward(self, states: Tensor, memory: Memory) -> Tensor:
        """States [I, C, L, D] of states [I or 1, C, L, D]."""
        asking = self._asking(states).expand(len(memory.keys), -1, -1, -1)
        found = attend(asking, *memory, None, self.dropped if self.training else 0.0)
        return self.norm(states + self.dropout(self.output(found.unflatten(1, states.shape[1:3]))))

    def weights(self, states: Tensor, memory: Memory) -> Tensor:
        """How much each token of a caption takes from each image token, the mean over heads: [I, C, L, N], sum 1 over
        N."""
        asking = self._asking(states)
        logits = asking @ memory.keys.transpose(2, 3) / asking.shape[-1] ** 0.5
        return logits.softmax(-1).mean(1).unflatten(1, states.shape[1:3])

    def _asking(self, states: Tensor) -> Tensor:
        return split_heads(self.query(states.flatten(1, 2)), self.heads)


class FusionLayer(nn.Module):
    """Self-attention and feed-forward part of a ``BertLayer``, cross-attention between them (section 3.2)."""

    def __init__(self, layer: Any, shape: Any):
        super().__init__()
        self.heads = shape.num_attention_heads
        self.attention, self.intermediate, self.output = layer.attention, layer.intermediate, layer.output
        self.cross = CrossAttention(shape)
        replace_dropout(self)

    def forward(
        self, states: Tensor, memory: Memory, padding: Tensor | None, *, first_only: bool, starts: Tensor | None = None
    ) -> Tensor:
        """States [I, C, L, D], or those of the first tokens alone; ``padding`` and ``starts`` as in
        ``FusionEncoder``."""
        states = self.cross(self.read(states, padding, first_only=first_only, starts=starts), memory)
        return self.output(self.intermediate(states), states)

    def read(
        self, states: Tensor, padding: Tensor | None, *, first_only: bool = False, starts: Tensor | None = None
    ) -> Tensor:
        """The caption's self-attention, before it meets an image."""
        own, flat = self.attention.self, states.flatten(0, 1)
        firsts = slice(1) if starts is None else starts
        asking = flat[:, firsts] if first_only else flat
        query, key, value = (
            split_heads(linear(part), self.heads)
            for linear, part in ((own.query, asking), (own.key, flat), (own.value, flat))
        )
        mask = None if padding is None else ~padding.expand(len(states), -1, -1).flatten(0, 1)[:, None, None, :]
        if starts is not None:
            caption = torch.bucketize(torch.arange(flat.shape[1], device=flat.device), starts, right=True)
            mask = (caption[:, None] == caption)[firsts if first_only else slice(None)]
        found = attend(query, key, value, mask, own.dropout.p if self.training else 0.0)
        return self.attention.output(found, asking).unflatten(0, states.shape[:2])


class FusionEncoder(nn.Module):
    """Layers of ``FusionLayer``."""

    def __init__(self, layers: list[nn.Module], shape: Any):
        super().__init__()
        self.layers = nn.ModuleList(FusionLayer(layer, shape) for layer in layers)
        self.hidden = max(shape.intermediate_size, shape.hidden_size)

    def memory(self, images: Tensor) -> list[Memory]:
        """What image tokens [I, N, D] answer with, one for each layer."""
        layers: Any = self.layers
        return [layer.cross.memory(images) for layer in layers]

    def gallery(self, images: Tensor) -> Gallery | Tensor:
        """Image tokens [I, N, D] with their keys and values computed, or as they are where these are too many."""
        fits = 2 * len(self.layers) * images.numel() <= KEPT.get(images.device.type, GPU_KEPT)
        return Gallery(self.memory(images)) if fits else images

    def forward(
        self,
        states: Tensor,
        memory: list[Memory],
        padding: Tensor | None = None,
        *,
        first_only: bool = False,
        starts: Tensor | None = None,
    ) -> Tensor:
        """U [I, C, L, D] of states [I or 1, C, L, D]; ``padding`` [I or 1, C, L] is true where there is no token.

        ``first_only``: u_cls alone, [I, C, D], for which the last layer skips what u_cls does not need. ``starts``
        [P]: ``states`` [I or 1, 1, L, D] are P captions in a row, which begin there and attend each to itself; u_cls
        are then [I, P, D].
        """
        for layer, each in zip(self.layers, memory, strict=True):
            last = layer is self.layers[-1]
            states = layer(states, each, padding, first_only=first_only and last, starts=starts)
        if not first_only:
            return states
        return states[:, :, 0] if starts is None else states[:, 0]

    def attention(self, states: Tensor, memory: list[Memory], layer: int) -> Tensor:
        """Weights [I, C, L, N] of the cross-attention in one layer, which may count from the end, without padding."""
        last = range(len(self.layers))[layer]
        for each, answers in zip(self.layers[:last], memory[:last], strict=True):
            states = each(states, answers, None, first_only=False)
        block: Any = self.layers[last]
        return block.cross.weights(block.read(states, None), memory[last])


def split_heads(states: Tensor, heads: int) -> Tensor:
    """[B, heads, L, D / heads] of [B, L, D]."""
    return states.unflatten(2, (heads, -1)).transpose(1, 2)


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout: float) -> Tensor:
    """Eq. 1 in every head, concatenated: [B, L, D]."""
    found = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout)
    return found.transpose(1, 2).flatten(2)


def score_captions(fusion: FusionEncoder, head: nn.Module, images: Tensor | Gallery, texts: Tensor) -> Tensor:
    """[I, C]: the numbers [I, C] that ``head`` makes of u_cls [I, C, D] of every image and caption.

    ``images`` [I, N, D]; ``texts`` [C, L, D] are the tokens of captions, zero where there is none.
    """
    limit = NUMBERS.get(texts.device.type, GPU_NUMBERS) // fusion.hidden
    groups = list(_groups(texts, limit))
    tokens = max(group.states.shape[1] * group.states.shape[2] for group in groups)
    scores = texts.new_empty(len(images), len(texts))
    for part in torch.arange(len(images)).split(max(1, limit // tokens)):
        some = images[part]
        memory = some.layers if isinstance(some, Gallery) else fusion.memory(some)
        for chosen, states, starts in groups:
            fused = fusion(states, memory, first_only=True, starts=starts)
            scores[part[:, None], chosen] = head(fused).to(scores.dtype)
    return scores


class _Group(NamedTuple):
    """Captions that are computed together, without a place that is padding."""

    captions: Tensor
    """int64 [P]"""
    states: Tensor
    """[1, P, L, D] of one length, or [1, 1, L, D] in a row"""
    starts: Tensor | None
    """Where those in a row begin."""


def _groups(texts: Tensor, limit: int) -> Iterator[_Group]:
    """Batches of captions of one length, and the few of other lengths in rows, of at most ``limit`` tokens each."""
    lengths = texts.any(2).sum(1)
    few: list[int] = []
    for length in lengths.unique().tolist():
        chosen = torch.nonzero(lengths == length).squeeze(1)
        if len(chosen) * length < PACKED:
            few += chosen.tolist()
            continue
        for part in chosen.split(max(1, limit // length)):
            yield _Group(part, texts[part, :length][None], None)
    for row in _rows(few, lengths.tolist(), min(PACKED, limit)):
        own = lengths[row]
        states = torch.cat([texts[place, :length] for place, length in zip(row, own.tolist(), strict=True)])
        yield _Group(torch.tensor(row, device=texts.device), states[None, None], own.cumsum(0) - own)


def _rows(captions: list[int], lengths: list[int], limit: int) -> Iterator[list[int]]:
    """Captions in rows of at most ``limit`` tokens, or of one caption."""
    row: list[int] = []
    for place in captions:
        if row and sum(lengths[each] for each in row) + lengths[place] > limit:
            yield row
            row = []
        row.append(place)
    if row:
        yield row
