"""Copies: pairs of images of which one is a box of the other, whatever its orientation, size, encoding and colours.

A cheap stage proposes pairs by their fingerprints, an exact one finds the box and compares the pixels. What is found is
data: one row for each pair, with the transformation and the correlation that speak for it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from rsitr.dedup.alignment import Pyramid, Task, align
from rsitr.dedup.candidates import Gallery
from rsitr.dedup.fingerprints import WINDOWS
from rsitr.dedup.thumbnails import Thumbnails, read_thumbnails
from rsitr.errors import DatasetError
from rsitr.progress import Progress

DETAIL, AGREEMENT = 0.6, 0.8
"""Least correlation of the detail of a copy and its original, and least share of their blocks that agree."""
OVERHANG = 0.04
"""How far a box may reach beyond the original, as a share of its side."""
STRETCH = 0.1
"""Largest logarithm of the ratio of a box's sides."""
BLOCK = 1024
"""Images that are worked on at once; a shard consists of whole blocks, so its result does not depend on the others."""

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
"""Names of ``fingerprints.ORIENTATIONS``: what to do to the part, to see it as the box of the original shows it."""

SCHEMA = pa.schema(
    [
        ("first", pa.string()),
        ("second", pa.string()),
        ("first_split", pa.string()),
        ("second_split", pa.string()),
        ("part", pa.string()),
        ("orientation", pa.string()),
        ("top", pa.float32()),
        ("left", pa.float32()),
        ("height", pa.float32()),
        ("width", pa.float32()),
        ("similarity", pa.float32()),
        ("detail", pa.float32()),
        ("agreement", pa.float32()),
    ]
)
"""``first`` and ``second`` are image ids. ``part`` is the one seen in a box of the other, after ``orientation``.

``top``, ``left``, ``height`` and ``width`` are the box in shares of the original's sides; ``similarity`` is the cosine
of the fingerprints, ``detail`` the correlation of the pixels and ``agreement`` the share of their blocks that agree.
"""


class CopiesFacts(NamedTuple):
    """What the parquet header says about a table of copies."""

    first: str
    second: str
    """Datasets; the same one twice for the copies inside it."""
    first_sha: str
    second_sha: str
    """Their data hashes."""


