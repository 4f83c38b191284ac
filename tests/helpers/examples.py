"""How many examples a property is tried on."""

from __future__ import annotations

from hypothesis import settings


def examples(full: int) -> settings:
    """``full`` examples in ``make test``, and a share of them in ``make check``: see the profiles in conftest.py."""
    return settings(max_examples=max(full * settings().max_examples // 100, 5))
