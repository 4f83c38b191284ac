"""A GRU over packed sequences that is trained faster on a CPU than torch's own.

Torch's backward pass multiplies matrices and sums gradients of the weights at every place of the sequences, and there
fills a tensor as large as the gates of all places. Here the gradient of each weight is one product over all places.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.amp import custom_bwd, custom_fwd
from torch.autograd.function import once_differentiable
from torch.nn.utils.rnn import PackedSequence


class PackedGRU(nn.GRU):
    """``torch.nn.GRU`` of one layer with bias, over packed sequences and from a state of zeros."""

    def forward(self, packed: PackedSequence) -> PackedSequence:  # type: ignore[override]
        """States [T, width] of inputs [T, word_size] in T places, of both directions [T, 2 width] where it has two."""
        if packed.data.device.type != "cpu":
            return super().forward(packed)[0]
        sizes = packed.batch_sizes.tolist()
        states = [
            _Direction.apply(
                packed.data, *(getattr(self, f"{name}_l0{suffix}") for name in WEIGHTS), sizes, bool(suffix)
            )
            for suffix in ("", "_reverse")[: 1 + self.bidirectional]
        ]
        return packed._replace(data=torch.cat(states, 1))


WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


class _Step(NamedTuple):
    """Sequences that have a place, and the first of them, which have a state before it."""

    now: slice
    before: slice
    """Their states: as many rows as there are such sequences, none at the start."""
    known: slice
    """The rows of ``now`` that these belong to."""


def _steps(sizes: list[int], reverse: bool) -> Iterator[_Step]:
    """The places of packed sequences in the order in which a direction reads them."""
    starts = [0, *torch.tensor(sizes).cumsum(0).tolist()]
    order = range(len(sizes))[:: -1 if reverse else 1]
    previous, known = 0, 0
    for place in order:
        start, size = starts[place], sizes[place]
        known = min(known, size)
        yield _Step(slice(start, start + size), slice(previous, previous + known), slice(start, start + known))
        previous, known = start, size


class _Direction(torch.autograd.Function):
    """States h' = n + z (h - n) of one direction, with r, z = sigmoid(W x + U h) and n = tanh(W x + r (U h))."""

    @staticmethod
    @custom_fwd(device_type="cpu", cast_inputs=torch.float32)
    def forward(
        ctx: Any,
        inputs: Tensor,
        weight: Tensor,
        recurrent: Tensor,
        bias: Tensor,
        recurrent_bias: Tensor,
        sizes: list[int],
        reverse: bool,
    ) -> Tensor:
        width = recurrent.shape[1]
        both = bias + torch.cat([recurrent_bias[: 2 * width], bias.new_zeros(width)])
        gates = torch.addmm(both, inputs, weight.t())
        heard = recurrent_bias[2 * width :].repeat(len(inputs), 1)
        states, before = gates.new_empty(len(inputs), width), gates.new_zeros(len(inputs), width)
        for step in _steps(sizes, reverse):
            if step.known.stop > step.known.start:
                before[step.known] = states[step.before]
                products = states[step.before] @ recurrent.t()
                gates[step.known, : 2 * width] += products[:, : 2 * width]
                heard[step.known] += products[:, 2 * width :]
            gates[step.now, : 2 * width].sigmoid_()
            reset, update, new = gates[step.now].chunk(3, 1)
            new.addcmul_(reset, heard[step.now]).tanh_()
            torch.lerp(new, before[step.now], update, out=states[step.now])
        ctx.save_for_backward(inputs, weight, recurrent, gates, heard, before)
        ctx.sizes, ctx.reverse = sizes, reverse
        return states

    @staticmethod
    @custom_bwd(device_type="cpu")
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        inputs, weight, recurrent, gates, heard, before = ctx.saved_tensors
        width = recurrent.shape[1]
        of_states = gradient.clone()
        of_gates = torch.empty_like(gates)
        of_heard = torch.empty_like(gates)
        for step in reversed(list(_steps(ctx.sizes, ctx.reverse))):
            now = step.now
            reset, update, new = gates[now].chunk(3, 1)
            to_reset, to_update, to_new = of_gates[now].chunk(3, 1)
            arriving = of_states[now]
            torch.mul(arriving, 1 - update, out=to_new)
            to_new.mul_(1 - new.square())
            torch.mul(arriving, before[now] - new, out=to_update)
            to_update.mul_(update).mul_(1 - update)
            torch.mul(to_new, heard[now], out=to_reset)
            to_reset.mul_(reset).mul_(1 - reset)
            of_heard[now] = of_gates[now]
            of_heard[now, 2 * width :].mul_(reset)
            count = step.known.stop - step.known.start
            if count:
                earlier = of_states[step.before]
                earlier.addcmul_(arriving[:count], update[:count]).add_(of_heard[step.known] @ recurrent)
        return (
            of_gates @ weight if ctx.needs_input_grad[0] else None,
            of_gates.t() @ inputs,
            of_heard.t() @ before,
            of_gates.sum(0),
            of_heard.sum(0),
            None,
            None,
        )
