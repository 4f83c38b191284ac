"""Chance: what a method that knows nothing scores."""

from __future__ import annotations

import zlib

import torch
from torch import Tensor
from torch.nn import functional as F

from rsitr.methods.base import Corpus, Method, MethodConfig, method


class ChanceConfig(MethodConfig):
    """Nothing to configure."""


@method("chance")
class Chance(Method):
    """Independent random embeddings for every image and every distinct caption.

    Expected recall: with C distinct captions, five of them the image's own, i2t R@K is
    1 - binom(C-5, K) / binom(C, K), and with I images t2i R@K is K / I.
    """

    Config = ChanceConfig
    trainable = False
    reads_pixels = False
    WIDTH = 64

    def __init__(self, config: ChanceConfig):
        super().__init__()
        self.config = config
        self.generator = torch.Generator().manual_seed(int(torch.randint(2**62, ())))

    @classmethod
    def build(cls, config: ChanceConfig, corpus: Corpus) -> Chance:
        """The random generator takes its seed from torch's, as a model takes its initial weights."""
        return cls(config)

    def encode_images(self, images: Tensor) -> Tensor:
        """Random directions [B, 64]."""
        return F.normalize(torch.randn(len(images), self.WIDTH, generator=self.generator), dim=1)

    def tokenize(self, captions: list[str]) -> Tensor:
        """One token [B, 1] for each caption, the same for the same text: its checksum."""
        return torch.tensor([[zlib.crc32(caption.encode())] for caption in captions])

    def encode_texts(self, tokens: Tensor) -> Tensor:
        """Random directions [B, 64]."""
        return self.encode_images(tokens)
