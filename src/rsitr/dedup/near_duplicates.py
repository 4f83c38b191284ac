"""Copies, our rule for near duplicates: one image is a box of the other, in any orientation, size, encoding, colours.

A cheap stage proposes pairs by their fingerprints; an exact one finds the box and compares the pixels. The result is
data: one row per pair, with the transformation and the correlation as evidence.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from rsitr.dedup.alignment import Pyramid, align
from rsitr.dedup.candidates import Gallery
from rsitr.dedup.fingerprints import WINDOWS
from rsitr.dedup.pairs import (
    ORIENTATIONS,
    OVERHANG,
    SCHEMA,
    NearDuplicateFacts,
    gather,
    seen_from_second,
    write_pairs,
)
from rsitr.dedup.thumbnails import Pictures, Thumbnails, read_thumbnails
from rsitr.errors import ParamsError
from rsitr.progress import Progress
from rsitr.records.identity import code_sha
from rsitr.records.provenance import sha256_json

DETAIL, AGREEMENT = 0.6, 0.8
"""Minimum correlation of the detail of a copy and its original, and minimum share of their blocks that agree."""
STRETCH = 0.1
"""Maximum logarithm of the ratio of a box's sides."""
BLOCK = 1024
"""Images processed at once; a shard consists of whole blocks, so its result does not depend on the others."""

CACHE, MAKERS = Path("cache") / "galleries", ("rsitr.dedup.candidates", "rsitr.dedup.thumbnails")
"""Where indexes are kept, and the code that makes what is in them."""
LARGE = 100_000
"""Images of a second set beyond which the smaller set is indexed: an index takes about 7 KiB an image."""


@dataclass(frozen=True)
class Shard:
    """Part ``index`` of ``count`` of the work."""

    index: int = 0
    count: int = 1

    def blocks(self, size: int) -> list[np.ndarray]:
        """Rows of this shard's blocks of a set of ``size`` images."""
        blocks = [np.arange(start, min(start + BLOCK, size)) for start in range(0, size, BLOCK)]
        return blocks[len(blocks) * self.index // self.count : len(blocks) * (self.index + 1) // self.count]


WHOLE = Shard()


def find_near_duplicates(
    first: Thumbnails, second: Thumbnails | None = None, shard: Shard = WHOLE, cache: Path | None = None
) -> pd.DataFrame:
    """Near duplicates between two sets, or within ``first`` if there is no ``second``: columns of ``SCHEMA``, sorted.

    One set is searched, block by block, in an index of the other: of ``second``, unless that is too large for it
    (``LARGE``) and ``first`` is smaller. Of several equal pictures in the indexed set one is listed; the pairs within
    it link the others. In ``cache``, shards leave the index for each other.
    """
    within = second is None
    other = second or first
    turned = len(other.problem) > LARGE and len(first.problem) < len(other.problem)
    if turned:
        first, other = other, first
    here, there = (np.flatnonzero(thumbnails.problem == "") for thumbnails in (first, other))
    blocks = shard.blocks(len(here))
    found = [pd.DataFrame(columns=SCHEMA.names)]
    if len(here) and len(there) and blocks:
        pixels, others = Pictures(first.pixels, here), Pictures(other.pixels, there)
        kept = cache / sha256_json([other.data_sha, code_sha(MAKERS)])[:32] if cache else None
        gallery = Gallery.of(others, within, kept)
        with Progress(f"near duplicates of {first.name} in {other.name}", len(blocks)) as progress:
            for rows in blocks:
                accepted = _verify(gallery.candidates(pixels, rows), pixels, others)
                accepted["first"], accepted["second"] = here[accepted["first"]], there[accepted["second"]]
                described = _described(accepted, first, other)
                found.append(seen_from_second(described) if turned else described)
                progress.advance()
    return gather(found, within)


def _verify(frame: pd.DataFrame, pixels: Pictures, others: Pictures) -> pd.DataFrame:
    """The candidates that are near duplicates, with their boxes."""
    first, second = Pyramid(pixels, frame["first"].to_numpy()), Pyramid(others, frame["second"].to_numpy())
    kept = []
    for whole, part, wholes, parts in (("first", "second", first, second), ("second", "first", second, first)):
        chosen = frame[frame["part"] == part].copy()
        boxes = np.array(WINDOWS, dtype=np.float32)[chosen["window"]][:, [0, 1, 2, 2]]
        originals, copies, turned = (chosen[column].to_numpy() for column in (whole, part, "orientation"))
        aligned = align(wholes, parts, originals, copies, turned, boxes)
        chosen["detail"], chosen["agreement"] = aligned.detail, aligned.agreement
        chosen[["top", "left", "height", "width"]] = aligned.box
        start, size = aligned.box[:, :2], aligned.box[:, 2:]
        inside = (start.min(axis=1, initial=1) >= -OVERHANG) & ((start + size).max(axis=1, initial=0) <= 1 + OVERHANG)
        shaped = np.abs(np.log(np.maximum(size[:, 0], 1e-6) / np.maximum(size[:, 1], 1e-6))) <= STRETCH
        alike = (aligned.detail >= DETAIL) & (aligned.agreement >= AGREEMENT)
        kept.append(chosen[alike & inside & shaped])
    return pd.concat(kept)


def _described(accepted: pd.DataFrame, first: Thumbnails, second: Thumbnails) -> pd.DataFrame:
    """Rows and numbers turned into image ids, splits and names."""
    here, there = accepted["first"].to_numpy(), accepted["second"].to_numpy()
    return accepted.assign(
        first=np.asarray(first.image_id[here], dtype=object),
        second=np.asarray(second.image_id[there], dtype=object),
        first_split=np.asarray(first.split[here], dtype=object),
        second_split=np.asarray(second.split[there], dtype=object),
        orientation=np.array(ORIENTATIONS)[accepted["orientation"]],
    )[SCHEMA.names]


def parse_shard(text: str) -> Shard:
    """The shard that ``index/count`` names; raises ``ParamsError`` for anything else."""
    index, _, count = text.partition("/")
    if not (index.isdecimal() and count.isdecimal() and int(index) < int(count)):
        raise ParamsError(f"{text!r} is no shard: write 0/8 for the first of eight, 7/8 for the last")
    return Shard(int(index), int(count))


def write_near_duplicates(first: Path, second: Path, out: Path, shard: Shard = WHOLE) -> int:
    """Write the near duplicates between two sets, given their files of thumbnails (the same one twice: within it).

    Returns the number of pairs.
    """
    here = read_thumbnails(first)
    other = None if second == first else read_thumbnails(second)
    there = other or here
    facts = NearDuplicateFacts(here.name, there.name, here.data_sha, there.data_sha)
    cache = CACHE if shard.count > 1 else None
    return write_pairs(find_near_duplicates(here, other, shard, cache), facts, out)
