"""Tiny canonical tables with given hashes, and tables of near duplicates with given pairs."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from rsitr.datasets.table import DATASET_SCHEMA, DatasetFacts
from rsitr.dedup.pairs import SCHEMA, NearDuplicateFacts
from rsitr.records.parquet import write_table

Image = tuple[str, str, str]


def mark(*bits: int) -> str:
    """A hash with the given bits set."""
    return f"{sum(1 << bit for bit in bits):016x}"


def put(folder: Path, name: str, images: list[Image], **changes: dict[str, object]) -> Path:
    """Write the table of images given as (image id, split, hash); ``changes`` sets other columns by image id."""
    frame = pd.DataFrame(images, columns=["image_id", "split", "fingerprint"]).sort_values("image_id")
    frame = frame.assign(path="images/" + frame["image_id"], class_name="", width=9, height=9, sha256="", problem="")
    frame["captions"] = [[f"{name} {image_id}"] for image_id in frame["image_id"]]
    frame["keywords"] = [[] for _ in frame["image_id"]]
    for column, values in changes.items():
        frame[column] = [values.get(key, old) for key, old in zip(frame["image_id"], frame[column], strict=True)]
    facts = DatasetFacts(name, name, "mirror", "none", False, f"data/extracted/{name}", f"sha of {name}")
    path = folder / f"{name}.parquet"
    write_table(pa.Table.from_pandas(frame[DATASET_SCHEMA.names], DATASET_SCHEMA, preserve_index=False), facts, path)
    return path


def put_near_duplicates(folder: Path, first: str, second: str, pairs: list[tuple[Image, Image]], sha: str = "") -> Path:
    """Write a table of near duplicates; each image is given as (image id, split, ...)."""
    rows = [(one[0], other[0], one[1], other[1], "second", "same", 0, 0, 1, 1, 0.99, 0.875, 1) for one, other in pairs]
    table = pa.Table.from_pandas(pd.DataFrame(rows, columns=SCHEMA.names), SCHEMA, preserve_index=False)
    facts = NearDuplicateFacts(first, second, sha or f"sha of {first}", f"sha of {second}")
    path = folder / f"{first}-{second}.parquet"
    pq.write_table(table.replace_schema_metadata({b"rsitr": json.dumps(facts._asdict()).encode()}), path)
    return path
