"""The affiliation loss of PIR: how far embeddings are from the centres of their classes (section IV-D2, Fig. 6)."""

from __future__ import annotations

from pathlib import PurePath

import torch
from torch import Tensor
from torch.nn import functional as F


def prefix(name: str) -> str:
    """The class that PIR's code reads from a file name: what comes before the last underscore.

    A name without one is its own class: each of the 921 images of RSICD named by a bare number, and every image
    of UCM and Sydney.
    """
    stem = PurePath(name).stem
    return stem.rpartition("_")[0] or stem


def class_numbers(classes: tuple[str, ...]) -> Tensor:
    """int64 [images]: equal numbers for equal classes; an image without a class ('') gets its own."""
    numbers: dict[str | int, int] = {}
    return torch.tensor([numbers.setdefault(name or place, len(numbers)) for place, name in enumerate(classes)])


def class_centres(embeddings: Tensor, classes: Tensor) -> Tensor:
    """[B, D]: the mean of the embeddings [B, D] that share the class of each, not normalised again."""
    same = (classes[:, None] == classes[None, :]).to(embeddings.dtype)
    return same / same.sum(1, keepdim=True) @ embeddings


def affiliation_loss(images: Tensor, texts: Tensor, classes: Tensor, temperature: Tensor) -> Tensor:
    """Eq. 16 over embeddings of unit length [B, D] of matching pairs, with ``classes`` [B].

    Each image should find the centre of its caption's class among the centres of all captions, and the centre of each
    image's class should find its caption. There is a centre for every sample, as in the published code: a class that k
    samples share appears k times among the alternatives, so the first term is at least the mean of log k. In a batch of
    a single class the first term is log B for any embeddings, and the second pulls the captions together.
    """
    to_centre = (images @ class_centres(texts, classes).t()).float() / temperature
    from_centre = (class_centres(images, classes) @ texts.t()).float() / temperature
    own = torch.arange(len(images), device=images.device)
    return (F.cross_entropy(to_centre, own) + F.cross_entropy(from_centre, own)) / 2
