"""Filters: the network of pairs against the concatenation it stands for, the losses against loops, what is asked."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from rsitr.errors import ParamsError
from rsitr.methods import get_method
from rsitr.methods.base import Corpus
from rsitr.methods.configure import configure
from rsitr.methods.retrieval_filter import PairMLP, pair_divergence, pair_entropy
from rsitr.nn.losses import contrastive_loss, distillation_loss
from rsitr.nn.seeds import seeded
from rsitr.stages.optimizer import make_optimizer
from rsitr.stages.train import train_what_learns
from tests.helpers.batches import batch as make_batch
from tests.helpers.batches import same

CAPTIONS = ["a red dot on white ground", "a green bar", "two trees", "a red dot"]
IDS = torch.tensor([0, 1, 2, 2])


@pytest.fixture
def make(tiny_settings):
    """``make(name, held, **settings)``: a method, with the teacher that it holds, if any."""

    def made(name, held=None, **settings):
        cls = get_method(name)
        known = {key: value for key, value in tiny_settings.items() if key in cls.Config.model_fields}
        with seeded(0):
            return cls.build(configure(cls, "", known | settings), Corpus(CAPTIONS, IDS.numpy(), teacher=held))

    return made


@pytest.fixture
def mtgfe(make, tiny_bert):
    """An untrained teacher with other weights each time."""

    def made(shift=0.0, **settings):
        method = make("mtgfe", text_weights=str(tiny_bert), image_backbone="test_vit", **settings)
        with torch.no_grad():
            for parameter in method.parameters():
                parameter += shift
        return method

    return made


@pytest.fixture
def build(make, mtgfe):
    """``build(name, **settings)``: a filter, one of MTGFE's on an untrained teacher."""

    def built(name, **settings):
        return make(name, mtgfe() if name == "retrieval-filter" else None, **settings)

    return built


def batch_of(method, teacher=None):
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    return make_batch(images, method.tokenize(CAPTIONS), IDS, torch.arange(4), 0, teacher)


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
    assert float(pair_entropy(scores, same(IDS))) == pytest.approx(hard / 16)
    repeated = same(IDS)
    repeated[0, 2] = repeated[2, 0] = True
    for i, j in ((0, 2), (2, 0)):
        hard += float(torch.nn.functional.softplus(-scores[i, j]) - torch.nn.functional.softplus(scores[i, j]))
    assert float(pair_entropy(scores, repeated)) == pytest.approx(hard / 16)
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
            method.loss(batch), 2 * pair_divergence(scores, teacher / 0.5) + 0.2 * pair_entropy(scores, same(IDS))
        )
    lists = build("retrieval-filter", compare="lists", truth=0.7).eval()
    with torch.inference_mode():
        scores = lists.score(lists.encode_images(batch.images), lists.encode_texts(batch.tokens))
        one = torch.ones(())
        torch.testing.assert_close(
            lists.loss(batch), distillation_loss(scores, teacher, 1.0) + 0.7 * contrastive_loss(scores, same(IDS), one)
        )


def test_what_it_looks_at_is_a_departure_where_it_is_not_the_papers(build):
    papers = set(build("retrieval-filter").departures)
    pooled = build("retrieval-filter", image_pool="mean", text_pool="mean")
    assert set(pooled.departures) - papers == {
        "mean of the image tokens instead of v_cls (section 3.4)",
        "mean of the caption's tokens instead of w_cls (section 3.4)",
    }
    assert not any("encoders" in text for text in papers)


def test_it_looks_at_the_class_features_of_its_teacher(make, mtgfe):
    teacher = mtgfe().eval()
    method = make("retrieval-filter", mtgfe()).eval()
    batch = batch_of(method)
    with torch.inference_mode():
        v, w = teacher.encode_images(batch.images)[:, 0], teacher.encode_texts(batch.tokens)[:, 0]
        torch.testing.assert_close(method.encode_images(batch.images), method.image_head(v))
        torch.testing.assert_close(method.encode_texts(batch.tokens), method.text_head(w))
    means = make("retrieval-filter", mtgfe(), image_pool="mean", text_pool="mean").eval()
    with torch.inference_mode():
        mean = teacher.encode_images(batch.images).mean(1)
        torch.testing.assert_close(means.encode_images(batch.images), means.image_head(mean))
        words = teacher.encode_texts(batch.tokens)[2, :4]  # [CLS], two words, [SEP]
        assert (batch.tokens[2] != 0).sum() == 4
        torch.testing.assert_close(means.encode_texts(batch.tokens)[2], means.text_head(words.mean(0)))


