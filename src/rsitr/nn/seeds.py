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
def seeded(seed: int) -> Iterator[None]:
    """Run a block under a torch CPU seed and leave the global generator as it was."""
    state = torch.random.get_rng_state()
    torch.random.manual_seed(seed)
    try:
        yield
    finally:
        torch.random.set_rng_state(state)
