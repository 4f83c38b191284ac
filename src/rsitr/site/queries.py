"""The stored queries of a cell: ranks and the first ten items, as numbers; names and words come with the dataset."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from rsitr.datasets.splits import load_splits
from rsitr.errors import RecordError
from rsitr.retrieval.rank_files import Queries, read_ranks
from rsitr.retrieval.recall import duplicates_of
from rsitr.retrieval.top_files import TopQueries, read_top
from rsitr.site.models import SeedQueries
from rsitr.site.scripts import Folder
from rsitr.tables.entries import Entry, Run

DIRECTIONS = ("i2t", "t2i")
SCORE_DIGITS = 4


def collect(folder: Folder, entries: Iterable[Entry], problems: list[str]) -> tuple[list[SeedQueries], Queries | None]:
    """Write the queries of every evaluated cell of a dataset that has those of the first; returns where, and the first.

    What cannot be read is added to ``problems``. What has other queries, of keywords or of other images, has no names
    here (``test_set``), and ``groups.compare`` says so of it.
    """
    found: list[SeedQueries] = []
    first: Queries | None = None
    for run in (run for entry in entries for run in entry.runs if run.status == "ok"):
        path = run.folder / "ranks.parquet"
        if not path.is_file():
            problems.append(f"{path} is missing: restore it from git, or evaluate it again")
            continue
        queries = read_ranks(path)
        first = first or queries
        if not all(np.array_equal(getattr(queries, each), getattr(first, each)) for each in ("image_ids", "image_of")):
            continue
        top = _top(run.folder / "top.parquet", queries, problems)
        found.append(_write(folder, run, queries, top))
    return found, first


def _write(folder: Folder, run: Run, queries: Queries, top: TopQueries | None) -> SeedQueries:
    ranks = {name: {d: getattr(of, d).tolist() for d in DIRECTIONS} for name, of in queries.ranks.items()}
    value: dict[str, Any] = {"ranks": ranks}
    if top:
        value["top"] = {d: getattr(top, d).items.tolist() for d in DIRECTIONS}
        value["scores"] = {d: _rounded(getattr(top, d).scores) for d in DIRECTIONS}
    cell = run.cell
    file = folder.pack(f"queries/{cell.dataset}/{cell.method}/{cell.seed}", value)
    return SeedQueries(method=cell.method, seed=cell.seed, top=bool(top), file=file)


def _rounded(scores: np.ndarray) -> list[list[float | None]]:
    rounded = np.round(scores.astype(np.float64), SCORE_DIGITS)
    return [[value if np.isfinite(value) else None for value in row] for row in rounded.tolist()]


def _top(path: Path, queries: Queries, problems: list[str]) -> TopQueries | None:
    """The first items of the queries that have ranks, if they are stored."""
    if not path.is_file():
        return None
    try:
        found = read_top(path)
    except RecordError as error:
        problems.append(str(error))
        return None
    if [*found.image_ids] != [*queries.image_ids]:
        problems.append(f"{path} is of other queries than ranks.parquet next to it: evaluate the cell again")
        return None
    return found


def test_set(queries: Queries, tables: Iterable[Path]) -> dict[str, Any]:
    """Names of images and captions; captions, classes and what is identical where one of clean ``tables`` is here.

    Only if its test split is the one that the queries are of.
    """
    counts = np.bincount(queries.image_of, minlength=len(queries.image_ids)).tolist()
    facts: dict[str, Any] = {"images": [*queries.image_ids], "captions_of": counts}
    here = next((path for path in tables if path.is_file()), None)
    split = load_splits(here)[0]["test"] if here else None
    if not split or split.image_ids != facts["images"] or not np.array_equal(split.image_of, queries.image_of):
        return facts
    same = duplicates_of(split.captions, split.hashes)
    facts |= {"captions": split.captions, "classes": [*split.classes]}
    return facts | {"texts": same.texts.tolist(), "pictures": same.pictures.tolist()}
