"""webdataset shards of images and their captions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from rsitr.datasets.exports.pictures import Pictures, Row, labels

SHARD = 1000
"""Samples per shard: about 100 MB of the field's images, small enough to shuffle and to fetch again."""


def write_shards(rows: Sequence[Row], pictures: Pictures, pattern: Path) -> int:
    """Write shards named by ``pattern``, which takes their number, and return how many; equal rows give equal bytes."""
    from webdataset import ShardWriter  # imports torch, which no other format needs

    with closing(ShardWriter(str(pattern), maxcount=SHARD, verbose=0, encoder=False, mtime=0)) as shards:
        for number, row in enumerate(rows):
            picture = pictures.of(row)
            captions = "\n".join(row["captions"])
            text = {"txt": captions.encode(), "json": json.dumps(labels(row), ensure_ascii=False).encode()}
            # A key holds no dot, since the first dot of a member's name starts its extension.
            shards.write({"__key__": f"{number:07}", picture.suffix[1:]: picture.content} | text)
    return -(-len(rows) // SHARD)
