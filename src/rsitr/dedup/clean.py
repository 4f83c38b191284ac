"""The cleaned view of a dataset: which images a method may read, and for every other one the reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from rsitr.datasets.canonical import data_sha
from rsitr.datasets.table import CLEAN_SCHEMA, DatasetFacts, read_table, write_table
from rsitr.dedup.groups import duplicate_groups
from rsitr.errors import ParamsError

PROTOCOLS = ("none", "remoteclip")

# An image that appears in several splits stays in the one whose numbers are published.
PRECEDENCE = {"test": 0, "val": 1, "train": 2}

# What a method can see of an image. The other columns may gain precision without making a record stale.
SEEN = ["image_id", "split", "class_name", "captions", "keywords", "sha256", "keep", "reason"]


def clean(frame: pd.DataFrame, dedup: str) -> pd.DataFrame:
    """Add ``duplicate_group``, ``keep`` and ``reason`` to a canonical frame and drop blank captions from its lists.

    ``dedup`` is ``none`` (published protocol: nothing is removed) or ``remoteclip`` (an image leaves train when a
    near duplicate of it is in val or test, and val when one is in test). Images that cannot be
    read and images without any caption are never kept. Raises ``ParamsError`` for another protocol.
    """
    if dedup not in PROTOCOLS:
        raise ParamsError(f"unknown de-duplication protocol {dedup!r}: the known ones are {', '.join(PROTOCOLS)}")
    frame = frame.copy()
    frame["captions"] = [[caption for caption in captions if caption] for captions in frame["captions"]]
    frame["duplicate_group"] = duplicate_groups(frame["fingerprint"].tolist())
    reason = frame["problem"].copy()
    reason[(reason == "") & (frame["captions"].map(len) == 0)] = "no captions"
    if dedup == "remoteclip":
        rank = frame["split"].map(PRECEDENCE)
        best = rank.where(reason == "", np.inf).groupby(frame["duplicate_group"]).transform("min")
        split = best.map({value: name for name, value in PRECEDENCE.items()})
        reason = reason.where((reason != "") | (rank == best), "near duplicate in " + split.astype(str))
    frame["reason"] = reason
    frame["keep"] = reason == ""
    return frame


def write_clean(dataset_table: Path, dedup: str, out: Path) -> DatasetFacts:
    """Write the cleaned view of a canonical table to ``out``; its data hash covers what methods can see."""
    table, facts = read_table(dataset_table)
    cleaned = clean(table.to_pandas(), dedup)
    facts = facts._replace(data_sha=data_sha(cleaned[SEEN]), parent_sha=facts.data_sha)
    write_table(pa.Table.from_pandas(cleaned, CLEAN_SCHEMA, preserve_index=False), facts, out)
    return facts
