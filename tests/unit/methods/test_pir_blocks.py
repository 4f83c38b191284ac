"""The progressive attention encoders against their equations written as loops over places and heads in float64."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rsitr.errors import ParamsError
from rsitr.methods.pir_blocks import AttentionBlock, SpatialPAE, TemporalPAE
from rsitr.nn.seeds import seeded

WIDTH, HEADS = 8, 2


def build(kind: Any, layers: int, dropout: float = 0.2) -> Any:
    """In float64, with biases and norms that are not those of the start."""
    with seeded(0):
        module = kind(WIDTH, layers, HEADS, dropout).double()
        for parameter in module.parameters():
            if parameter.ndim == 1:
                nn.init.normal_(parameter, 0.2, 0.5)
    return module


def linear(weight: Tensor, bias: Tensor, x: Tensor) -> Tensor:
    return weight @ x + bias


def norm(layer: nn.LayerNorm, x: Tensor) -> Tensor:
    return (x - x.mean()) / (x.var(correction=0) + layer.eps).sqrt() * layer.weight + layer.bias


def attention(layer: nn.MultiheadAttention, query: Tensor, states: list[Tensor]) -> Tensor:
    """What one query [D] finds in the states, head by head."""
    size = WIDTH // HEADS
    weights, biases = layer.in_proj_weight.split(WIDTH), layer.in_proj_bias.split(WIDTH)
    q = linear(weights[0], biases[0], query)
    keys, values = ([linear(weights[part], biases[part], state) for state in states] for part in (1, 2))
    found = []
    for head in range(HEADS):
        here = slice(head * size, (head + 1) * size)
        logits = [float(q[here] @ key[here]) / math.sqrt(size) for key in keys]
        powers = [math.exp(logit) for logit in logits]
        found.append(sum(p / sum(powers) * value[here] for p, value in zip(powers, values, strict=True)))
    return linear(layer.out_proj.weight, layer.out_proj.bias, torch.cat(found))


def feed_forward(layers: nn.Sequential, x: Tensor) -> Tensor:
    hidden = norm(layers[1], linear(layers[0].weight, layers[0].bias, x))
    assert len(hidden) == 2 * WIDTH
    hidden = torch.stack([h * (1 + math.erf(float(h) / math.sqrt(2))) / 2 for h in hidden])
    return linear(layers[3].weight, layers[3].bias, hidden)


def block(layer: AttentionBlock, queries: list[Tensor], states: list[Tensor]) -> list[Tensor]:
    changed = []
    for query, state in zip(queries, states, strict=True):
        state = norm(layer.norm_attention, state + attention(layer.attention, query, states))
        changed.append(norm(layer.norm_feed_forward, state + feed_forward(layer.feed_forward, state)))
    return changed


def slowly(module: Any, states: list[Tensor], instruction: Tensor | None = None) -> Tensor:
    """Eqs. 7-14 of one sequence; without an instruction the queries are the states themselves."""
    for layer in module.layers:
        source = states if instruction is None else [instruction] * len(states)
        queries = [linear(layer.query.weight, layer.query.bias, x) for x in source]
        states = block(layer.cross_attention, queries, block(layer.self_attention, states, states))
    return linear(module.head.weight, module.head.bias, states[0])


@pytest.mark.parametrize("layers", [1, 2, 3])
@torch.no_grad()
def test_spatial_pae_is_its_equations(layers: int) -> None:
    module = build(SpatialPAE, layers).eval()
    tokens, instruction = torch.randn(2, 4, WIDTH).double(), torch.randn(2, WIDTH).double()
    found = module(tokens, instruction)
    for image in range(2):
        torch.testing.assert_close(found[image], slowly(module, list(tokens[image]), instruction[image]))


@pytest.mark.parametrize("layers", [1, 2, 3])
@torch.no_grad()
def test_temporal_pae_is_its_equations(layers: int) -> None:
    """Each text is looped over at its own length: what fills it up must not count, whatever it holds."""
    module, lengths = build(TemporalPAE, layers).eval(), [5, 2]
    states = torch.randn(2, 5, WIDTH).double()
    padding = torch.arange(5) >= torch.tensor(lengths)[:, None]
    found = module(states, padding)
    for text, length in enumerate(lengths):
        torch.testing.assert_close(found[text], slowly(module, list(states[text, :length])))


@pytest.mark.parametrize("kind", [SpatialPAE, TemporalPAE])
def test_gradients_reach_every_weight_of_every_layer(kind: Any) -> None:
    module, states = build(kind, 2, dropout=0.0), torch.randn(2, 4, WIDTH).double()
    other = torch.randn(2, WIDTH).double() if kind is SpatialPAE else torch.zeros(2, 4, dtype=torch.bool)
    module(states, other).square().sum().backward()
    without = [name for name, parameter in module.named_parameters() if not parameter.grad.any()]
    assert without == []


def test_dropout_is_drawn_in_training_alone() -> None:
    module, tokens = build(SpatialPAE, 2), torch.randn(1, 4, WIDTH).double()
    draws = [module(tokens, tokens[:, 0]) for _ in range(2)]
    assert not torch.equal(*draws)
    module.eval()
    assert torch.equal(module(tokens, tokens[:, 0]), module(tokens, tokens[:, 0]))


def test_heads_must_share_the_width() -> None:
    with pytest.raises(ParamsError, match="a width of 10 cannot be split among 4 heads"):
        AttentionBlock(10, 4, 0.0)
