"""``failures.csv``: the queries that a cell answers worst, by name alone, so that it holds nothing of a dataset."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from rsitr.datasets.splits import SplitData, words_of
from rsitr.records.files import write_csv

FIELDS = ("direction", "query", "rank", "fitting", "fitting_score", "first", "first_score")
CAPTIONS = {"i2t": ("fitting", "first"), "t2i": ("query",)}
"""Which fields of a failure name captions, by direction; ``query``, ``fitting`` and ``first`` otherwise name images."""

Failure = dict[str, str]


def in_words(failure: Failure, split: SplitData) -> Failure:
    """A failure with the words of each caption after its name; raises ``DatasetError`` where the split has it not."""
    names = {field: failure[field] for field in CAPTIONS[failure["direction"]]}
    return failure | {field: f"{name} {words_of(name, split)}" for field, name in names.items()}


def write_failures(listed: Sequence[Failure], path: Path) -> None:
    """One line a failure; of none, the head alone."""
    write_csv(path, FIELDS, [[failure[field] for field in FIELDS] for failure in listed])


def read_failures(path: Path) -> list[Failure]:
    """The failures in the order of the file."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
