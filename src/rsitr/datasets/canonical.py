"""The canonical table: every dataset as one parquet file of one schema, and the cleaned view that methods read."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from rsitr.datasets.base import Dataset, Row
from rsitr.datasets.images import inspect
from rsitr.datasets.karpathy import SPLITS
from rsitr.errors import DatasetError

DATASET_SCHEMA = pa.schema(
    [
        ("image_id", pa.string()),
        ("path", pa.string()),
        ("split", pa.string()),
        ("class_name", pa.string()),
        ("captions", pa.list_(pa.string())),
        ("keywords", pa.list_(pa.string())),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("sha256", pa.string()),
        ("fingerprint", pa.string()),
        ("problem", pa.string()),
    ]
)
CLEAN_SCHEMA = pa.schema(
    [*DATASET_SCHEMA, ("duplicate_group", pa.int32()), ("keep", pa.bool_()), ("reason", pa.string())]
)


class DatasetFacts(NamedTuple):
    """What the parquet header says about a canonical table."""

    name: str
    title: str
    origin: str
    """The bundle it came from: official, huggingface, mirror or generated."""
    licence: str
    synthetic: bool
    root: str
    """Folder of the extracted files; ``path`` of each row is relative to it."""
    data_sha: str
    """Hash of the rows, the same for every copy of the same data, wherever it lies."""


def rows_to_frame(rows: Iterable[Row], root: Path, workers: int = 2) -> pd.DataFrame:
    """Inspect the image of every row and return the canonical frame, sorted by image id.

    Duplicate image ids raise ``DatasetError``: which image a caption belongs to would be a guess.
    """
    rows = sorted(rows, key=lambda row: row.image_id)
    ids = pd.Series([row.image_id for row in rows])
    if repeated := sorted(set(ids[ids.duplicated()])):
        raise DatasetError(
            f"{len(repeated)} image ids appear more than once ({', '.join(repeated[:5])}): repair the annotation file"
        )
    if not rows:
        raise DatasetError("the annotation lists no images: fetch the dataset again")
    with ThreadPoolExecutor(workers) as pool:
        facts = list(pool.map(inspect, (root / row.path for row in rows), chunksize=64))
    frame = pd.DataFrame([{**row._asdict(), **fact._asdict()} for row, fact in zip(rows, facts, strict=True)])
    return validate(frame)


def validate(frame: pd.DataFrame) -> pd.DataFrame:
    """Check the canonical schema with pandera and return the frame; raises ``DatasetError`` with the failing cases."""
    import pandera.pandas as pandera  # noqa: PLC0415 - a second of import time that readers need not pay

    text = pandera.Column(str)
    words = pandera.Column(object, pandera.Check(lambda cell: all(isinstance(w, str) for w in cell), element_wise=True))
    schema = pandera.DataFrameSchema(
        {
            "image_id": pandera.Column(str, pandera.Check.str_length(min_value=1), unique=True),
            "path": pandera.Column(str, pandera.Check.str_length(min_value=1)),
            "split": pandera.Column(str, pandera.Check.isin(SPLITS)),
            "class_name": text,
            "captions": words,
            "keywords": words,
            "width": pandera.Column(int, pandera.Check.ge(0)),
            "height": pandera.Column(int, pandera.Check.ge(0)),
            "sha256": pandera.Column(str, pandera.Check.str_matches(r"^([0-9a-f]{64})?$")),
            "fingerprint": pandera.Column(str, pandera.Check.str_matches(r"^([0-9a-f]{16})?$")),
            "problem": text,
        }
    )
    try:
        return schema.validate(frame, lazy=True)
    except pandera.errors.SchemaErrors as error:
        cases = error.failure_cases[["column", "check", "failure_case"]].head(5).to_string(index=False)
        raise DatasetError(f"the table breaks the canonical schema:\n{cases}") from None


def data_sha(frame: pd.DataFrame) -> str:
    """Hash of the rows in order; independent of the parquet writer and of where the files lie."""
    digest = hashlib.sha256()
    for row in frame.sort_values("image_id").to_dict("records"):
        values = {name: list(value) if name in {"captions", "keywords"} else value for name, value in row.items()}
        digest.update(json.dumps(values, sort_keys=True, default=_plain).encode())
    return digest.hexdigest()


def _plain(value: Any) -> Any:
    return value.item()


def write_table(frame: pd.DataFrame, schema: pa.Schema, facts: DatasetFacts, path: Path) -> None:
    """Write a table with its facts in the header, atomically."""
    header = {b"rsitr": json.dumps(facts._asdict()).encode()}
    table = pa.Table.from_pandas(frame, schema=schema, preserve_index=False).replace_schema_metadata(header)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    pq.write_table(table, partial, compression="zstd")
    os.replace(partial, path)


def read_facts(path: Path) -> DatasetFacts:
    """The header of a canonical or clean table, without reading its rows."""
    if not path.is_file():
        raise DatasetError(f"{path} is missing: build it with `snakemake --cores 2 {path}`")
    return DatasetFacts(**json.loads(pq.read_schema(path).metadata[b"rsitr"]))


def read_table(path: Path) -> tuple[pd.DataFrame, DatasetFacts]:
    """Rows and facts of a canonical or clean table."""
    facts = read_facts(path)
    return pq.read_table(path).to_pandas(), facts


def build_dataset(dataset: Dataset, root: Path, origin: str, licence: str, out: Path) -> DatasetFacts:
    """Parse the extracted files under ``root`` into ``out``; the one way a raw dataset becomes canonical."""
    frame = rows_to_frame(dataset.parse(root), root)
    facts = DatasetFacts(
        dataset.name, dataset.title, origin, licence, dataset.synthetic, root.as_posix(), data_sha(frame)
    )
    write_table(frame, DATASET_SCHEMA, facts, out)
    return facts
