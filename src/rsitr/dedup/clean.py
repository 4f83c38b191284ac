"""The cleaned view of a dataset: which images a method may read, and why not the others."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pyarrow as pa

from rsitr.datasets.canonical import data_sha
from rsitr.datasets.table import CLEAN_SCHEMA, DatasetFacts, read_table
from rsitr.dedup.groups import PRECEDENCE, linked, near_pairs
from rsitr.dedup.pairs import current_near_duplicates
from rsitr.errors import ParamsError
from rsitr.params import Dedup
from rsitr.records.parquet import write_table
from rsitr.records.paths import Paths

PROTOCOLS = get_args(Dedup)

# What a method can see of an image. Other columns may gain precision without making a record stale.
SEEN = ["image_id", "split", "class_name", "captions", "keywords", "sha256", "keep", "reason"]


def clean(frame: pd.DataFrame, dedup: str, near_duplicates: pd.DataFrame | None = None) -> pd.DataFrame:
    """Add ``duplicate_group``, ``keep`` and ``reason`` to a canonical frame and drop blank captions from its lists.

    ``dedup`` is ``none`` (published protocol: nothing is removed), or the rule that defines near duplicates: 64-bit
    hashes (``remoteclip``) or the pairs of the argument ``copies``, then required (``copies``). An image then leaves
    train if a near duplicate of it is in val or test, and val if one is in test; near duplicates within a split stay.
    Unreadable images and images without captions are never kept. Raises ``ParamsError`` for any other protocol.
    """
    if dedup not in PROTOCOLS:
        raise ParamsError(f"unknown de-duplication protocol {dedup!r}: the known ones are {', '.join(PROTOCOLS)}")
    frame, reason = usable(frame)
    frame["duplicate_group"] = _groups(frame, near_duplicates if dedup == "copies" else None)
    if dedup != "none":
        rank = frame["split"].map(PRECEDENCE)
        best = rank.where(reason == "", np.inf).groupby(frame["duplicate_group"]).transform("min")
        split = best.map({value: name for name, value in PRECEDENCE.items()})
        reason = reason.where((reason != "") | (rank == best), "near duplicate in " + split.astype(str))
    frame["reason"] = reason
    frame["keep"] = reason == ""
    return frame


def usable(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.Series]:
    """A canonical frame without blank captions, and why no method can read an image; empty where one can."""
    frame = frame.copy()
    frame["captions"] = [[caption for caption in captions if caption] for captions in frame["captions"]]
    reason = frame["problem"].copy()
    reason[(reason == "") & (frame["captions"].map(len) == 0)] = "no captions"
    return frame, reason


def _groups(frame: pd.DataFrame, near_duplicates: pd.DataFrame | None) -> np.ndarray:
    """Group number of every image: int32 [N]; one without near duplicates is its own group."""
    if near_duplicates is None:
        pairs = near_pairs(frame["fingerprint"].tolist())
    else:
        place = {image_id: row for row, image_id in enumerate(frame["image_id"])}
        pairs = np.array([[place[image] for image in pair] for pair in near_duplicates[["first", "second"]].to_numpy()])
    number = linked(pairs.tolist())
    return np.array([number.get(row, len(number) + row) for row in range(len(frame))], dtype=np.int32)


def write_clean(dataset_table: Path, dedup: str, out: Path) -> DatasetFacts:
    """Write the cleaned view of a canonical table to ``out``; its data hash covers what methods can see.

    ``copies`` reads the dataset's table of near duplicates; raises ``DatasetError`` if that is from other data.
    """
    table, facts = read_table(dataset_table)
    pairs, within = None, Paths.near_duplicates(facts.name, facts.name)
    if dedup == "copies":
        pairs, _ = current_near_duplicates(within, {facts.name: facts.data_sha})
    cleaned = clean(table.to_pandas(), dedup, pairs)
    facts = facts._replace(data_sha=data_sha(cleaned[SEEN]), parent_sha=facts.data_sha)
    write_table(pa.Table.from_pandas(cleaned, CLEAN_SCHEMA, preserve_index=False), facts, out)
    return facts
