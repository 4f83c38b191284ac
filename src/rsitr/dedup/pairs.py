"""Tables of near duplicates: pairs of near-duplicate images as data, with the evidence for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pyarrow as pa

from rsitr.errors import DatasetError
from rsitr.records.parquet import read_facts, read_rows, write_table

ORIENTATIONS = (
    "same",
    "mirrored",
    "flipped",
    "turned 180",
    "transposed",
    "turned right",
    "turned left",
    "transposed and turned 180",
)
"""Names of ``fingerprints.ORIENTATIONS``: what to do to the part to make it look like the box of the original."""

TEXTS = ("first", "second", "first_split", "second_split", "part", "orientation")
NUMBERS = ("top", "left", "height", "width", "similarity", "detail", "agreement")
SCHEMA = pa.schema([*((name, pa.string()) for name in TEXTS), *((name, pa.float32()) for name in NUMBERS)])
"""``first`` and ``second`` are image ids. ``part`` is the one seen in a box of the other, after ``orientation``.

``top``, ``left``, ``height`` and ``width`` are the box in shares of the original's sides; ``similarity`` is the cosine
of the fingerprints, ``detail`` the correlation of the pixels and ``agreement`` the share of their blocks that agree.
"""
OVERHANG = 0.04
"""How far a box may reach beyond the original, as a share of its side."""


class NearDuplicateFacts(NamedTuple):
    """What the parquet header says about a table of near duplicates."""

    first: str
    second: str
    """Datasets; the same one twice for those within it."""
    first_sha: str
    second_sha: str
    """Their data hashes."""


def write_pairs(frame: pd.DataFrame, facts: NearDuplicateFacts, path: Path) -> int:
    """Write a table of near duplicates atomically; returns the number of pairs."""
    write_table(pa.Table.from_pandas(frame, SCHEMA, preserve_index=False), facts, path)
    return len(frame)


def read_near_duplicates(path: Path) -> tuple[pd.DataFrame, NearDuplicateFacts]:
    """Pairs and facts of a table of near duplicates."""
    facts = NearDuplicateFacts(**read_facts(path))
    return read_rows(path).to_pandas(), facts


def current_near_duplicates(path: Path, data_shas: Mapping[str, str]) -> tuple[pd.DataFrame, NearDuplicateFacts]:
    """``read_near_duplicates``, with ``DatasetError`` if a dataset's hash now differs from ``data_shas``."""
    frame, facts = read_near_duplicates(path)
    for name, sha in ((facts.first, facts.first_sha), (facts.second, facts.second_sha)):
        if data_shas.get(name, sha) != sha:
            raise DatasetError(f"{path} was made from other data of {name}: delete it and run again")
    return frame, facts


def gather(found: Sequence[pd.DataFrame], within: bool) -> pd.DataFrame:
    """One table from those of all shards, with the best evidence for each pair."""
    frame = pd.concat([part for part in found if len(part)] or [found[0]])
    if within:
        frame = _in_order(frame)
    frame = frame.sort_values(["first", "second", "detail", "part"], ascending=[True, True, False, True])
    return frame.drop_duplicates(["first", "second"]).reset_index(drop=True)


def _in_order(frame: pd.DataFrame) -> pd.DataFrame:
    """Pairs within one set with the smaller image id first."""
    swapped = frame["first"] > frame["second"]
    return pd.concat([frame[~swapped], seen_from_second(frame[swapped])])


def seen_from_second(frame: pd.DataFrame) -> pd.DataFrame:
    """The same pairs, in which what was first is second."""
    other = {"first": "second", "second": "first", "first_split": "second_split", "second_split": "first_split"}
    turned = frame.rename(columns=other)
    turned["part"] = turned["part"].map(other)
    return turned[frame.columns]


def gather_files(parts: Sequence[Path], out: Path) -> int:
    """Write one table from those of all shards; returns the number of pairs.

    Raises ``DatasetError`` if the shards are not from the same data.
    """
    read = [read_near_duplicates(part) for part in parts]
    facts = {fact for _, fact in read}
    if len(facts) != 1:
        raise DatasetError(f"{out}: its shards were made from different data: delete {out.with_suffix('')}")
    fact = facts.pop()
    return write_pairs(gather([frame for frame, _ in read], fact.first == fact.second), fact, out)
