"""EnVLF: its alignment, what its images are, and that its negatives are those the alignment finds hard."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from rsitr.methods import fusion_encoder as module
from rsitr.methods.base import Batch, Corpus
from rsitr.methods.configure import configure
from rsitr.methods.envlf import EnVLF
from rsitr.nn.fusion_tasks import Pairs
from rsitr.nn.losses import contrastive_loss
from rsitr.nn.seeds import seeded
from tests.helpers.batches import batch as make_batch
from tests.helpers.batches import same

CAPTIONS = ["a red dot on white ground", "a green bar", "a dot on a red bar", "a dot"]
IDS = torch.tensor([0, 1, 2, 2])


@pytest.fixture
def build(tiny_bert):
    def built(**config: Any) -> EnVLF:
        small = {"image_backbone": "test_resnet", "image_weights": "none", "image_size": 32, "width": 6, "heads": 2}
        with seeded(0):
            made = configure(EnVLF, "", small | {"text_weights": str(tiny_bert)} | config)
            return EnVLF.build(made, Corpus(CAPTIONS, IDS.numpy()))

    return built


def batch_of(method: EnVLF) -> Batch:
    images = torch.rand(4, 5, method.backbone.width)
    return make_batch(images, method.tokenize(CAPTIONS), IDS, torch.arange(4), epoch=0)


@torch.no_grad()
def test_the_whole_image_comes_before_its_parts(build) -> None:
    method = build().eval()
    tokens = torch.rand(2, 4, method.backbone.width)
    found = method.encode_images(tokens)
    assert found.shape == (2, 5, 16)
    parts = method.image_head(tokens)
    expected = method.local(torch.cat([parts.mean(1, keepdim=True), parts], 1))
    torch.testing.assert_close(found, expected)
    maps = method.word_attention(tokens, method.tokenize(CAPTIONS[:2]))
    assert maps.shape[2:] == (2, 2)


@torch.no_grad()
def test_alignment_is_a_cosine_of_the_first_states(build) -> None:
    method = build().eval()
    images, texts = torch.rand(3, 5, 16), torch.rand(2, 4, 16)
    found = method.align(images, texts)
    for i, image in enumerate(images[:, 0]):
        for j, text in enumerate(texts[:, 0]):
            left, right = method.image_align(image), method.text_align(text)
            assert found[i, j].item() == pytest.approx(float(left @ right / left.norm() / right.norm()), abs=1e-6)
    changed = torch.cat([images[:, :1], torch.rand(3, 2, 16)], 1)
    torch.testing.assert_close(method.align(changed, texts), found)


@torch.no_grad()
def test_a_frozen_encoder_of_texts_is_aligned_by_the_mean_of_its_words(build) -> None:
    method = build(freeze_text=True).eval()
    images, texts = torch.rand(3, 5, 16), torch.rand(2, 4, 16)
    texts[1, 3] = 0.0
    means = torch.stack([texts[0].mean(0), texts[1, :3].mean(0)])[:, None]
    torch.testing.assert_close(method.align(images, texts), build().eval().align(images, means))


def test_tasks_are_added_and_negatives_come_from_the_alignment(build, monkeypatch) -> None:
    method = build().eval()
    batch = batch_of(method)
    seen: list[torch.Tensor] = []

    def pairs_of(positives: torch.Tensor, scores: torch.Tensor) -> Pairs:
        seen.append(scores)
        return Pairs(torch.tensor([0, 1]), torch.tensor([0, 2]), torch.tensor([1, 0]))

    monkeypatch.setattr(module, "draw_pairs", pairs_of)
    monkeypatch.setattr(method.matching, "loss", lambda *_: torch.tensor(10.0))
    monkeypatch.setattr(method.words, "loss", lambda *_: torch.tensor(100.0))
    scores = method.align(method.encode_images(batch.images), method.encode_texts(batch.tokens))
    expected = 110 + contrastive_loss(scores, same(IDS), torch.tensor(0.07)).item()
    assert method.loss(batch).item() == pytest.approx(expected, rel=1e-6)
    torch.testing.assert_close(seen[0], scores / 0.07)


def test_low_precision(build) -> None:
    method = build().train()
    batch = batch_of(method)
    with torch.autocast("cpu", torch.bfloat16):
        loss = method.loss(batch)
        loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in method.parameters() if p.grad is not None)


def test_the_record_says_where_it_comes_from(build) -> None:
    assert build(clip_norm=None, autocast=False).departures == ["built from the abstract alone"]
    assert EnVLF.published == {}
    assert np.isfinite(build().pair_numbers(5, 4, 16))
