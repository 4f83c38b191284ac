"""HVSA's attention against loops in float64, its losses by hand."""

from __future__ import annotations

from math import exp, tanh

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from rsitr.methods.base import Corpus
from rsitr.methods.hvsa import HVSA, HVSAConfig, KeyEntityAttention, LossWeights, alignment_loss, uniformity_loss
from rsitr.nn.losses import triplet_loss
from rsitr.nn.seeds import seeded
from tests.helpers.batches import batch as make_batch
from tests.helpers.batches import same

# Row: image, column: caption. With a margin of .2 the violations are
#   image -> text   (0,1) .2+.8-.9 = .1   (1,2) .2+.7-.6 = .3   all others at most 0
#   text -> image   (0,1) .2+.8-.6 = .4   (0,2) .2+.5-.4 = .3   (1,2) .2+.7-.4 = .5   all others at most 0
SCORES = torch.tensor([[0.9, 0.8, 0.5], [0.3, 0.6, 0.7], [0.2, 0.1, 0.4]])
DIFFERENT = same(torch.tensor([4, 7, 8]))


@pytest.mark.parametrize(
    ("positives", "difficulty", "costs"),
    [
        (DIFFERENT, 0.5, [0.1, 0.3, 0.4, 0.3, 0.5]),
        (DIFFERENT, 2.0, [0.1, 0.3, 0.4, 0.3, 0.5]),
        (same(torch.tensor([7, 7, 8])), 0.5, [0.3, 0.3, 0.5]),
        # Samples 0 and 1 show one image, and the caption of sample 2 repeats that of sample 0.
        (torch.tensor([[1, 1, 1], [1, 1, 0], [1, 0, 1]]).bool(), 0.5, [0.3, 0.5]),
        (same(torch.tensor([7, 7, 7])), 0.5, []),
    ],
)
def test_alignment_by_hand(positives, difficulty, costs):
    expected = sum(cost * exp(-difficulty * cost) for cost in costs) / 9
    assert alignment_loss(SCORES, positives, 0.2, difficulty).item() == pytest.approx(expected)


@given(st.integers(2, 12), st.integers(0, 2**31 - 1))
def test_without_difficulty_alignment_is_the_triplet_loss(size, seed):
    random = torch.Generator().manual_seed(seed)
    scores = torch.rand(size, size, generator=random, dtype=torch.float64) * 2 - 1
    positives = same(torch.randint(0, size, (size,), generator=random))
    expected = triplet_loss(scores, positives, 0.2, "all") / size
    torch.testing.assert_close(alignment_loss(scores, positives, 0.2, 0.0), expected)
    assert alignment_loss(scores, positives, 0.2, 0.5) <= expected


def test_a_harder_pair_pulls_less():
    """The slope at a cost c is exp(-c/2) (1 - c/2)."""
    for score, cost in ((0.1, 0.3), (0.8, 1.0)):
        scores = torch.tensor([[0.0, score], [-1.0, 0.0]], requires_grad=True)
        alignment_loss(scores, same(torch.arange(2)), 0.2, 0.5).backward()
        slope = exp(-cost / 2) * (1 - cost / 2) / 4
        # Once as the wrong caption of image 0, once as the wrong image of caption 1.
        torch.testing.assert_close(scores.grad, slope * torch.tensor([[-1.0, 2.0], [0.0, -1.0]]))


def test_uniformity_by_hand():
    """Of eleven rows count the first, the sixth and the eleventh: distances squared 2, 4 and 2."""
    rows = F.normalize(torch.rand(11, 2))
    rows[0], rows[5], rows[10] = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), torch.tensor([-1.0, 0.0])
    assert uniformity_loss(rows, 2.0).item() == pytest.approx((2 * exp(-4) + exp(-8)) / 3, rel=1e-5)
    assert uniformity_loss(rows, 0.5).item() == pytest.approx((2 * exp(-1) + exp(-2)) / 3, rel=1e-5)


