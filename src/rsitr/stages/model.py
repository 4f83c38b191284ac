"""A trained cell to ask: it encodes images and queries of any origin and scores them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from rsitr.errors import QueryError
from rsitr.methods.base import Method
from rsitr.nn.pixels import preprocess
from rsitr.records.cell import Spec
from rsitr.records.paths import Paths
from rsitr.stages.evaluate import load_checkpoint
from rsitr.stages.setup import CellData, build_method, load_data, prepare

BATCH = 32
N = TypeVar("N", bound=str)


def load_method(spec: Spec, data: CellData, device: str) -> Method:
    """The method of a cell with its learned weights, on a device."""
    method = build_method(spec, data)
    load_checkpoint(method, Paths.checkpoint(spec.cell) / "model.safetensors")
    return method.to(device).eval()


def load_all(specs: Mapping[N, Spec]) -> dict[N, Trained]:
    """The methods of several cells by the same names, all on the device of the first."""
    found: dict[N, Trained] = {}
    for name, spec in specs.items():
        found[name] = Trained(spec, next((other.device for other in found.values()), None))
    return found


class Trained:
    """The method of a cell with its learned weights.

    On the ``device`` of another model where one is given, else on one of its own, of which a process cannot have more
    than there are places on GPUs. Needs the cleaned table the cell was trained on, for its vocabulary, as well as the
    checkpoint; raises what ``load_data``, ``build_method`` and ``load_checkpoint`` raise, and ``QueryError`` for a
    method that sees no pixels.
    """

    def __init__(self, spec: Spec, device: str | None = None):
        self.device = prepare(spec) if device is None else device
        self.data = load_data(spec)
        self.method = load_method(spec, self.data, self.device)
        if not self.method.reads_pixels:
            raise QueryError(f"{spec.method} looks at no image: choose another method")

    @torch.inference_mode()
    def encode_queries(self, queries: Sequence[str]) -> Tensor:
        """Encodings of queries, as ``Method.encode_texts``; ``QueryError`` for a blank or too long one."""
        for query in queries:
            self._check(query)
        return self.method.encode_texts(self.method.tokenize(list(queries)).to(self.device)).float()

    def _check(self, query: str) -> None:
        words = [word for word in query.split() if any(map(str.isalnum, word))]
        if not words:
            raise QueryError("a query has no word: say what to look for")
        # A method has stopped reading where one word more changes nothing, and one word less neither.
        texts = (" ".join(part) for part in (words, [*words, words[0]], words[:-1]))
        tokens, longer, shorter = (self.method.tokenize([text]).tolist() for text in texts)
        if tokens == longer == shorter:
            raise QueryError(f"the query is too long for {self.method.name}, shorten it: {query!r}")

    def pixels(self, images: np.ndarray) -> Tensor:
        """Pixels [B, 3, size, size] of uint8 images [B, H, W, 3], as the method wants them."""
        channels_first = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2)
        return preprocess(channels_first, self.method.pixels).to(self.device)

    @torch.inference_mode()
    def encode_images(self, images: np.ndarray) -> Tensor:
        """Encodings of uint8 images [B, H, W, 3], as ``Method.encode_images``."""
        return torch.cat([self.method.encode_images(part).float() for part in self.pixels(images).split(BATCH)])

    def scorer(self, queries: Sequence[str]) -> Callable[[np.ndarray], np.ndarray]:
        """A function from uint8 images [B, H, W, 3] to their scores [B, Q] with these queries."""
        texts = self.encode_queries(queries)

        @torch.inference_mode()
        def score(images: np.ndarray) -> np.ndarray:
            return self.method.score(self.encode_images(images), texts).float().cpu().numpy()

        return score
