"""Dropout is unbiased, drawn from torch's global generator, and of training only."""

from __future__ import annotations

import torch

from rsitr.nn.dropout import Dropout, replace_dropout


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


def test_dropout_inside_a_module_is_replaced_with_its_probability():
    module = torch.nn.Sequential(torch.nn.Dropout(0.2), torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Dropout(0.4)))
    replace_dropout(module)
    found = [part for part in module.modules() if isinstance(part, torch.nn.Dropout)]
    assert [(type(part), part.p) for part in found] == [(Dropout, 0.2), (Dropout, 0.4)]
