"""The instructed vision transformer of PIR-CLIP: a scene classifier's token says which patches to believe."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rsitr.errors import ParamsError
from rsitr.nn.belief import belief_matrix
from rsitr.nn.belief import weigh as weigh_by_rank
from rsitr.nn.modified_resnet import ModifiedResNet
from rsitr.records.pretraining import Form, Instruction


def weigh(tokens: Tensor, instruction: Tensor, form: Form) -> Tensor:
    """Tokens x [B, N, C] weighted by the belief that the instruction y [B, C] gives them.

    ``paper``: ``rsitr.nn.belief.weigh``. ``released``: the authors' code computes the weight by rank but does not use
    it; it adds x b twice.
    """
    belief = belief_matrix(tokens, instruction)
    return weigh_by_rank(tokens, belief) if form == "paper" else F.normalize(2 * belief[..., None] * tokens, dim=1)


class InstructedViT(nn.Module):
    """A ViT of open_clip whose patches an instruction weights; it joins them as the first token, which is pooled.

    PIR, section IV-C3. It takes the place of ``visual`` in a CLIP model. The instruction encoder is a
    ``ModifiedResNet``; everything before its attention pool never learns and keeps its batch statistics (section V-C).
    Raises ``ParamsError`` unless the tower is a ViT that pools one token.
    """

    def __init__(self, vit: nn.Module, instruction: Instruction, belief: Form = "paper"):
        from open_clip.transformer import VisionTransformer

        super().__init__()
        if not isinstance(vit, VisionTransformer) or vit.attn_pool is not None or vit.pool_type != "tok":
            raise ParamsError("only a ViT that pools its class token can be instructed: choose one such as ViT-B-32")
        side = vit.image_size[0]
        if side < 32 or side % 2:
            raise ParamsError(f"an instructed model reads images of an even number of pixels from 32, not of {side}")
        self.vit = vit
        self.belief = belief
        self.instruction = ModifiedResNet(side, instruction.layers, instruction.width, vit.output_dim)
        self.to_token = nn.Linear(vit.output_dim, vit.conv1.out_channels)
        self.image_size = vit.image_size
        self.image_mean, self.image_std = getattr(vit, "image_mean", None), getattr(vit, "image_std", None)
        for part in self.fixed:
            part.requires_grad_(False)
        self.train(self.training)

    @property
    def fixed(self) -> list[nn.Module]:
        """The layers that never learn."""
        return [part for name, part in self.instruction.named_children() if name != "attnpool"]

    def train(self, mode: bool = True) -> Self:
        """Batch statistics of the fixed layers stay as they are."""
        super().train(mode)
        for part in self.fixed:
            part.eval()
        return self

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Keep no activations of the transformer's layers and compute them again in the backward pass."""
        self.vit.set_grad_checkpointing(enable)

    def instruct(self, pixels: Tensor) -> Tensor:
        """The instruction token y [B, C] of pixels [B, 3, H, W]."""
        with torch.no_grad():
            maps = self.instruction.forward_features(pixels)
        return self.to_token(self.instruction.attnpool(maps))

    def embed(self, pixels: Tensor) -> Tensor:
        """Class token and patches x [B, 1 + N, C] with their positions, before the first layer."""
        vit = self.vit
        patches = vit.conv1(pixels).flatten(2).transpose(1, 2)
        tokens = torch.cat([vit.class_embedding.expand(len(patches), 1, -1), patches], 1)
        return vit.ln_pre(vit.patch_dropout(tokens + vit.positional_embedding))

    def forward(self, pixels: Tensor) -> Tensor:
        """Features [B, D] of pixels [B, 3, H, W], in the space of the captions, not normalised."""
        y = self.instruct(pixels)
        x = weigh(self.embed(pixels), y, self.belief)
        pooled = self.vit.transformer(torch.cat([y[:, None], x], 1))[:, 0]
        return self.vit.ln_post(pooled) @ self.vit.proj
