"""Two image models behind one interface: tokens from one, and an instruction from another, which never learns.

The instruction encoder of PIR (section IV-A, 2024) is a scene classifier without its last layer.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from rsitr.nn.backbones import ImageBackbone
from rsitr.nn.features import state_sha
from rsitr.nn.pixels import PixelFormat
from rsitr.nn.scene_weights import located
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
        weights = located(instructor["weights"])
        size = instructor.get("size") or self.pixels.size
        encoder = ImageBackbone(**(instructor | {"weights": weights, "size": size}))
        # In a tuple, so that neither the optimiser nor the checkpoint finds it.
        self._instructor = (encoder.eval().requires_grad_(False),)
        self.instruction_width = int(encoder.model.head_hidden_size)

    def extra_repr(self) -> str:
        """The token cache tells instructions apart by this."""
        encoder = self._instructor[0]
        return f"instruction={sha256_json([str(encoder), state_sha(encoder), encoder.pixels])[:32]}"

    def forward(self, pixels: Tensor) -> Tensor:
        """Tokens and instruction, [B, 1, N C + G], of pixels [B, 3, H, W]."""
        return torch.cat([super().forward(pixels).flatten(1), self.instruct(pixels)], 1).unsqueeze(1)

    @torch.no_grad()
    def instruct(self, pixels: Tensor) -> Tensor:
        """Pooled features [B, G] of the instruction encoder."""
        encoder = self._instructor[0].to(pixels.device)
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