def test_uniformity_of_one_point_is_one_and_of_one_image_none():
    assert uniformity_loss(torch.ones(6, 4) / 2, 2.0).item() == 1
    alone = torch.ones(5, 4, requires_grad=True)
    assert uniformity_loss(alone, 2.0).item() == 0
    same = F.normalize(torch.ones(10, 4, requires_grad=True))
    same.retain_grad()
    uniformity_loss(same, 2.0).backward()
    assert torch.isfinite(same.grad).all()


def test_the_weighing_of_losses_by_hand():
    """The only hidden way: loss 0 through one unit of each layer, a half where it is negative by PReLU's slope .25."""
    module = LossWeights(2)
    with torch.no_grad():
        for layer in (module.network[0], module.network[2], module.network[4]):
            layer.weight.zero_()
        module.network[0].weight[3, 0] = -2.0
        module.network[2].weight[5, 3] = 4.0
        module.network[4].weight[:, 5] = torch.tensor([1.0, -1.0])
    # .5 -> -1 -> -.25 -> -1 -> -.25 -> (-.25, .25): the weights are (1 -+ tanh .25) / 2.
    expected = 0.5 * (1 - tanh(0.25)) / 2 + 0.1 * (1 + tanh(0.25)) / 2
    assert module(torch.tensor([0.5, 0.1])).item() == pytest.approx(expected)


@torch.no_grad()
def test_key_entity_attention_against_loops():
    torch.manual_seed(0)
    module = KeyEntityAttention(5, 3)
    torch.testing.assert_close(module.values.weight, module.keys.weight.t())
    module = module.double().eval()
    for parameter in module.parameters():
        parameter.add_(0.3 * torch.randn_like(parameter))
    module.norm.running_mean.normal_()
    module.norm.running_var.uniform_(0.5, 2)
    tokens = torch.randn(2, 4, 5).double()
    found = module(tokens)
    for image in range(2):
        keys = [module.keys.weight @ (module.project.weight @ token) for token in tokens[image]]
        shares = [torch.stack([key[e].exp() for key in keys]) for e in range(3)]
        shares = [share / share.sum() for share in shares]
        for place, token in enumerate(tokens[image]):
            row = torch.stack([share[place] for share in shares])
            row = row / (row.sum() + 1e-9)
            torch.testing.assert_close(module.attention(tokens)[image, place], row)
            assert row.sum().item() == pytest.approx(1)
            value = module.out.weight @ (module.values.weight @ row)
            norm = module.norm
            value = (value - norm.running_mean) / (norm.running_var + norm.eps).sqrt() * norm.weight + norm.bias
            torch.testing.assert_close(found[image, place], (token + value).clamp(min=0))


def test_a_bias_of_the_projection_would_change_nothing():
    module, tokens = KeyEntityAttention(5, 3), torch.rand(2, 4, 5)
    scores = F.linear(F.linear(tokens, module.project.weight, torch.rand(5)), module.keys.weight).softmax(1)
    torch.testing.assert_close(module.attention(tokens), scores / scores.sum(2, keepdim=True))


def test_the_loss_weighs_alignment_and_uniformity():
    captions = [f"{word} dot" for word in ("red", "green", "blue", "white", "black", "grey")]
    corpus = Corpus(captions, np.arange(6))
    small = {"image_backbone": "test_resnet", "image_weights": "none", "image_size": 32, "width": 16, "word_size": 8}
    with seeded(0):
        method = HVSA.build(HVSAConfig(**small, text_width=12, dropout=0), corpus).eval()
    images, tokens = torch.rand(6, 3, 32, 32), method.tokenize(captions)
    with torch.inference_mode():
        found = method.loss(make_batch(images, tokens, torch.arange(6), torch.arange(6), 0))
        pictures, texts = method.encode_images(images), method.encode_texts(tokens)
        aligned = alignment_loss(pictures @ texts.t(), same(torch.arange(6)), 0.2, 0.5)
        spread = exp(-2 * float((pictures[0] - pictures[5]).square().sum()))
        weights = method.loss_weights.network(torch.tensor([aligned, spread]))
    assert weights.sum().item() == pytest.approx(1)
    assert found.item() == pytest.approx(float(weights[0] * aligned + weights[1] * spread), rel=1e-4)
    assert (texts >= 0).all()
    assert method.text.width == 12