def test_it_takes_what_its_teacher_has_learned_and_a_checkpoint_holds_it(make, mtgfe):
    trained = mtgfe(shift=0.1).eval()
    method, other = make("retrieval-filter", mtgfe()).eval(), make("retrieval-filter", mtgfe()).eval()
    batch = batch_of(method)
    method.adopt(trained)
    with torch.inference_mode():
        w = trained.encode_texts(batch.tokens)[:, 0]
        torch.testing.assert_close(method.encode_texts(batch.tokens), method.text_head(w))
        assert not torch.allclose(other.encode_texts(batch.tokens), method.encode_texts(batch.tokens))
    other.load_learned_state(method.learned_state())
    with torch.inference_mode():
        torch.testing.assert_close(other.encode_images(batch.images), method.encode_images(batch.images))
        torch.testing.assert_close(other.encode_texts(batch.tokens), method.encode_texts(batch.tokens))
    parts = {name.split(".")[1] for name in method.learned_state() if name.startswith("teacher.")}
    assert parts == {"backbone", "image_head", "text"}  # nothing of what fuses


def test_its_teacher_does_not_learn(make, mtgfe):
    method = make("retrieval-filter", mtgfe())
    batch = batch_of(method, torch.randn(4, 4))
    optimizer = make_optimizer(method, method.config, method.config.course[0])
    train_what_learns(method)
    before = {name: value.clone() for name, value in method.state_dict().items()}
    method.loss(batch).backward()
    optimizer.step()
    changed = {
        name.split(".")[0] for name, value in method.state_dict().items() if not torch.equal(value, before[name])
    }
    assert changed == {"image_head", "text_head", "pair"}
    assert not any(part.training for part in method.teacher.modules())


def test_without_a_teacher_there_is_nothing_to_look_at(make):
    with pytest.raises(ParamsError, match="retrieval-filter looks at the features of its teacher: set teacher"):
        make("retrieval-filter")


def test_without_a_teacher_the_truth_alone_counts(build):
    method = build("distilled-dual", teacher="", compare="pairs").eval()
    batch = batch_of(method)
    with torch.inference_mode():
        logits = method.encode_images(batch.images) @ method.encode_texts(batch.tokens).t() / 0.07 - np.log(8)
        torch.testing.assert_close(method.loss(batch), pair_entropy(logits, same(IDS)))


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
            method.loss(batch), distillation_loss(logits, teacher, 1.0) + 0.2 * contrastive_loss(logits, same(IDS), one)
        )
    pairs = build("distilled-dual", compare="pairs").eval()
    with torch.inference_mode():
        logits = pairs.encode_images(batch.images) @ pairs.encode_texts(batch.tokens).t() / 0.07 - np.log(8)
        torch.testing.assert_close(
            pairs.loss(batch), pair_divergence(logits, teacher) + 0.2 * pair_entropy(logits, same(IDS))
        )


@pytest.mark.parametrize(("name", "compare"), [("retrieval-filter", "pairs"), ("distilled-dual", "lists")])
def test_a_student_comes_to_order_as_its_teacher(build, name, compare):
    """The teacher contradicts the truth, so nothing but the teacher can have taught it."""
    method = build(name, compare=compare, truth=0.0)
    train_what_learns(method)
    teacher = torch.tensor([[0.0, 4, -4, -4], [4, -4, 0, 0], [-4, 0, -4, -4], [-4, -4, 4, 4]])
    batch = batch_of(method, teacher)
    optimizer = torch.optim.Adam([each for each in method.parameters() if each.requires_grad], 0.01)
    for _ in range(60):
        optimizer.zero_grad()
        method.loss(batch).backward()
        optimizer.step()
    with torch.inference_mode():
        scores = method.score(method.encode_images(batch.images), method.encode_texts(batch.tokens))
    assert scores.argmax(1).tolist()[:2] == [1, 0]
    assert scores[:, 0].argmax() == 1
