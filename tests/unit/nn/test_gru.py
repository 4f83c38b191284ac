"""The GRU of packed sequences computes what torch's own does, gradients included."""

from __future__ import annotations

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from rsitr.nn.gru import PackedGRU

LENGTHS = torch.tensor([3, 1, 5, 5, 2])


def states_and_gradients(gru, forward):
    """States [5, 5, width] in both directions, and the gradients of inputs and weights for a random weighted sum."""
    random = torch.Generator().manual_seed(1)
    inputs = torch.randn(5, 5, 4, generator=random, dtype=torch.float64).requires_grad_()
    packed = pack_padded_sequence(inputs, LENGTHS, batch_first=True, enforce_sorted=False)
    states, lengths = pad_packed_sequence(forward(packed), batch_first=True)
    assert lengths.tolist() == LENGTHS.tolist()
    weights = torch.randn(states.shape, generator=random, dtype=torch.float64)
    return states, torch.autograd.grad((weights * states).sum(), [inputs, *gru.parameters()])


@pytest.mark.parametrize("bidirectional", [False, True])
def test_states_and_gradients_are_those_of_torch(bidirectional):
    torch.manual_seed(0)
    gru = PackedGRU(4, 3, batch_first=True, bidirectional=bidirectional).double()
    found, gradients = states_and_gradients(gru, gru)
    expected, wanted = states_and_gradients(gru, lambda packed: torch.nn.GRU.forward(gru, packed)[0])
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(gradients, wanted)


def test_weights_are_those_of_torch_by_name_and_by_seed():
    states = []
    for kind in (PackedGRU, torch.nn.GRU):
        torch.manual_seed(0)
        states.append(kind(4, 3, bidirectional=True).state_dict())
    torch.testing.assert_close(*states, rtol=0, atol=0)


def test_inputs_and_weights_that_do_not_learn_get_no_gradient():
    gru = PackedGRU(4, 3)
    packed = pack_padded_sequence(torch.randn(5, 2, 4), torch.tensor([5, 3]))
    gru(packed).data.sum().backward()
    assert all(parameter.grad is not None for parameter in gru.parameters())
    with torch.inference_mode():
        assert not gru(packed).data.requires_grad
