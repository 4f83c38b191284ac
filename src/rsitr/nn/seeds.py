"""One seed per cell, and from it one for every use."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def derive(seed: int, *use: str | int) -> int:
    """A seed in [0, 2^63) for one use of a cell's seed, unrelated to that of any other use."""
    text = ":".join(map(str, (seed, *use)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


@contextmanager
def seeded(seed: int, device: str = "cpu") -> Iterator[None]:
    """Run a block under a seed of torch's CPU generator and of that of ``device``, and leave both as they were.

    No other generator is touched: a seed for every GPU, which ``torch.manual_seed`` sets, would end the stream that a
    training on one of them draws its dropout from.
    """
    states = [generator.get_state() for generator in generators(device)]
    for generator in generators(device):
        generator.manual_seed(seed)
    try:
        yield
    finally:
        for generator, state in zip(generators(device), states, strict=True):
            generator.set_state(state)


def generators(device: str) -> list[torch.Generator]:
    """torch's generator of the CPU and, if it is a GPU, that of ``device``: what a training on it draws from."""
    if device == "cpu":
        return [torch.default_generator]
    torch.cuda.init()
    return [torch.default_generator, torch.cuda.default_generators[torch.device(device).index or 0]]
