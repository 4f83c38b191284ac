"""From a trained method to the ranks of a split: everything is encoded once, then scored in blocks."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple, overload

import numpy as np
import torch
from torch import Tensor

from rsitr.datasets.splits import SplitData
from rsitr.methods.base import Method
from rsitr.nn.inputs import Inputs
from rsitr.progress import Progress
from rsitr.retrieval.ranks import rank_embeddings, rank_scores
from rsitr.retrieval.recall import Duplicates, ProtocolRanks, Ranks, picture_groups
from rsitr.retrieval.rerank import dot_product, rerank
from rsitr.retrieval.top import FirstItems
from rsitr.retrieval.two_stage import two_stage
from rsitr.stages.resume import read_state, write_state

IMAGE_BATCH, TEXT_BATCH = 64, 256
PAIR_NUMBERS = 2**24
"""Numbers that a block of pairs may take while it is scored: 64 MiB for each temporary tensor of the method."""
SHORTLIST = 32
"""Items of a query that are scored where an epoch is chosen by shortlists."""
KEEP_SECONDS = 60
"""How often an evaluation keeps the scores that it has."""


class Encoded(NamedTuple):
    """A split as a method encodes it, float32 on the CPU."""

    images: Tensor
    """[I, D], or fragments [I, N, D]; equal for identical pictures."""
    texts: Tensor
    """[T, D], or fragments [T, L, D]: of each distinct caption once, short ones first."""
    place: Tensor
    """int64 [C]: which of ``texts`` each caption is."""


@torch.inference_mode()
def encode(method: Method, split: SplitData, inputs: Inputs, device: str) -> Encoded:
    """Every distinct image file and every distinct caption of a split, once.

    Rounding depends on an image's position in its batch, and identical pictures must stay tied.
    """
    method.eval()
    place = picture_groups(split.hashes)
    first = np.unique(place, return_index=True)[1]
    images = [
        method.encode_images(batch.to(device)).float().cpu()
        for batch in inputs.batches([first[batch] for batch in slices(len(first), IMAGE_BATCH)])
    ]
    return Encoded(torch.cat(images)[place], *encode_captions(method, split.captions, device))


@torch.inference_mode()
def encode_captions(method: Method, captions: list[str], device: str) -> tuple[Tensor, Tensor]:
    """``texts`` and ``place`` of ``Encoded``.

    Captions with the same tokens are one text: rounding depends on a caption's position in its batch, and identical
    captions must stay tied.
    """
    method.eval()
    tokens = method.tokenize(captions).flatten(1).numpy()
    _, first, inverse = np.unique(tokens, axis=0, return_index=True, return_inverse=True)
    # Captions of similar length share a batch, to keep padding small.
    order = np.argsort([len(captions[index]) for index in first], kind="stable")
    chosen = [captions[index] for index in first[order]]
    texts = [
        method.encode_texts(method.tokenize([chosen[index] for index in batch]).to(device)).float().cpu()
        for batch in slices(len(chosen), TEXT_BATCH)
    ]
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    return joined(texts), torch.from_numpy(place[inverse.ravel()])


class Kept(NamedTuple):
    """The file of an evaluation's finished scores, from which it continues after a kill."""

    path: Path
    identity: dict[str, str]
    """Of what code, parameters, weights and data they are: scores of any other are not used."""

    def read(self, scores: Tensor) -> int:
        """Fill in what is kept of ``scores`` [I, T]; of how many texts it is, counted from the first."""
        state = read_state(self.path, self.identity, "evaluation")
        if state is None:
            return 0
        done = int(state["scores"].shape[1])
        scores[:, :done] = state["scores"]
        return done

    def write(self, scores: Tensor, done: int) -> None:
        """Keep those of the first ``done`` texts."""
        write_state(self.path, {"identity": self.identity, "scores": scores[:, :done].contiguous()})


class Scores:
    """The scores of all images [I] and captions [C] of a split.

    Those of a method that interacts are computed once, of each distinct image with each distinct text, so that
    identical pictures and captions tie; those of others are dot products of embeddings, block by block on demand.
    ``title`` and ``kept`` as in ``score_all``.
    """

    def __init__(self, method: Method, encoded: Encoded, device: str, title: str = "", kept: Kept | None = None):
        self.place, self.matrix = encoded.place, None
        if method.interacts:
            images, self.picture = torch.unique(encoded.images, dim=0, return_inverse=True)
            self.matrix = score_all(method, images, encoded.texts, device, title, kept)
        self.images = encoded.images
        self.texts = encoded.texts[encoded.place] if self.matrix is None else None

    def of(self, images: slice, captions: slice) -> Tensor:
        """A block of a matrix of a method that interacts."""
        assert self.matrix is not None
        return self.matrix[self.picture[images]][:, self.place[captions]]

    @overload
    def rank(self, image_of: np.ndarray, duplicates: None = None, top: FirstItems | None = None) -> Ranks: ...
    @overload
    def rank(self, image_of: np.ndarray, duplicates: Duplicates, top: FirstItems | None = None) -> ProtocolRanks: ...
    def rank(
        self, image_of: np.ndarray, duplicates: Duplicates | None = None, top: FirstItems | None = None
    ) -> Ranks | ProtocolRanks:
        """Ranks of all queries, as ``rsitr.retrieval.ranks`` defines them.

        ``duplicates`` also request those that count identical captions and pictures as positives, and ``top`` gathers
        the first items of every query.
        """
        if self.texts is None:
            return rank_scores(self.of, image_of, duplicates=duplicates, top=top)
        return rank_embeddings(self.images, self.texts, image_of, duplicates=duplicates, top=top)

    def rerank(self, image_of: np.ndarray) -> Ranks:
        """Ranks after multivariate re-ranking."""
        return rerank(self.of if self.texts is None else dot_product(self.images, self.texts), image_of)


