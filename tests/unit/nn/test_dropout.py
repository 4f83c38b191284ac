"""Dropout is unbiased, drawn from torch's global generator, and of training only."""

from __future__ import annotations

import torch

from rsitr.nn.dropout import Dropout


def test_a_value_is_dropped_with_the_given_probability_or_scaled():
    torch.manual_seed(0)
    values = torch.full((400, 500), 7.0, requires_grad=True)
    found = Dropout(0.3)(values)
    dropped = found == 0
    # The standard deviation of a share of 200,000 is .001.
    assert abs(dropped.double().mean() - 0.3) < 0.005
    torch.testing.assert_close(found[~dropped], torch.full_like(found[~dropped], 10.0))
    found.sum().backward()
    torch.testing.assert_close(values.grad, found.detach() / 7)


def test_the_same_seed_drops_the_same_values():
    drawn = []
    for _ in range(2):
        torch.manual_seed(3)
        drawn.append(Dropout(0.5)(torch.ones(100)))
    assert torch.equal(*drawn)


def test_nothing_is_drawn_where_nothing_is_dropped():
    values, before = torch.ones(10), torch.get_rng_state()
    assert torch.equal(Dropout(0.5).eval()(values), values)
    assert torch.equal(Dropout(0.0)(values), values)
    assert torch.equal(Dropout(1.0)(values), torch.zeros(10))
    assert torch.equal(torch.get_rng_state(), before)
