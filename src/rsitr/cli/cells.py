"""How a command names a cell."""

from __future__ import annotations

from typing import Annotated

import typer

from rsitr.errors import ParamsError
from rsitr.params import CellId

CellArgument = Annotated[
    str, typer.Argument(metavar="EXPERIMENT/DATASET/METHOD/SEED", help="The cell, e.g. demo/scenes-a/vse/0.")
]


def cell_id(text: str) -> CellId:
    """The cell of that name; raises ``ParamsError`` for what names none."""
    parts = text.split("/")
    if len(parts) != 4 or not parts[3].isdecimal():
        raise ParamsError("name a cell as EXPERIMENT/DATASET/METHOD/SEED, e.g. demo/scenes-a/vse/0")
    return CellId(parts[0], parts[1], parts[2], int(parts[3]))
