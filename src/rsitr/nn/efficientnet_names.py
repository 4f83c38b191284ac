"""The names that two implementations of EfficientNet-Lite0 give the same tensors: ``efficientnet_pytorch``, from which
its published weights come, and timm's ``tf_efficientnet_lite0``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")
STEM = "_conv_stem.weight"
"""A name that only ``efficientnet_pytorch`` gives."""
DEPTHS = (1, 2, 2, 3, 3, 4, 1)
"""Blocks of each stage (M. Tan, Q. Le, 'EfficientNet', ICML 2019, Table 1)."""
OUTSIDE = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
FIRST = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
"""In the first block, which does not expand."""
OTHERS = {
    **{"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2"},
    **{"_project_conv": "conv_pwl", "_bn2": "bn3"},
}
"""In every other block."""


def as_timm(state: Mapping[str, T]) -> dict[str, T]:
    """Tensors by their names in timm, where a file has those of ``efficientnet_pytorch``; else as they are.

    Parts that EfficientNet-Lite0 does not have, such as a further block, keep their names, so that whoever loads the
    tensors finds them unknown.
    """
    if STEM not in state:
        return dict(state)
    parts = _parts()
    found = {}
    for name, value in state.items():
        part, _, tensor = name.rpartition(".")
        found[f"{parts.get(part, part)}.{tensor}"] = value
    return found


def _parts() -> dict[str, str]:
    """Name of each part there -> its name in timm, which counts the blocks of each stage from zero."""
    places = [f"{stage}.{block}" for stage, depth in enumerate(DEPTHS) for block in range(depth)]
    return OUTSIDE | {
        f"_blocks.{number}.{theirs}": f"blocks.{place}.{ours}"
        for number, place in enumerate(places)
        for theirs, ours in (OTHERS if number else FIRST).items()
    }
