"""The block ``tuning`` of an experiment: how settings are searched for, and over which values.

The same for every method and the baseline: as many trials, of at most as many steps, judged on val (K. Musgrave et al.,
"A Metric Learning Reality Check", ECCV 2020).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator, model_validator

DECIDED = frozenset(
    {
        *("query", "teacher", "weights", "instruction_weights", "spatial", "model", "instruction", "belief"),
        *("image_weights", "text_weights", "word_vectors", "margin_type", "prior", "prior_bleu"),
        *("selection", "selection_images", "choose", "max_steps"),
    }
)
"""Settings that no tuning varies: what a cell rests on and reads, and how its trials are judged and capped."""
EDGE = 0.05
"""Share of a range at each end that counts as its edge."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Range(_Strict):
    """All numbers from ``low`` to ``high``, both included: whole ones for a setting that is a whole number."""

    low: int | float
    high: int | float
    log: bool = False
    """Search over the logarithm."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not (math.isfinite(self.low) and math.isfinite(self.high)):
            raise ValueError(f"{self.low} to {self.high} is not a range: state two finite numbers")
        if self.low >= self.high:
            raise ValueError(f"{self.low} to {self.high} is empty: `low` has to be less than `high`")
        if self.log and self.low <= 0:
            raise ValueError(f"`log` needs a `low` above 0, not {self.low}")
        return self

    @property
    def ends(self) -> list[Any]:
        """Values that a setting has to accept if it accepts all of them."""
        return [self.low, self.high]

    def at_edge(self, value: Any) -> bool:
        """Whether a value is at an end, within ``EDGE`` of the range, or beyond it; in a ``log`` range by logarithm."""
        if not _is_number(value):
            return False
        low, high, here = (math.log(each) if self.log else each for each in (self.low, self.high, max(value, self.low)))
        return not EDGE < (here - low) / (high - low) < 1 - EDGE


class Choices(_Strict):
    """Some values of a setting."""

    choices: Annotated[list[Any], Field(min_length=1)]

    @field_validator("choices")
    @classmethod
    def _each_once(cls, choices: list[Any]) -> list[Any]:
        if len({*map(json.dumps, choices)}) < len(choices):
            raise ValueError(f"{choices} names a value twice")
        return choices

    @property
    def ends(self) -> list[Any]:
        """All of them."""
        return self.choices

    def at_edge(self, value: Any) -> bool:
        """Whether a value is the least or the greatest of three numbers or more; other choices have no order."""
        if len(self.choices) < 3 or not all(map(_is_number, [*self.choices, value])):
            return False
        return not min(self.choices) < value < max(self.choices)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _kind(value: Any) -> str:
    named = value.keys() if isinstance(value, dict) else getattr(value, "__dict__", {})
    return "choices" if "choices" in named else "range"


Domain = Annotated[Annotated[Range, Tag("range")] | Annotated[Choices, Tag("choices")], Discriminator(_kind)]
"""What one setting is searched over: ``{low, high, log}`` or ``{choices}``."""
Space = dict[str, Domain]
"""Setting -> what it is searched over."""


class Spaces(_Strict):
    """What is searched over, layered as ``settings`` are: ``all`` reaches the methods that have such a setting, and
    ``methods`` is exact. A method is named without a variant."""

    all: Space = {}
    methods: dict[str, Space] = {}


class Tuning(_Strict):
    """How the settings of the methods of an experiment are searched for."""

    trials: Annotated[int, Field(ge=1)] = 12
    """Of each method on each dataset; the first has the settings as given."""
    max_steps: Annotated[int, Field(ge=1)] = 400
    """The most optimiser steps of a trial; an epoch that has begun is finished."""
    seed: Annotated[int, Field(ge=0)] = 1000
    """Of every trial; none of the table's, so that no row is of the seed that its settings were chosen by."""
    space: Spaces = Spaces()


def edges(space: Mapping[str, Range | Choices], settings: Mapping[str, Any]) -> list[str]:
    """The settings whose values are at the edge of what was searched: better ones may lie beyond it."""
    return [name for name, domain in space.items() if name in settings and domain.at_edge(settings[name])]
