"""Which parameters weight decay applies to."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn


def by_decay(
    parameters: Iterable[nn.Parameter], decay: float, *, matrices_alone: bool
) -> list[tuple[list[nn.Parameter], float]]:
    """Parameters in groups, each with its weight decay: all of them, or matrices apart from biases and gains."""
    found = list(parameters)
    if not matrices_alone:
        return [(found, decay)]
    return [([each for each in found if each.ndim > 1], decay), ([each for each in found if each.ndim < 2], 0.0)]
