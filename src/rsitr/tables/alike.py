"""Which entries of an experiment differ only in a few settings, so that these explain the difference."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from itertools import groupby
from typing import Any

from rsitr.tables.entries import Entry


def config_of(entry: Entry) -> dict[str, Any]:
    """The configuration of an entry; empty before its first record."""
    return next((record.config for record in entry.present if record.config), {})


def alike(entries: Iterable[Entry], apart: Set[str]) -> Iterator[list[Entry]]:
    """Groups of entries of one dataset: those of one method that agree in every setting except ``apart``.

    Groups come in the order of their first members, and members in the order given. Entries without a record, or
    without all the settings of ``apart``, are in no group.
    """

    def rest(entry: Entry) -> list[tuple[str, str]]:
        same = {name: value for name, value in config_of(entry).items() if name not in apart}
        return [("", entry.runs[0].cell.method_name), *sorted((name, repr(value)) for name, value in same.items())]

    known = [entry for entry in entries if apart <= config_of(entry).keys()]
    groups = (list(same) for _, same in groupby(sorted(known, key=rest), key=rest))
    yield from sorted(groups, key=lambda same: known.index(same[0]))
