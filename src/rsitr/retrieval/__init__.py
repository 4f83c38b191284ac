"""Ranks, recall and their statistics: what this project exists for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rsitr.retrieval.ranking import Ranking, rank

__all__ = ["Ranking", "rank"]


def __getattr__(name: str) -> Any:
    """What is public here, imported when it is asked for: torch takes a second."""
    if name in __all__:
        from rsitr.retrieval import ranking

        return getattr(ranking, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
