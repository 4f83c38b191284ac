"""The canonical table: every dataset as one parquet file of one schema, and the clean tables that methods read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from heapq import merge
from itertools import islice, pairwise
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from rsitr.datasets.base import Dataset, Row
from rsitr.datasets.images import inspect
from rsitr.datasets.karpathy import SPLITS
from rsitr.datasets.table import DATASET_SCHEMA, DatasetFacts
from rsitr.errors import DatasetError
from rsitr.records.parquet import streamed

T = TypeVar("T")
SHOWN = "shown"
"""Folder, in that of a dataset, of the PNGs of pictures that are not stored as they are to be seen."""
CANONICAL_SCHEMA = DATASET_SCHEMA.append(pa.field("published_class", pa.string()))
"""What only the canonical table holds, and a clean one does not pass on to methods: the class before correction."""
EMPTY = "the annotation lists no images: fetch the dataset again"
RUN = PART = 10_000
"""Rows that are sorted at a time, and rows of a row group."""
READ, PAGE = 64, 2**14
"""Rows and bytes of a run that are read at a time."""


def rows_to_frame(rows: Iterable[Row], root: Path, reading: Mapping[str, Any] | None = None) -> pd.DataFrame:
    """Inspect the image of every row (``inspect``) and return the canonical frame, sorted by image id.

    ``reading`` is that of a ``Dataset``.

    Duplicate image ids raise ``DatasetError``.
    """
    rows = sorted(rows, key=lambda row: row.image_id)
    if not rows:
        raise DatasetError(EMPTY)
    _check_ids([row.image_id for before, row in pairwise(rows) if before.image_id == row.image_id])
    pngs = [f"{SHOWN}/{row.path}.png" for row in rows]
    with ThreadPoolExecutor(2) as pool:
        one = partial(inspect, **(reading or {}))
        facts = list(pool.map(one, (root / row.path for row in rows), (root / png for png in pngs), chunksize=64))
    frame = pd.DataFrame([{**row._asdict(), **fact._asdict()} for row, fact in zip(rows, facts, strict=True)])
    frame["path"] = frame["path"].mask(frame.pop("shown"), pngs)
    frame["published_class"] = frame["published_class"].fillna(frame["class_name"])
    return validate(frame)


def _check_ids(repeated: list[str]) -> None:
    """Raise ``DatasetError`` where there are any; which image a caption belongs to would be a guess."""
    if names := sorted(set(repeated)):
        some = ", ".join(names[:5])
        raise DatasetError(f"{len(names)} image ids appear more than once ({some}): repair the annotation file")


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
    add_rows(frame.sort_values("image_id"), digest)
    return digest.hexdigest()


def add_rows(frame: pd.DataFrame, digest: Any) -> None:
    """Let the hash of ``data_sha`` continue with rows that come after those before."""
    for row in frame.to_dict("records"):
        values = {name: list(value) if name in {"captions", "keywords"} else value for name, value in row.items()}
        digest.update(json.dumps(values, sort_keys=True, default=lambda value: value.item()).encode())


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
    """The canonical table of some rows; ``source`` begins its ``DatasetFacts``: name, title ... synthetic.

    So many rows as are in a run are in memory at a time, and of the others what parquet makes of them, about 0.2 KiB a
    row: sorted runs are merged.
    """
    runs = [_run(rows_to_frame(some, root, reading)) for some in _parts(rows, RUN)]
    digest, last, repeated = hashlib.sha256(), "", list[str]()
    with streamed(out, CANONICAL_SCHEMA) as table:
        for some in _parts(merge(*map(_read, runs), key=itemgetter("image_id")), PART):
            ids = [last, *(row["image_id"] for row in some)]
            repeated += [image_id for before, image_id in pairwise(ids) if before == image_id]
            part, last = pa.Table.from_pylist(some, CANONICAL_SCHEMA), ids[-1]
            add_rows(part.to_pandas(), digest)
            table.write(part)
        _check_ids(repeated)
        if not last:
            raise DatasetError(EMPTY)
        table.facts = facts = DatasetFacts(*source, root.as_posix(), digest.hexdigest())
    return facts


def _parts(items: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while part := list(islice(rest, size)):
        yield part


def _run(frame: pd.DataFrame) -> pa.Buffer:
    """Rows in their order as a parquet file in memory, with pages that take little memory to read."""
    run = pa.BufferOutputStream()
    table = pa.Table.from_pandas(frame, CANONICAL_SCHEMA, preserve_index=False)
    pq.write_table(table, run, compression="zstd", use_dictionary=False, data_page_size=PAGE)
    return run.getvalue()


def _read(run: pa.Buffer) -> Iterator[dict[str, Any]]:
    with pq.ParquetFile(run, buffer_size=PAGE) as file:
        for batch in file.iter_batches(READ):
            yield from batch.to_pylist()
