"""Scores of the pairs of one query by a trained method, with the query's side taken once and bounded memory."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from rsitr.methods.base import Method
from rsitr.stages.encode import PAIR_NUMBERS, Encoded


class Pairs:
    """A method and the encodings of a split, on its device; ``of_image`` is a ``Rescore`` of ``retrieval.two_stage``.

    A block of pairs is one query against as many items as ``Method.pair_numbers`` lets into memory.
    """

    def __init__(self, method: Method, encoded: Encoded, device: str):
        self.method = method
        self.images, self.texts = encoded.images.to(device), encoded.texts.to(device)
        self.words = _used(encoded.texts)

    def of_image(self, image: int, texts: Tensor | None = None) -> Tensor:
        """Scores [K], float32 on the CPU, of an image against texts (int64 [K]), or against all of them."""
        query, scores = self.images[image : image + 1], []
        for part in self._parts(len(self.words) if texts is None else texts, self.words):
            some = self.texts[part]
            if some.ndim == 3:
                some = some[:, : int(self.words[part].max())]
            scores.append(self.method.score(query, some)[0])
        return torch.cat(scores).float().cpu()

    def of_text(self, text: int, images: Tensor | None = None) -> Tensor:
        """Scores [K], float32 on the CPU, of a text against images (int64 [K]), or against all of them."""
        query = self.texts[text : text + 1]
        if query.ndim == 3:
            query = query[:, : int(self.words[text])]
        parts = self._parts(len(self.images) if images is None else images, self.words[text : text + 1])
        return torch.cat([self.method.score(self.images[part], query)[:, 0] for part in parts]).float().cpu()

    def _parts(self, items: int | Tensor, words: Tensor) -> Iterator[slice | Tensor]:
        """Items of a gallery, or the first so many, in blocks that fit into memory with texts of so many ``words``."""
        fragments = self.images.shape[1] if self.images.ndim == 3 else 1
        size = max(1, PAIR_NUMBERS // self.method.pair_numbers(fragments, int(words.max()), self.images.shape[-1]))
        if isinstance(items, Tensor):
            yield from items.split(size)
        else:
            yield from (slice(start, min(start + size, items)) for start in range(0, items, size))


def _used(texts: Tensor) -> Tensor:
    """int64 [T], on the CPU: words of texts [T, L, D] without the padding, at least 1; 1 of embeddings [T, D]."""
    if texts.ndim == 2:
        return torch.ones(len(texts), dtype=torch.int64)
    places = torch.arange(1, texts.shape[1] + 1)
    return (texts.any(-1) * places).amax(1).clamp(min=1)
