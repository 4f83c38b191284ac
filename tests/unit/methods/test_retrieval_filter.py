"""Filters: the network of pairs against the concatenation it stands for, the losses against loops, what is asked."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from rsitr.methods import get_method
from rsitr.methods.base import Batch, Corpus
from rsitr.methods.configure import configure
from rsitr.methods.retrieval_filter import PairMLP, pair_divergence, pair_entropy
from rsitr.nn.losses import contrastive_loss, distillation_loss
from rsitr.nn.seeds import seeded

CAPTIONS = ["a red dot on white ground", "a green bar", "two trees", "a red dot"]
IDS = torch.tensor([0, 1, 2, 2])


@pytest.fixture
def build(tiny_settings):
    def built(name, **settings):
        cls = get_method(name)
        with seeded(0):
            return cls.build(configure(cls, "", tiny_settings | settings), Corpus(CAPTIONS, IDS.numpy()))

    return built


def batch_of(method, teacher=None):
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    return Batch(images, method.tokenize(CAPTIONS), IDS, torch.arange(4), 0, teacher)


def trained_pair_mlp(hidden):
    """With batch norms that have seen something."""
    torch.manual_seed(0)
    network = PairMLP(hidden)
    with torch.no_grad():
        for norm in (network.first_norm, network.second_norm):
            for values in (norm.running_mean, norm.weight, norm.bias):
                values.normal_()
            norm.running_var.uniform_(0.5, 2)
    return network


@pytest.mark.parametrize("training", [False, True])
def test_the_network_is_three_layers_on_the_features_side_by_side(training):
    network = trained_pair_mlp(6).train(training)
    image, text = torch.nn.Linear(5, 6), torch.nn.Linear(3, 6, bias=False)
    v, w = torch.randn(4, 5), torch.randn(7, 3)
    side_by_side = torch.nn.Linear(8, 6)
    with torch.no_grad():
        side_by_side.weight.copy_(torch.cat([image.weight, text.weight], 1))
        side_by_side.bias.copy_(image.bias)
        found = network(image(v), text(w))
        network.load_state_dict(trained_pair_mlp(6).state_dict())  # training has moved the statistics
        layers = (network.first_norm, torch.nn.ReLU(), network.second, network.second_norm, torch.nn.ReLU())
        pairs = torch.cat([v.repeat_interleave(7, 0), w.repeat(4, 1)], 1)
        no_match, match = network.last(torch.nn.Sequential(side_by_side, *layers)(pairs)).unbind(1)
    torch.testing.assert_close(found, (match - no_match).reshape(4, 7), rtol=1e-4, atol=1e-5)


def test_the_losses_of_pairs_are_those_of_two_outputs():
    scores, teacher = torch.randn(4, 4, dtype=torch.float64), 3 * torch.randn(4, 4, dtype=torch.float64)
    soft = hard = 0.0
    for i in range(4):
        for j in range(4):
            p, q = (1 / (1 + math.exp(-float(logits[i, j]))) for logits in (teacher, scores))
            soft += p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))
            hard -= math.log(q if IDS[i] == IDS[j] else 1 - q)
    assert float(pair_divergence(scores, teacher)) == pytest.approx(soft / 16)
    assert float(pair_entropy(scores, IDS)) == pytest.approx(hard / 16)
    assert float(pair_divergence(teacher, teacher)) == pytest.approx(0, abs=1e-12)
    extreme = torch.tensor([[80.0, -80.0]])
    assert float(pair_divergence(extreme, extreme)) == pytest.approx(0, abs=1e-6)


def test_the_filter_weighs_divergence_and_truth(build):
    teacher = torch.randn(4, 4)
    method = build("retrieval-filter", distillation_temperature=0.5, distillation=2.0).eval()
    batch = batch_of(method, teacher)
    with torch.inference_mode():
        scores = method.score(method.encode_images(batch.images), method.encode_texts(batch.tokens))
        torch.testing.assert_close(
            method.loss(batch), 2 * pair_divergence(scores, teacher / 0.5) + 0.2 * pair_entropy(scores, IDS)
        )
    lists = build("retrieval-filter", compare="lists", truth=0.7).eval()
    with torch.inference_mode():
        scores = lists.score(lists.encode_images(batch.images), lists.encode_texts(batch.tokens))
        one = torch.ones(())
        torch.testing.assert_close(
            lists.loss(batch), distillation_loss(scores, teacher, 1.0) + 0.7 * contrastive_loss(scores, IDS, one)
        )


def test_what_it_looks_at_is_a_departure(build):
    assert build("retrieval-filter").departures == [
        "encoders of its own instead of its teacher's features (section 3.4)"
    ]


def test_without_a_teacher_the_truth_alone_counts(build):
    method = build("retrieval-filter", teacher="").eval()
    batch = batch_of(method)
    with torch.inference_mode():
        scores = method.score(method.encode_images(batch.images), method.encode_texts(batch.tokens))
        torch.testing.assert_close(method.loss(batch), pair_entropy(scores, IDS))


def test_the_dual_encoder_needs_no_pass_over_pairs(build):
    teacher = torch.randn(4, 4)
    method = build("distilled-dual").eval()
    assert not method.interacts
    assert build("retrieval-filter").interacts
    batch = batch_of(method, teacher)
    with torch.inference_mode():
        logits = method.encode_images(batch.images) @ method.encode_texts(batch.tokens).t() / 0.07
        one = torch.ones(())
        torch.testing.assert_close(
            method.loss(batch), distillation_loss(logits, teacher, 1.0) + 0.2 * contrastive_loss(logits, IDS, one)
        )
    pairs = build("distilled-dual", compare="pairs").eval()
    with torch.inference_mode():
        logits = pairs.encode_images(batch.images) @ pairs.encode_texts(batch.tokens).t() / 0.07 - np.log(8)
        torch.testing.assert_close(
            pairs.loss(batch), pair_divergence(logits, teacher) + 0.2 * pair_entropy(logits, IDS)
        )


@pytest.mark.parametrize(("name", "compare"), [("retrieval-filter", "pairs"), ("distilled-dual", "lists")])
def test_a_student_comes_to_order_as_its_teacher(build, name, compare):
    """The teacher contradicts the truth, so nothing but the teacher can have taught it."""
    method = build(name, compare=compare, truth=0.0).train()
    teacher = torch.tensor([[0.0, 4, -4, -4], [4, -4, 0, 0], [-4, 0, -4, -4], [-4, -4, 4, 4]])
    batch = batch_of(method, teacher)
    optimizer = torch.optim.Adam(method.parameters(), 0.01)
    for _ in range(60):
        optimizer.zero_grad()
        method.loss(batch).backward()
        optimizer.step()
    with torch.inference_mode():
        scores = method.score(method.encode_images(batch.images), method.encode_texts(batch.tokens))
    assert scores.argmax(1).tolist()[:2] == [1, 0]
    assert scores[:, 0].argmax() == 1