@dataclass(frozen=True)
class Shard:
    """Part ``index`` of ``count`` of the work."""

    index: int = 0
    count: int = 1

    def blocks(self, size: int) -> list[np.ndarray]:
        """Rows of the blocks of a set of ``size`` images that are this shard's."""
        blocks = [np.arange(start, min(start + BLOCK, size)) for start in range(0, size, BLOCK)]
        return blocks[len(blocks) * self.index // self.count : len(blocks) * (self.index + 1) // self.count]


WHOLE = Shard()


def find_copies(first: Thumbnails, second: Thumbnails | None = None, shard: Shard = WHOLE) -> pd.DataFrame:
    """Copies between two sets, or inside ``first`` when there is no ``second``: the columns of ``SCHEMA``, sorted."""
    within = second is None
    other = first if second is None else second
    here, there = (np.flatnonzero(thumbnails.problem == "") for thumbnails in (first, other))
    blocks = shard.blocks(len(here))
    found = [pd.DataFrame(columns=SCHEMA.names)]
    if len(here) and len(there) and blocks:
        pixels = first.pixels[here]
        gallery = Gallery(other.pixels[there], within)
        pyramids = Pyramid(pixels), Pyramid(other.pixels[there])
        with Progress(f"copies of {first.name} in {other.name}", len(blocks)) as progress:
            for rows in blocks:
                accepted = _verify(gallery.candidates(pixels, rows), *pyramids)
                accepted["first"], accepted["second"] = here[accepted["first"]], there[accepted["second"]]
                found.append(_described(accepted, first, other))
                progress.advance()
    return gather(found, within)


def gather(found: Sequence[pd.DataFrame], within: bool) -> pd.DataFrame:
    """One table from those of all shards; of what speaks for a pair the best is kept."""
    frame = pd.concat([part for part in found if len(part)] or [found[0]])
    if within:
        frame = _in_order(frame)
    frame = frame.sort_values(["first", "second", "detail", "part"], ascending=[True, True, False, True])
    return frame.drop_duplicates(["first", "second"]).reset_index(drop=True)


def _in_order(frame: pd.DataFrame) -> pd.DataFrame:
    """Pairs inside one set with the smaller image id first."""
    swapped = frame["first"] > frame["second"]
    other = {"first": "second", "second": "first", "first_split": "second_split", "second_split": "first_split"}
    turned = frame[swapped].rename(columns=other)
    turned["part"] = turned["part"].map(other)
    return pd.concat([frame[~swapped], turned[frame.columns]])


def _verify(frame: pd.DataFrame, first: Pyramid, second: Pyramid) -> pd.DataFrame:
    """The candidates that are copies, with their boxes."""
    kept = []
    for part, wholes, parts in (("second", first, second), ("first", second, first)):
        chosen = frame[frame["part"] == part].copy()
        windows = np.array(WINDOWS, dtype=np.float32)[chosen["window"].to_numpy(dtype=np.int64)]
        rows = {side: chosen[side].to_numpy(dtype=np.int64) for side in ("first", "second")}
        whole = rows["first" if part == "second" else "second"]
        task = Task(whole, rows[part], chosen["orientation"].to_numpy(dtype=np.int64), windows[:, [0, 1, 2, 2]])
        aligned = align(wholes, parts, task)
        chosen["detail"], chosen["agreement"] = aligned.detail, aligned.agreement
        chosen[["top", "left", "height", "width"]] = aligned.box
        start, size = aligned.box[:, :2], aligned.box[:, 2:]
        inside = (start.min(axis=1, initial=1) >= -OVERHANG) & ((start + size).max(axis=1, initial=0) <= 1 + OVERHANG)
        shaped = np.abs(np.log(np.maximum(size[:, 0], 1e-6) / np.maximum(size[:, 1], 1e-6))) <= STRETCH
        alike = (aligned.detail >= DETAIL) & (aligned.agreement >= AGREEMENT)
        kept.append(chosen[alike & inside & shaped])
    return pd.concat(kept)


def _described(accepted: pd.DataFrame, first: Thumbnails, second: Thumbnails) -> pd.DataFrame:
    """Rows and numbers as image ids, splits and names."""
    here, there = (accepted[side].to_numpy(dtype=np.int64) for side in ("first", "second"))
    named = {
        "first": first.image_id[here],
        "second": second.image_id[there],
        "first_split": first.split[here],
        "second_split": second.split[there],
        "orientation": np.array(ORIENTATIONS)[accepted["orientation"].to_numpy(dtype=np.int64)],
    }
    return accepted.assign(**named)[SCHEMA.names]


def write_copies(first: Path, second: Path, out: Path, shard: Shard = WHOLE) -> CopiesFacts:
    """Find the copies between two sets, given their files of thumbnails (the same one twice: inside it)."""
    here = read_thumbnails(first)
    there = here if second == first else read_thumbnails(second)
    facts = CopiesFacts(here.name, there.name, here.data_sha, there.data_sha)
    _write(find_copies(here, None if second == first else there, shard), facts, out)
    return facts


def gather_files(parts: Sequence[Path], out: Path) -> CopiesFacts:
    """Write one table from those of all shards; raises ``DatasetError`` when they are not of the same data."""
    read = [read_copies(part) for part in parts]
    facts = {fact for _, fact in read}
    if len(facts) != 1:
        raise DatasetError(f"{out}: its shards were made from different data: delete {out.with_suffix('')}")
    fact = facts.pop()
    _write(gather([frame for frame, _ in read], fact.first == fact.second), fact, out)
    return fact


def _write(frame: pd.DataFrame, facts: CopiesFacts, path: Path) -> None:
    table = pa.Table.from_pandas(frame, SCHEMA, preserve_index=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    pq.write_table(table.replace_schema_metadata({b"rsitr": json.dumps(facts._asdict()).encode()}), partial)
    os.replace(partial, path)


def read_copies(path: Path) -> tuple[pd.DataFrame, CopiesFacts]:
    """Pairs and facts of a table of copies."""
    if not path.is_file():
        raise DatasetError(f"{path} is missing: build it with `snakemake --cores 2 {path}`")
    table = pq.ParquetFile(path).read()
    return table.to_pandas(), CopiesFacts(**json.loads(table.schema.metadata[b"rsitr"]))
