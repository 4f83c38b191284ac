"""Published rows that no cell stands for: ``not_rebuilt.csv``, each with the reason and its kind.

A line fits rows of ``published.csv`` by their paper, table, method, variant and dataset; each of these may end with *
for any text. What the papers print stays in every table that has it.
"""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rsitr.errors import DatasetError
from rsitr.records.cell import Published

FILE = Path(__file__).with_name("not_rebuilt.csv")
Kind = Literal["internals", "regions", "validation", "copied", "contradicted"]
KINDS: dict[Kind, str] = {
    "internals": "internals not public",
    "regions": "regions not public",
    "validation": "validation split",
    "copied": "copied",
    "contradicted": "contradicted",
}
"""Why there is no cell, in words: how the method works or the detected regions that it reads are not public; its
numbers are of the validation split. The last two say where the number comes from, another paper, or a text that another
number of the paper contradicts."""
ELSEWHERE = ("copied", "contradicted")
"""Kinds of rows that are no experiment of their own, whatever is shown next to them."""
KEY = ("paper", "table", "method", "variant", "dataset")


def _fits(pattern: str, text: str) -> bool:
    """Whether a text is a pattern, in which one * at the end is any text."""
    return text.startswith(pattern[:-1]) if pattern.endswith("*") else text == pattern


class NotRebuilt(BaseModel):
    """A line of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    paper: str
    table: str
    method: str
    variant: str
    dataset: str
    kind: Kind
    reason: str = Field(min_length=1)

    @property
    def text(self) -> str:
        """The footnote of its row."""
        return f"not rebuilt ({KINDS[self.kind]}): {self.reason}"

    def fits(self, row: tuple[str, ...]) -> bool:
        """Whether a row, by the fields of ``KEY``, is one of those meant."""
        return all(_fits(getattr(self, field), text) for field, text in zip(KEY, row, strict=True))


@cache
def not_rebuilt() -> tuple[NotRebuilt, ...]:
    """The lines; raises ``DatasetError`` for an unknown kind, a missing reason or a key that is there twice."""
    found: dict[tuple[str, ...], NotRebuilt] = {}
    with FILE.open(encoding="utf-8", newline="") as file:
        for number, line in enumerate(csv.DictReader(file), start=2):
            try:
                read = NotRebuilt.model_validate(line)
            except ValidationError as error:
                wrong = error.errors()[0]
                raise DatasetError(f"{FILE.name}, line {number}: {wrong['loc'][0]}: {wrong['msg']}") from None
            key = tuple(getattr(read, field) for field in KEY)
            if key in found:
                raise DatasetError(f"{FILE.name}, line {number}: {', '.join(key)} is there twice: keep one line")
            found[key] = read
    return tuple(found.values())


def unavailable(row: Published | None) -> NotRebuilt | None:
    """Why no cell can stand for a row of a table on any dataset; None if one can, or if there is no such row."""
    if row is None:
        return None
    place = (row.paper, row.table, row.method, row.variant, "")
    return next((line for line in not_rebuilt() if line.kind not in ELSEWHERE and line.fits(place)), None)


@cache
def reasons() -> dict[int, NotRebuilt]:
    """Row of ``published.csv``, by its place in the file, -> why no cell stands for it.

    Raises ``DatasetError`` for a line that fits no row, or a row that two lines fit.
    """
    from rsitr.tables.published import load  # pandas takes half a second, not needed just to name rows

    rows = load()[list(KEY)].reset_index().drop_duplicates()
    found: dict[int, NotRebuilt] = {}
    for line in not_rebuilt():
        key = ", ".join(getattr(line, field) for field in KEY)
        fitting = [place for place, *row in rows.itertuples(index=False) if line.fits(tuple(row))]
        if not fitting:
            raise DatasetError(f"{FILE.name}: {key} fits no row of published.csv: correct or delete the line")
        if twice := [place for place in fitting if place in found]:
            raise DatasetError(
                f"{FILE.name}: {key} fits line {twice[0] + 2} of published.csv, as another line does: keep one of them"
            )
        found |= dict.fromkeys(fitting, line)
    return found
