"""``failures.csv``: the queries that a cell answers worst, by name alone, so that it holds nothing of a dataset."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rsitr.datasets.splits import SplitData
from rsitr.errors import RecordError

FIELDS = ("direction", "query", "rank", "fitting", "fitting_score", "first", "first_score")
CAPTIONS = {"i2t": ("fitting", "first"), "t2i": ("query",)}
"""Which fields of a failure name captions, by direction; ``query``, ``fitting`` and ``first`` otherwise name images."""

Failure = dict[str, str]


def caption_name(split: SplitData, caption: int) -> str:
    """``IMAGE#K``: the K-th caption of an image, counted from 1."""
    image = split.image_of[caption]
    return f"{split.image_ids[image]}#{caption - np.searchsorted(split.image_of, image) + 1}"


def in_words(failure: Failure, split: SplitData) -> Failure:
    """A failure with the words of each caption after its name; raises ``RecordError`` where the split has none such."""
    words = {field: f"{failure[field]} {_words(failure[field], split)}" for field in CAPTIONS[failure["direction"]]}
    return failure | words


def _words(name: str, split: SplitData) -> str:
    image, _, number = name.rpartition("#")
    if image in split.image_ids and number.isdecimal():
        own = np.flatnonzero(split.image_of == split.image_ids.index(image))
        if 1 <= int(number) <= len(own):
            return split.captions[own[int(number) - 1]]
    raise RecordError(f"{name} is not in the test split: the failures are of other data, measure them anew")


def write_failures(listed: Sequence[Failure], path: Path) -> None:
    """One line a failure; of none, the head alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(listed)


def read_failures(path: Path) -> list[Failure]:
    """The failures in the order of the file."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