@torch.inference_mode()
def ranks_to_choose_by(
    method: Method, encoded: Encoded, image_of: np.ndarray, duplicates: Duplicates, device: str
) -> ProtocolRanks:
    """Ranks of all queries for the choice of an epoch: among all items, or as ``choose: shortlists`` has it.

    Then the method sorts ``SHORTLIST`` items that its cheap score has put first; the others follow in that order.
    """
    if getattr(method.config, "choose", "") != "shortlists":
        return Scores(method, encoded, device).rank(image_of, duplicates)
    cheap = dot_product(
        method.filter_images(encoded.images.to(device)), method.filter_texts(encoded.texts.to(device)), device
    )

    def rescore(image: int, texts: Tensor) -> Tensor:
        return score_all(method, encoded.images[image : image + 1], encoded.texts[texts], device)[0]

    (ranks,) = two_stage(
        lambda images, texts: cheap(images, texts).float().cpu(),
        rescore,
        image_of,
        [SHORTLIST],
        text_of=encoded.place.numpy(),
        duplicates=duplicates,
    )
    return ranks


@torch.inference_mode()
def score_all(
    method: Method, images: Tensor, texts: Tensor, device: str, title: str = "", kept: Kept | None = None
) -> Tensor:
    """Scores [I, T], float32 on the CPU, of all images against all texts, block by block.

    Progress is shown under ``title``, if given. Blocks that are ``kept`` are not computed again.
    """
    scores = torch.empty(len(images), len(texts))
    done, saved = kept.read(scores) if kept else 0, time.monotonic()
    side = max(1, math.isqrt(PAIR_NUMBERS // _numbers_of_a_pair(method, images, texts)))
    progress = Progress(title, len(texts), done) if title else None
    with progress or nullcontext():
        for columns in slices(len(texts), side):
            if columns[0] < done:
                continue
            chosen = slice(columns[0], columns[-1] + 1)
            _score_texts(method, images, trimmed(texts[chosen]).to(device), scores[:, chosen], device)
            if kept and time.monotonic() - saved > KEEP_SECONDS:
                kept.write(scores, chosen.stop)
                saved = time.monotonic()
            if progress:
                progress.advance(steps=len(columns))
    return scores


def _score_texts(method: Method, images: Tensor, texts: Tensor, scores: Tensor, device: str) -> None:
    """Fill ``scores`` [I, t] with those of all images against some texts on the device."""
    # Memory that short captions leave goes to the images: products of larger blocks are faster.
    rows = max(1, PAIR_NUMBERS // (len(texts) * _numbers_of_a_pair(method, images, texts)))
    for start in range(0, len(images), rows):
        scores[start : start + rows] = method.score(images[start : start + rows].to(device), texts).float().cpu()


def _numbers_of_a_pair(method: Method, images: Tensor, texts: Tensor) -> int:
    fragments, words = (side.shape[1] if side.ndim == 3 else 1 for side in (images, texts))
    return method.pair_numbers(fragments, words, images.shape[-1])


def trimmed(fragments: Tensor) -> Tensor:
    """[B, L, D] without the trailing places that are padding in every row; embeddings [B, D] unchanged."""
    if fragments.ndim == 2:
        return fragments
    used = fragments.any(-1).any(0).nonzero()
    return fragments[:, : int(used.max()) + 1 if len(used) else 1]


def joined(parts: list[Tensor]) -> Tensor:
    """Batches concatenated; fragments [B, L, D] padded with zeros to the longest."""
    if parts[0].ndim == 2:
        return torch.cat(parts)
    longest = max(part.shape[1] for part in parts)
    return torch.cat([torch.nn.functional.pad(part, (0, 0, 0, longest - part.shape[1])) for part in parts])


def slices(total: int, size: int) -> Iterator[np.ndarray]:
    """Consecutive positions 0 ... total - 1 in batches of ``size``."""
    for start in range(0, total, size):
        yield np.arange(start, min(start + size, total))
