"""The canonical table: every dataset as one parquet file of one schema, and the clean tables that methods read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from rsitr.datasets.base import Dataset, Row
from rsitr.datasets.images import inspect
from rsitr.datasets.karpathy import SPLITS
from rsitr.datasets.table import DATASET_SCHEMA, DatasetFacts
from rsitr.errors import DatasetError
from rsitr.records.parquet import write_table

SHOWN = "shown"
"""Folder, in that of a dataset, of the PNGs of pictures that are not stored as they are to be seen."""
CANONICAL_SCHEMA = DATASET_SCHEMA.append(pa.field("published_class", pa.string()))
"""What only the canonical table holds, and a clean one does not pass on to methods: the class before correction."""


def rows_to_frame(rows: Iterable[Row], root: Path, reading: Mapping[str, Any] | None = None) -> pd.DataFrame:
    """Inspect the image of every row (``inspect``) and return the canonical frame, sorted by image id.

    ``reading`` is that of a ``Dataset``.

    Duplicate image ids raise ``DatasetError``: which image a caption belongs to would be a guess.
    """
    rows = sorted(rows, key=lambda row: row.image_id)
    ids = pd.Series([row.image_id for row in rows])
    if repeated := sorted(set(ids[ids.duplicated()])):
        some = ", ".join(repeated[:5])
        raise DatasetError(f"{len(repeated)} image ids appear more than once ({some}): repair the annotation file")
    if not rows:
        raise DatasetError("the annotation lists no images: fetch the dataset again")
    pngs = [f"{SHOWN}/{row.path}.png" for row in rows]
    with ThreadPoolExecutor(2) as pool:
        one = partial(inspect, **(reading or {}))
        facts = list(pool.map(one, (root / row.path for row in rows), (root / png for png in pngs), chunksize=64))
    frame = pd.DataFrame([{**row._asdict(), **fact._asdict()} for row, fact in zip(rows, facts, strict=True)])
    frame["path"] = frame["path"].mask(frame.pop("shown"), pngs)
    frame["published_class"] = frame["published_class"].fillna(frame["class_name"])
    return validate(frame)


def validate(frame: pd.DataFrame) -> pd.DataFrame:
    """Check the canonical schema with pandera and return the frame; raises ``DatasetError`` with the failing cases."""
    import pandera.pandas as pandera

    check = pandera.Check
    words = pandera.Column(object, check(lambda cell: all(isinstance(w, str) for w in cell), element_wise=True))
    text, size = pandera.Column(str), pandera.Column(int, check.ge(0))
    columns = {
        "image_id": pandera.Column(str, check.str_length(min_value=1), unique=True),
        "path": pandera.Column(str, check.str_length(min_value=1)),
        "split": pandera.Column(str, check.isin(SPLITS)),
        "sha256": pandera.Column(str, check.str_matches(r"^([0-9a-f]{64})?$")),
        "fingerprint": pandera.Column(str, check.str_matches(r"^([0-9a-f]{16})?$")),
        **dict.fromkeys(("class_name", "published_class", "problem"), text),
        **{"captions": words, "keywords": words, "width": size, "height": size},
    }
    try:
        return pandera.DataFrameSchema(columns).validate(frame, lazy=True)
    except pandera.errors.SchemaErrors as error:
        cases = error.failure_cases[["column", "check", "failure_case"]].head(5).to_string(index=False)
        raise DatasetError(f"the table breaks the canonical schema:\n{cases}") from None


def data_sha(frame: pd.DataFrame) -> str:
    """Hash of the rows in order; independent of the parquet writer and of where the files are."""
    digest = hashlib.sha256()
    for row in frame.sort_values("image_id").to_dict("records"):
        values = {name: list(value) if name in {"captions", "keywords"} else value for name, value in row.items()}
        digest.update(json.dumps(values, sort_keys=True, default=lambda value: value.item()).encode())
    return digest.hexdigest()


def build_dataset(dataset: Dataset, root: Path, origin: str, licence: str, out: Path) -> DatasetFacts:
    """Parse the extracted files under ``root`` into ``out``; the only way a raw dataset becomes canonical."""
    source = dataset.name, dataset.title, origin, licence, dataset.synthetic
    return write_rows(dataset.parse(root), source, root, out, dataset.reading)


def write_rows(
    rows: Iterable[Row],
    source: tuple[str, str, str, str, bool],
    root: Path,
    out: Path,
    reading: Mapping[str, Any] | None = None,
) -> DatasetFacts:
    """The canonical table of some rows; ``source`` begins its ``DatasetFacts``: name, title ... synthetic."""
    frame = rows_to_frame(rows, root, reading)
    facts = DatasetFacts(*source, root.as_posix(), data_sha(frame))
    write_table(pa.Table.from_pandas(frame, CANONICAL_SCHEMA, preserve_index=False), facts, out)
    return facts
