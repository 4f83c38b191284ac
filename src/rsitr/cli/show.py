"""Tables on the console."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

ANY_WIDTH = 100_000


def show(table: Table) -> None:
    """Print a table as wide as the terminal; into a pipe or a file one line a row, so that ``grep`` finds all of it.

    Nothing is cut: what is wider than its column goes on below.
    """
    table.title_justify = "left"
    for column in table.columns:
        column.overflow = "fold"
    console = Console()
    (console if console.is_terminal else Console(width=ANY_WIDTH)).print(table)
