"""Chance against the recall that its docstring derives."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
import torch

from rsitr.methods.base import Corpus
from rsitr.methods.chance import Chance, ChanceConfig
from rsitr.nn.seeds import seeded
from rsitr.retrieval.ranks import rank_embeddings
from rsitr.retrieval.recall import recall
from rsitr.stages.encode import encode_captions

IMAGES, SEEDS = 20, 80
CAPTIONS = [f"sentence {number}" for number in range(5 * IMAGES)]
IMAGE_OF = np.repeat(np.arange(IMAGES), 5)


def build(seed):
    with seeded(seed):
        return Chance.build(ChanceConfig(), Corpus([], np.array([], dtype=np.int64)))


def embed(method, captions):
    texts, place = encode_captions(method, captions, "cpu")
    return texts[place]


def test_mean_recall_over_seeds_is_the_analytic_one():
    reports = []
    for seed in range(SEEDS):
        method = build(seed)
        images, texts = method.encode_images(torch.arange(IMAGES)), embed(method, CAPTIONS)
        reports.append(recall(rank_embeddings(images, texts, IMAGE_OF)))
    for k in (1, 5, 10):
        i2t = 100 * (1 - comb(95, k) / comb(100, k))
        t2i = 100 * k / IMAGES
        # Three standard errors of a share over all queries of all seeds; texts of one seed share the images.
        for name, expected, queries in (("i2t", i2t, IMAGES), ("t2i", t2i, IMAGES)):
            error = np.sqrt(expected * (100 - expected) / (queries * SEEDS))
            mean = np.mean([getattr(report, f"{name}_r{k}") for report in reports])
            assert mean == pytest.approx(expected, abs=3 * error)


def test_equal_seeds_and_equal_captions_agree():
    first, second, other = (embed(build(seed), ["a dot", "a bar", "a dot"]) for seed in (1, 1, 2))
    assert torch.equal(first, second)
    assert torch.equal(first[0], first[2])
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first, other)
    torch.testing.assert_close(first.norm(dim=1), torch.ones(3))
