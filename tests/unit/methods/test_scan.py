"""SCAN: its attention against a slow reference that forms every attended vector, by hand, and in blocks."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from rsitr.methods import scan as stacked_attention
from rsitr.methods.base import Corpus
from rsitr.methods.configure import configure
from rsitr.methods.scan import SCANI2T, SCANT2I, StackedAttention
from rsitr.nn.seeds import seeded
from rsitr.stages import encode as scoring
from rsitr.stages.encode import encode_captions, score_all
from tests.helpers.batches import batch as make_batch
from tests.helpers.examples import examples

CAPTIONS = [
    "a red dot on white ground",
    "a green bar",
    "two",
    "a red dot",
    "bar",
    "a dot on a white bar on green ground",
]
CORPUS = Corpus(CAPTIONS, np.arange(len(CAPTIONS)))


def fragments(lengths, width, seed=0):
    """Unit vectors float64 [B, L, width], each sequence filled up with zeros to the longest."""
    generator = torch.Generator().manual_seed(seed)
    found = torch.zeros(len(lengths), max(lengths), width, dtype=torch.float64)
    for row, length in zip(found, lengths, strict=True):
        row[:length] = F.normalize(torch.randn(length, width, generator=generator, dtype=torch.float64), dim=1)
    return found


def slow_score(query, context, lambda1, lambda2, pooling):
    """Eqs. 1-6 of one query [q, D] and one context [k, D] without padding, number by number in float64."""
    similar = [[one @ other for other in context] for one in query]
    clipped = [[value if value > 0 else 0.1 * value for value in row] for row in similar]
    norms = [sum(row[j] ** 2 for row in clipped).sqrt() for j in range(len(context))]
    cosines = []
    for i, one in enumerate(query):
        weights = [(lambda1 * clipped[i][j] / norms[j]).exp() for j in range(len(context))]
        attended = sum(weight / sum(weights) * other for weight, other in zip(weights, context, strict=True))
        cosines.append(one @ attended / ((one @ one) * (attended @ attended)).sqrt())
    if pooling == "mean":
        return sum(cosines) / len(cosines)
    return sum((lambda2 * cosine).exp() for cosine in cosines).log() / lambda2


def slow_scores(queries, contexts, lambda1, lambda2, pooling):
    """``slow_score`` of all pairs, padding cut off."""
    real = [[row[row.any(1)] for row in side] for side in (queries, contexts)]
    rows = [[slow_score(query, context, lambda1, lambda2, pooling) for context in real[1]] for query in real[0]]
    return torch.stack([torch.stack(row) for row in rows])


@pytest.mark.parametrize("pooling", ["lse", "mean"])
@pytest.mark.parametrize(
    ("queries", "contexts"),
    [
        ([5, 1, 3, 7, 2], [4] * 6),  # words attend to regions
        ([4] * 6, [5, 1, 3, 7, 2]),  # regions attend to words
        ([1], [9]),  # one word
        ([6, 3], [1, 1]),  # one region
        ([1, 1], [1]),
        ([2] * 40, [3, 2, 5]),  # more queries than are attended with at a time
    ],
)
def test_attention_against_a_slow_reference(queries, contexts, pooling):
    some, others = fragments(queries, 12), fragments(contexts, 12, seed=1)
    for lambda1, lambda2 in ((9.0, 6.0), (4.0, 5.0)):
        scores = StackedAttention(lambda1, pooling, lambda2)(some.float(), others.float())
        assert scores.dtype == torch.float32
        expected = slow_scores(some, others, lambda1, lambda2, pooling).float()
        torch.testing.assert_close(scores, expected, atol=1e-5, rtol=0)


lengths = st.lists(st.integers(1, 6), min_size=1, max_size=5)


@examples(30)
@given(lengths, lengths, st.integers(0, 3), st.sampled_from([1, 30, 2**18]))
def test_neither_padding_nor_the_block_nor_the_order_changes_a_score(queries, contexts, padding, numbers):
    attend = StackedAttention(9.0, "lse", 6.0)
    some, others = fragments(queries, 8).float(), fragments(contexts, 8, seed=1).float()
    scores = attend(some, others)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stacked_attention, "NUMBERS", {"cpu": numbers})
        patch.setattr(stacked_attention, "QUERIES", 2)
        longer = [F.pad(side, (0, 0, 0, padding)).flip(0) for side in (some, others)]
        torch.testing.assert_close(attend(*longer).flip(0, 1), scores, atol=1e-5, rtol=0)


def test_by_hand():
    """A query of (1, 0) and (0, 1) attends to (1, 0) and (0.6, 0.8); lambda 1 = 1, mean.

    Dot products: row (1, 0): 1 and 0.6; row (0, 1): 0 and 0.8. Divided by the norms of the columns, 1 and 1: the same.
    The first attends with e and e^0.6, the second with 1 and e^0.8.
    """
    query, context = torch.eye(2)[None], torch.tensor([[[1.0, 0.0], [0.6, 0.8]]])
    first = torch.tensor([math.e + math.exp(0.6) * 0.6, math.exp(0.6) * 0.8])
    second = torch.tensor([1 + math.exp(0.8) * 0.6, math.exp(0.8) * 0.8])
    expected = (first[0] / first.norm() + second[1] / second.norm()) / 2
    torch.testing.assert_close(StackedAttention(1.0, "mean", 1.0)(query, context), expected[None, None])


def test_a_single_region_is_all_that_words_can_attend_to():
    """Their cosines with it are 0.6, 0 and -1: log(e^3.6 + 1 + e^-6) / 6."""
    words, region = torch.tensor([[[0.6, 0.8], [0.0, 1.0], [-1.0, 0.0]]]), torch.tensor([[[1.0, 0.0]]])
    expected = math.log(math.exp(3.6) + 1 + math.exp(-6)) / 6
    assert StackedAttention(9.0, "lse", 6.0)(words, region).item() == pytest.approx(expected, abs=1e-6)


def test_a_single_region_sees_of_each_word_whether_it_agrees():
    """The words (0.6, 0.8) and (-1, 0) weigh e^4 and e^-4, one query's norm being its own; one cosine is pooled."""
    region, words = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[0.6, 0.8], [-1.0, 0.0]]])
    attended = math.exp(4) * words[0, 0] + math.exp(-4) * words[0, 1]
    expected = float(attended[0] / attended.norm())
    assert StackedAttention(4.0, "lse", 5.0)(region, words).item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("pooling", ["lse", "mean"])
