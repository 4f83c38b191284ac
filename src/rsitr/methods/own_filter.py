"""The cheap score of a method that is its own filter in two-stage retrieval, as a method."""

from __future__ import annotations

from typing import Any, Self

from torch import Tensor

from rsitr.methods.base import Corpus, Method


class OwnFilter(Method):
    """Unit vectors that a trained method makes of its encodings, compared by their dot product.

    Nothing is trained or encoded for it: the weights and the encodings are those of the method.
    """

    def __init__(self, method: Method):
        super().__init__()
        self.method, self.config = method, method.config
        if method.reads_pixels:
            self.pixels = method.pixels

    @classmethod
    def build(cls, config: Any, corpus: Corpus) -> Self:
        """There is none before the method itself is trained."""
        raise NotImplementedError("a method that is its own filter is trained first")

    def encode_images(self, images: Tensor) -> Tensor:
        """[B, D]"""
        return self.method.filter_images(self.method.encode_images(images))

    def tokenize(self, captions: list[str]) -> Tensor:
        """As the method."""
        return self.method.tokenize(captions)

    def encode_texts(self, tokens: Tensor) -> Tensor:
        """[B, D]"""
        return self.method.filter_texts(self.method.encode_texts(tokens))
