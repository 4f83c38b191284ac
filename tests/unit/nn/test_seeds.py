"""Seeds: which generators a seeded block uses, and how it leaves them."""

from __future__ import annotations

import pytest
import torch

from rsitr.nn.seeds import derive, seeded


def test_uses_of_a_seed_differ_and_are_the_same_everywhere():
    # The SHA-256 of "7:order:0" begins with these eight bytes.
    assert derive(7, "order", 0) == 0x022C8F0195DD5E1F >> 1
    assert len({derive(seed, "order", epoch) for seed in range(3) for epoch in range(3)}) == 9


def test_a_block_draws_from_its_seed_and_leaves_the_stream_as_it_was():
    torch.manual_seed(0)
    expected = torch.rand(2)
    torch.manual_seed(0)
    first = torch.rand(1)
    with seeded(5):
        inside = torch.rand(3)
    assert torch.equal(torch.cat([first, torch.rand(1)]), expected)
    assert torch.equal(inside, torch.rand(3, generator=torch.Generator().manual_seed(5)))


def test_a_block_without_a_device_leaves_every_gpu_alone(monkeypatch):
    seeds = []
    for name in ("manual_seed", "manual_seed_all"):
        monkeypatch.setattr(torch.cuda, name, seeds.append)
    with seeded(5):
        pass
    assert seeds == []


@pytest.mark.parametrize(("device", "used"), [("cuda", 0), ("cuda:0", 0), ("cuda:1", 1)])
def test_a_block_on_a_gpu_seeds_that_one_and_gives_its_stream_back(device, used, monkeypatch):
    # Generators of the CPU stand for those of two GPUs, which torch makes when CUDA starts.
    gpus = tuple(torch.Generator().manual_seed(place) for place in range(2))
    monkeypatch.setattr(torch.cuda, "init", lambda: None)
    monkeypatch.setattr(torch.cuda, "default_generators", gpus)
    before = [gpu.get_state() for gpu in gpus]
    with seeded(5, device):
        assert gpus[used].initial_seed() == 5
        assert torch.equal(gpus[1 - used].get_state(), before[1 - used])
        torch.rand(1, generator=gpus[used])
    assert all(torch.equal(gpu.get_state(), state) for gpu, state in zip(gpus, before, strict=True))