def test_gradients_are_those_of_the_slow_reference(pooling):
    gradients = []
    exact = fragments([3, 1, 4], 6), fragments([2, 5], 6, seed=1)
    for sides, scores in (
        ([side.float() for side in exact], StackedAttention(4.0, pooling, 5.0)),
        (exact, lambda some, others: slow_scores(some, others, 4.0, 5.0, pooling)),
    ):
        some, others = (side.clone().requires_grad_() for side in sides)
        (scores(some, others) * torch.tensor([[1.0, 2.0], [3.0, -1.0], [0.5, 1.0]])).sum().backward()
        gradients.append((some, others))
    for ours, theirs, side in zip(*gradients, exact, strict=True):
        # The reference has the length of a query in its cosine; along the query ours need not agree.
        across = [one.grad.double() - (one.grad.double() * side).sum(2, keepdim=True) * side for one in (ours, theirs)]
        torch.testing.assert_close(*across, atol=1e-5, rtol=0)
        assert not ours.grad[~side.any(2)].any()


def test_autocast_leaves_scores_alone():
    attend = StackedAttention(9.0, "lse", 6.0)
    some, others = fragments([3, 2], 8).float(), fragments([4, 4], 8, seed=1).float()
    with torch.autocast("cpu", torch.bfloat16):
        inside = attend(some, others)
    assert torch.equal(inside, attend(some, others))


@pytest.fixture(scope="module")
def build(tiny_settings):
    """``build(class, variant)``: the method in small."""

    def built(cls, variant="", **settings):
        fields = {key: value for key, value in tiny_settings.items() if key in cls.Config.model_fields}
        with seeded(0):
            return cls.build(configure(cls, variant, fields | settings), CORPUS).eval()

    return built


@pytest.mark.parametrize("cls", [SCANT2I, SCANI2T])
def test_the_method_attends_in_its_direction(build, cls):
    method = build(cls)
    with seeded(1), torch.inference_mode():
        images, texts = method.encode_images(torch.rand(3, 3, 96, 96)), method.encode_texts(method.tokenize(CAPTIONS))
        scores = method.score(images, texts)
    assert images.shape == (3, 9, 16)  # 96 pixels make 3 x 3 cells
    assert texts.shape == (6, 9, 16)
    torch.testing.assert_close(images.norm(dim=2), torch.ones(3, 9))
    torch.testing.assert_close(texts.norm(dim=2), (method.tokenize(CAPTIONS) > 0).float())
    if cls is SCANT2I:
        expected = slow_scores(texts.double(), images.double(), 9.0, 6.0, "lse").t()
    else:
        expected = slow_scores(images.double(), texts.double(), 4.0, 5.0, "lse")
    torch.testing.assert_close(scores, expected.float(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("cls", [SCANT2I, SCANI2T])
def test_a_single_token_is_the_projected_mean(build, cls):
    method = build(cls, "single-token")
    tokens = torch.rand(2, 9, method.backbone.width)
    with torch.inference_mode():
        expected = F.normalize(method.image_head(tokens.mean(1)), dim=1)
        torch.testing.assert_close(method.encode_images(tokens), expected[:, None])


@pytest.mark.parametrize("cls", [SCANT2I, SCANI2T])
@pytest.mark.parametrize("variant", ["", "single-token"])
def test_scores_do_not_depend_on_the_block(build, cls, variant, monkeypatch):
    method = build(cls, variant)
    with seeded(1), torch.inference_mode():
        images = method.encode_images(torch.rand(7, 3, 96, 96))
    texts, _ = encode_captions(method, CAPTIONS, "cpu")
    whole = score_all(method, images, texts, "cpu")
    for numbers in (1, 200):
        monkeypatch.setattr(scoring, "PAIR_NUMBERS", numbers)
        torch.testing.assert_close(score_all(method, images, texts, "cpu"), whole, atol=1e-5, rtol=0)


@pytest.mark.parametrize("cls", [SCANT2I, SCANI2T])
@pytest.mark.parametrize("negatives", ["hardest", "all"])
def test_gradients_are_finite_under_autocast(build, cls, negatives):
    method = build(cls, negatives=negatives).train()
    batch = make_batch(torch.rand(6, 3, 32, 32), method.tokenize(CAPTIONS), torch.arange(6), torch.arange(6), epoch=0)
    with torch.autocast("cpu", torch.bfloat16):
        loss = method.loss(batch)
    assert loss.dtype == torch.float32
    loss.backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in method.parameters() if parameter.grad is not None)
    assert method.image_head.weight.grad.any()
    assert method.text.embed.weight.grad.any()
