"""Methods that papers compare with and that nobody can rebuild: ``not_rebuilt.csv``, each with the reason and its kind.

Their published rows stay in every table that has them.
"""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rsitr.errors import DatasetError

FILE = Path(__file__).with_name("not_rebuilt.csv")
Kind = Literal["internals", "regions"]
"""What is not public: how the method works internally, or the detected regions that it reads."""


class NotRebuilt(BaseModel):
    """A line of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: str
    """As ``published.csv`` calls it."""
    kind: Kind
    reason: str = Field(min_length=1)

    @property
    def text(self) -> str:
        """The footnote of its row."""
        return f"not rebuilt ({self.kind} not public): {self.reason}"


@cache
def not_rebuilt() -> dict[str, NotRebuilt]:
    """The lines by method; raises ``DatasetError`` for an unknown kind, a missing reason or a method named twice."""
    found: dict[str, NotRebuilt] = {}
    with FILE.open(encoding="utf-8", newline="") as file:
        for number, line in enumerate(csv.DictReader(file), start=2):
            try:
                read = NotRebuilt.model_validate(line)
            except ValidationError as error:
                wrong = error.errors()[0]
                raise DatasetError(f"{FILE.name}, line {number}: {wrong['loc'][0]}: {wrong['msg']}") from None
            if read.method in found:
                raise DatasetError(f"{FILE.name}, line {number}: {read.method} is named twice: keep one line")
            found[read.method] = read
    return found
