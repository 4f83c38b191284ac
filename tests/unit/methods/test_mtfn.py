"""MTFN: its embeddings against a slow reference that fuses every pair, rank by rank, in float64; and its schedule."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from rsitr.methods.base import Corpus
from rsitr.methods.configure import configure
from rsitr.methods.mtfn import MTFN
from rsitr.nn.losses import triplet_loss
from rsitr.nn.seeds import seeded
from rsitr.stages.course import learning_rate_factor, phase_at
from rsitr.stages.encode import encode_captions
from tests.helpers.batches import batch as make_batch
from tests.helpers.batches import same

CAPTIONS = ["a red dot on white ground", "a green bar", "two", "a red dot"]
CORPUS = Corpus(CAPTIONS, np.arange(4))
SMALL = {"rank": 3, "width": 5, "text_encoder": "gru", "phases": []}


@pytest.fixture(scope="module")
def method(tiny_settings):
    fields = {key: value for key, value in tiny_settings.items() if key in MTFN.Config.model_fields}
    with seeded(0):
        built = MTFN.build(configure(MTFN, "", fields | SMALL), CORPUS).eval()
    # Initial states of a GRU are nearly alike: spread, so that no two scores are as close as rounding.
    built.text_head.weight.data *= 20
    return built


@pytest.fixture(scope="module")
def tokens(method):
    with seeded(1):
        return 4 * torch.rand(4, 9, method.backbone.width)


def slow_logits(method, tokens):
    """w . sum_r (A_r v + a_r) * (B_r t + b_r) + c of every pair, number by number in float64."""
    state = {name: value.double() for name, value in method.state_dict().items()}
    words = method.tokenize(CAPTIONS)
    with torch.inference_mode():
        vectors = method.text.pool(method.text(words), words).double()
    images = (tokens.double().mean(1) @ state["image_head.weight"].t() + state["image_head.bias"]).tanh()
    texts = (vectors @ state["text_head.weight"].t() + state["text_head.bias"]).tanh()
    width, ranks = method.config.width, method.config.rank

    def factor(side, rank, row, vector):
        place = rank * width + row
        weights = state[f"{side}_factors.weight"][place]
        return sum(float(weights[k]) * float(vector[k]) for k in range(width)) + float(
            state[f"{side}_factors.bias"][place]
        )

    def logit(image, text):
        total = float(state["classifier.bias"])
        for row in range(width):
            fused = sum(factor("image", rank, row, image) * factor("text", rank, row, text) for rank in range(ranks))
            total += float(state["classifier.weight"][0, row]) * fused
        return total

    return torch.tensor([[logit(image, text) for text in texts] for image in images], dtype=torch.float64)


def test_the_dot_product_is_the_argument_of_the_sigmoid(method, tokens):
    with torch.inference_mode():
        images, texts = method.encode_images(tokens), method.encode_texts(method.tokenize(CAPTIONS))
    assert images.shape == texts.shape == (4, 6)
    assert not method.interacts
    expected = slow_logits(method, tokens)
    assert expected.flatten().sort().values.diff().min() > 1e-5  # no two pairs tie
    torch.testing.assert_close((images @ texts.t()).double(), expected, atol=1e-5, rtol=0)


def test_the_ranking_is_that_of_the_published_score(method, tokens):
    with torch.inference_mode():
        scores = method.encode_images(tokens) @ method.encode_texts(method.tokenize(CAPTIONS)).t()
    published = slow_logits(method, tokens).sigmoid()
    assert torch.equal(scores.argsort(0), published.argsort(0))
    assert torch.equal(scores.argsort(1), published.argsort(1))


def test_padding_does_not_change_a_text(method):
    together = method.encode_texts(method.tokenize(CAPTIONS))
    for place, caption in enumerate(CAPTIONS):
        torch.testing.assert_close(method.encode_texts(method.tokenize([caption]))[0], together[place])
    texts, place = encode_captions(method, CAPTIONS, "cpu")
    torch.testing.assert_close(texts[place], together)


def test_the_loss_is_of_sigmoid_scores(method, tokens):
    batch = make_batch(tokens, method.tokenize(CAPTIONS), torch.arange(4), torch.arange(4), epoch=0)
    expected = triplet_loss(slow_logits(method, tokens).sigmoid(), same(torch.arange(4)), 0.2, "hardest")
    assert method.loss(batch).item() == pytest.approx(float(expected), abs=1e-5)


def test_gradients_are_finite_and_reach_every_parameter(method, tokens):
    batch = make_batch(tokens, method.tokenize(CAPTIONS), torch.arange(4), torch.arange(4), epoch=0)
    method.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        loss = method.loss(batch)
    assert loss.dtype == torch.float32
    loss.backward()
    for name, parameter in method.named_parameters():
        if not name.startswith("backbone."):
            assert torch.isfinite(parameter.grad).all(), name
            # One number for all scores: pushes from positives and negatives may cancel.
            assert parameter.grad.any() or name == "classifier.bias", name


def test_the_default_course_is_the_published_schedule():
    config = MTFN.Config()
    assert sum(phase.epochs for phase in config.course) == 160
    for epoch in range(160):
        phase, first = phase_at(config, epoch)
        rate = phase.learning_rate * learning_rate_factor(config, phase.epochs, 7 * (epoch - first), 7)
        expected = 1e-5 * (epoch // 8 + 4) if epoch < 50 else 1e-4 if epoch < 100 else 1e-5
        assert math.isclose(rate, expected), epoch
    assert len({(phase.optimizer, phase.learns) for phase in config.course}) == 1
