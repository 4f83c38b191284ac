"""Clean tables: which images of a dataset a method may read, as train, val or test, and why not the others."""

from __future__ import annotations

import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pyarrow as pa

from rsitr.datasets.canonical import PART, add_rows
from rsitr.datasets.protocols import get_protocol
from rsitr.datasets.table import CLEAN_SCHEMA, DATASET_SCHEMA, DatasetFacts, read_facts
from rsitr.dedup.groups import PRECEDENCE, linked, near_pairs
from rsitr.dedup.pairs import current_near_duplicates
from rsitr.errors import DatasetError, ParamsError
from rsitr.params.ids import OFFICIAL, CleanId, Dedup
from rsitr.records import parquet
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
    frame, reason = usable(frame)
    return frame.assign(**decided(frame.assign(reason=reason), dedup, near_duplicates))


def decided(frame: pd.DataFrame, dedup: str, near_duplicates: pd.DataFrame | None = None) -> pd.DataFrame:
    """``duplicate_group``, ``reason`` and ``keep`` of ``clean``, of a frame with the ``reason`` of ``usable``."""
    if dedup not in PROTOCOLS:
        raise ParamsError(f"unknown de-duplication protocol {dedup!r}: the known ones are {', '.join(PROTOCOLS)}")
    groups, reason = _groups(frame, near_duplicates if dedup == "copies" else None), frame["reason"]
    if dedup != "none":
        rank = frame["split"].map(PRECEDENCE)
        best = rank.where(reason == "", np.inf).groupby(groups).transform("min")
        split = best.map({value: name for name, value in PRECEDENCE.items()})
        reason = reason.where((reason != "") | (rank == best), "near duplicate in " + split.astype(str))
    return pd.DataFrame({"duplicate_group": groups, "reason": reason, "keep": reason == ""})


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
        linked_ones = set(near_duplicates["first"]) | set(near_duplicates["second"])
        place = {image_id: row for row, image_id in enumerate(frame["image_id"]) if image_id in linked_ones}
        pairs = np.array([[place[image] for image in pair] for pair in near_duplicates[["first", "second"]].to_numpy()])
    number = linked(pairs.tolist())
    return np.array([number.get(row, len(number) + row) for row in range(len(frame))], dtype=np.int32)


def write_clean(wanted: CleanId, *, listed: bool = True) -> DatasetFacts:
    """Write a clean table from what it needs of the project; its data hash covers what methods can see.

    ``copies`` reads the dataset's table of near duplicates, and a joint split protocol its training set under the same
    rule; raises ``DatasetError`` if one of them is from other data. ``listed`` is false for a part of a dataset, which
    the authors' list of val images does not fit: their rule draws. In memory are at a time ``PART`` rows, and of the
    others names, splits, hashes and reasons.
    """
    protocol = get_protocol(wanted.split_protocol)
    protocol.check(wanted.dataset)
    path, pairs = Paths.dataset(wanted.dataset), None
    facts = read_facts(path)
    images = _images(path)
    if not protocol.joint and wanted.split_protocol != OFFICIAL:
        official = dict(zip(images["image_id"], images["split"], strict=True))
        root = Path(facts.root) if listed else None
        images["split"] = images["image_id"].map(protocol.splits(wanted.dataset, official, root))
    if wanted.dedup == "copies":
        within = Paths.near_duplicates(facts.name, facts.name)
        pairs, _ = current_near_duplicates(within, {facts.name: facts.data_sha})
    found = decided(images, wanted.dedup, pairs).assign(split=images["split"])
    del images
    parts = _parts(path, found)
    if protocol.joint:
        parts = iter([_with_joint(pd.concat(parts), facts, wanted)])
    digest = sha256()
    with parquet.streamed(Paths.clean(wanted), CLEAN_SCHEMA) as table:
        for part in parts:
            add_rows(part[SEEN].sort_values("image_id"), digest)
            table.write(pa.Table.from_pandas(part, CLEAN_SCHEMA, preserve_index=False))
        table.facts = facts = facts._replace(data_sha=digest.hexdigest(), parent_sha=facts.data_sha)
    return facts


def _images(path: Path) -> pd.DataFrame:
    """What decides on the images of a canonical table; raises ``DatasetError`` unless they are in their order."""
    found = []
    for rows in parquet.read_batches(path, ["image_id", "split", "fingerprint", "captions", "problem"], PART):
        frame, reason = usable(rows.to_pandas())
        found.append(frame[["image_id", "split", "fingerprint"]].assign(reason=reason))
    images = pd.concat(found, ignore_index=True)
    if not images["image_id"].is_monotonic_increasing:
        raise DatasetError(f"{path} is not in the order of image ids: build it again")
    return images


def _parts(path: Path, found: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """The rows of a clean table in order, from those of the canonical one and what was decided on them."""
    done = 0
    for rows in parquet.read_batches(path, DATASET_SCHEMA.names, PART):
        frame, _ = usable(rows.to_pandas())
        yield frame.assign(**found[done : done + len(frame)].reset_index(drop=True))
        done += len(frame)


def _with_joint(own: pd.DataFrame, facts: DatasetFacts, wanted: CleanId) -> pd.DataFrame:
    """The val and test images of a clean frame, and the joint training set without those val images.

    A training image is called ``dataset/image_id``. RSITMD's val images are part of the published training sets; here
    they choose the epoch instead.
    """
    path = Paths.joint(wanted.split_protocol, wanted.dedup)
    header, train = parquet.read_facts(path), parquet.read_rows(path).to_pandas()
    members = dict(zip(header["datasets"], zip(header["roots"], header["parent_shas"], strict=True), strict=True))
    if members[wanted.dataset][1] != facts.data_sha:
        raise DatasetError(f"{path} was built from another table of {wanted.dataset}: build it again")
    own = own[own["split"] != "train"]
    held_out = train["dataset"].eq(wanted.dataset) & train["image_id"].isin(own["image_id"])
    train = train[~held_out].assign(split="train", width=0, height=0, fingerprint="", problem="")
    train["image_id"] = train["dataset"] + "/" + train["image_id"]
    train["path"] = [
        os.path.relpath(Path(members[member][0], name), facts.root)
        for member, name in zip(train["dataset"], train["path"], strict=True)
    ]
    # Groups of the two frames are numbered apart.
    train["duplicate_group"] += len(own) + own["duplicate_group"].max()
    return pd.concat([train[CLEAN_SCHEMA.names], own[CLEAN_SCHEMA.names]], ignore_index=True)
