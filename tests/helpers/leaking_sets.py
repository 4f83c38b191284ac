"""Made-up datasets with overlaps known by hand: canonical tables and tables of near duplicates, without any image."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from rsitr.datasets.table import DATASET_SCHEMA, DatasetFacts
from rsitr.dedup.pairs import SCHEMA
from rsitr.records.parquet import write_table

# Image, split, captions, hash (0 means 16 zeros; up to two other bits are near), problem.
ROWS = {
    "prior": [("p1", "train", 0, "ff", ""), ("p2", "train", 0, "ff00", "")],
    "big": [
        ("a", "train", 5, "ff0000", ""),
        ("b", "train", 5, "ff000000", ""),
        ("c", "train", 5, "f0f0f0", ""),
        ("t1", "test", 5, "fd", ""),
        ("t2", "test", 5, "ff0003", ""),
        ("t3", "test", 5, "ff0000000000", ""),
        ("t4", "test", 5, "", "unreadable image"),
        ("v", "val", 5, "ff00000000", ""),
    ],
    "small": [("s", "train", 1, "ff0001", ""), ("u", "test", 1, "f000000000000", "")],
    "gone": [("g", "train", 5, "", "missing image"), ("h", "test", 5, "", "missing image")],
}
# First, second, part, orientation, detail, agreement. t1 is in p1 and, in big, like a and b; t2 is like t3, and t3 like
# v, so that t2 and v are linked by a chain. p2 is like u, and like a: a chain through a third set links u and a.
PAIRS = {
    ("big", "big"): [
        ("a", "t1", "first", "mirrored", 0.7, 0.85),
        ("b", "t1", "second", "turned left", 0.9, 0.95),
        ("t2", "t3", "first", "same", 0.8, 0.9),
        ("t3", "v", "first", "same", 0.65, 0.81),
    ],
    ("big", "prior"): [
        ("a", "p2", "first", "same", 0.9, 1.0),
        ("t1", "p1", "first", "same", 0.9321, 1.0),
    ],
    ("prior", "prior"): [],
    ("big", "small"): [],
    ("prior", "small"): [("p2", "u", "second", "flipped", 0.75, 0.875)],
    ("small", "small"): [],
}


def put_table(folder: Path, name: str, synthetic: bool = False) -> Path:
    """Write the canonical table of one of the sets."""
    frame = pd.DataFrame(
        [
            {
                **{"image_id": image_id, "path": "x", "split": split, "class_name": "", "keywords": []},
                **{"captions": ["a sentence"] * captions, "width": 1, "height": 1, "sha256": ""},
                **{"fingerprint": bits and bits.zfill(16), "problem": problem},
            }
            for image_id, split, captions, bits, problem in ROWS[name]
        ]
    )
    facts = DatasetFacts(name, name, "generated", "none", synthetic, "root", f"sha of {name}")
    path = folder / f"{name}.parquet"
    write_table(pa.Table.from_pandas(frame, DATASET_SCHEMA, preserve_index=False), facts, path)
    return path


def put_near_duplicates(folder: Path, first: str, second: str, first_sha: str = "") -> Path:
    """Write the table of near duplicates between two of the sets."""
    splits = {name: {row[0]: row[1] for row in rows} for name, rows in ROWS.items()}
    columns = ["first", "second", "part", "orientation", "detail", "agreement"]
    frame = pd.DataFrame(PAIRS[first, second], columns=columns).astype({"detail": float, "agreement": float})
    frame = frame.assign(
        first_split=frame["first"].map(splits[first]), second_split=frame["second"].map(splits[second])
    )
    frame = frame.assign(top=0.0, left=0.0, height=0.875, width=0.875, similarity=0.9)[SCHEMA.names]
    shas = {"first_sha": first_sha or f"sha of {first}", "second_sha": f"sha of {second}"}
    facts = {"first": first, "second": second, **shas}
    table = pa.Table.from_pandas(frame, SCHEMA, preserve_index=False)
    path = folder / f"{first}-{second}.parquet"
    pq.write_table(table.replace_schema_metadata({b"rsitr": json.dumps(facts).encode()}), path)
    return path


def put_all(folder: Path) -> tuple[dict[str, Path], dict[tuple[str, str], Path]]:
    """Write all tables: the canonical ones by dataset, and those of copies by pair."""
    return {name: put_table(folder, name) for name in ROWS}, {
        pair: put_near_duplicates(folder, *pair) for pair in PAIRS
    }
