"""Belief, and the tokens it selects or weighs, against loops in float64."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from rsitr.nn.belief import belief_matrix, ranks, select, weigh


def draw(images: int = 3, tokens: int = 6, width: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(images, tokens, width, generator=generator, dtype=torch.float64)
    return features, torch.randn(images, width, generator=generator, dtype=torch.float64)


def slow_belief(tokens: list[list[float]], instruction: list[float]) -> list[float]:
    powers = [math.exp(sum(f * g for f, g in zip(token, instruction, strict=True))) for token in tokens]
    return [power / sum(powers) for power in powers]


def test_belief_is_a_softmax_over_the_tokens_of_each_image() -> None:
    tokens, instruction = draw()
    expected = [slow_belief(t, g) for t, g in zip(tokens.tolist(), instruction.tolist(), strict=True)]
    torch.testing.assert_close(belief_matrix(tokens, instruction), torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("keep", [1, 4, 6, 40])
def test_the_tokens_of_the_highest_belief_go_on(keep: int) -> None:
    tokens, instruction = draw()
    belief = belief_matrix(tokens, instruction)
    expected = []
    for image in range(3):
        order = sorted(range(6), key=lambda place: -float(belief[image, place]))
        expected.append(torch.stack([tokens[image, place] for place in order[:keep]]))
    assert torch.equal(select(tokens, belief, keep), torch.stack(expected))


def test_equal_belief_has_the_lower_rank() -> None:
    assert ranks(torch.tensor([[0.1, 0.4, 0.4, 0.1]])).tolist() == [[4, 2, 2, 4]]


def test_tokens_are_weighed_by_belief_and_rank() -> None:
    tokens, instruction = draw()
    belief = belief_matrix(tokens, instruction)
    found = weigh(tokens, belief)
    for image in range(3):
        scores = belief[image].tolist()
        rank = [sum(other >= score for other in scores) for score in scores]
        assert sorted(rank) == [1, 2, 3, 4, 5, 6]
        for feature in range(4):
            column = tokens[image, :, feature].tolist()
            weighed = [b * f + f / math.sqrt(r) for b, f, r in zip(scores, column, rank, strict=True)]
            length = math.sqrt(sum(value * value for value in weighed))
            assert found[image, :, feature].tolist() == pytest.approx([value / length for value in weighed])


def test_a_norm_over_the_features_of_a_token_would_undo_its_weight() -> None:
    """Why Norm of Eq. 6 goes over the tokens: over the features, belief would change nothing at all."""
    tokens, instruction = draw()
    found = F.normalize(weigh(tokens, belief_matrix(tokens, instruction)), dim=2)
    other = F.normalize(weigh(tokens, belief_matrix(tokens, -instruction)), dim=2)
    assert not torch.allclose(found, other)
    belief = belief_matrix(tokens, instruction)
    weights = belief + ranks(belief).rsqrt()
    torch.testing.assert_close(F.normalize(weights[..., None] * tokens, dim=2), F.normalize(tokens, dim=2))


@given(st.permutations(range(6)))
def test_neither_strategy_depends_on_the_order_of_the_tokens(order: list[int]) -> None:
    tokens, instruction = draw()
    belief = belief_matrix(tokens, instruction)
    torch.testing.assert_close(select(tokens[:, order], belief[:, order], 4), select(tokens, belief, 4))
    torch.testing.assert_close(weigh(tokens[:, order], belief[:, order]), weigh(tokens, belief)[:, order])
