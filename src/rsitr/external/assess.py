"""Assess what others have made on a test set: the same ranks, recalls and ceiling as those of our own cells."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from rsitr.datasets.splits import SplitData
from rsitr.datasets.table import read_table
from rsitr.dedup.leakage import leaks_of
from rsitr.errors import ParamsError
from rsitr.external.encodings import Ranking, encoded, of_matrix, of_run, ranked, read_embeddings
from rsitr.external.exports import card, eval_results, write_run
from rsitr.external.held_out import HeldOut
from rsitr.external.models import Encoder, open_model
from rsitr.params.ids import EXTERNAL, NAME, CellId
from rsitr.records.cell import Record
from rsitr.records.files import write_json, write_text
from rsitr.records.parquet import write_table
from rsitr.records.paths import Paths
from rsitr.records.provenance import forget_peak, library_versions, machine, peak_memory_mib, sha256_json
from rsitr.retrieval.rank_files import SCHEMA, query_columns, read_ranks
from rsitr.retrieval.recall import ceiling, duplicates_of
from rsitr.retrieval.statistics import Comparison, paired_bootstrap
from rsitr.retrieval.top_files import write_top

KEPT = Path(".rsitr/external")
"""Where encodings are until their record is written."""


class Given(NamedTuple):
    """What a user has given, one of it."""

    model: str | None = None
    """As ``open_model`` takes it."""
    weights: str | None = None
    image_embeddings: Path | None = None
    """Together with those of texts."""
    text_embeddings: Path | None = None
    scores: Path | None = None
    run: Path | None = None

    @property
    def named(self) -> str:
        """What it is called unless the user says; raises ``ParamsError`` unless exactly one thing is given."""
        whole = [self.model, self.image_embeddings or self.text_embeddings, self.scores, self.run]
        given = [str(each) for each in whole if each is not None]
        if len(given) != 1 or bool(self.image_embeddings) != bool(self.text_embeddings):
            raise ParamsError("name one: --model, --image-embeddings with --text-embeddings, --scores, or --run")
        parts = re.split(r"[/:]", given[0].rstrip("/").lower())
        last = "-".join(parts[-2:]) if parts[-1].isdecimal() else parts[-1]  # the folder of a seed: vse/0
        plain = re.sub(r"[^a-z0-9+.-]+", "-", last)
        return plain.removesuffix(".npy").removesuffix(".npz").strip("-.+")


class Assessed(NamedTuple):
    """A record, and what it is made from."""

    record: Record
    test: HeldOut
    ranking: Ranking

    def write(self) -> Path:
        """Write ranks, the first ten, a run of both directions, a card, results for a hub, and last ``cell.json``."""
        folder = Paths.external(self.record.dataset) / self.record.method
        _write_ranks(folder / "ranks.parquet", self)
        write_top(folder / "top.parquet", self.test.split, self.ranking.top)
        write_run(folder / "run.trec", self.record.method, self.test.split, self.ranking.top)
        write_text(folder / "README.md", card(self.record, self.ranking))
        write_text(folder / ".eval_results" / f"{self.record.dataset}.yaml", eval_results(self.record, self.ranking))
        write_json(folder / "cell.json", self.record)
        return folder


def assess(
    test: HeldOut, given: Given, name: str | None, trained_on: Sequence[str] | None, device: str = "cpu"
) -> Assessed:
    """Assess what is given. ``trained_on`` names the datasets that it was trained on; None: what is known of a model.

    What a model has encoded before a kill is not encoded again. Raises ``ParamsError`` for a name that no row of a
    table can have.
    """
    name = name or given.named
    if not re.fullmatch(NAME, name):
        raise ParamsError(f"{name!r} cannot name a row: use small letters, digits, '.', '+' and '-' (--as NAME)")
    record = Record(
        experiment=EXTERNAL, dataset=test.dataset, method=name, seed=0, role=EXTERNAL, data_sha=test.data_sha
    )
    forget_peak()
    split, seen = test.split, tuple[str, ...]()
    if given.model:
        model = open_model(given.model, given.weights, device)
        kind, seen = model.facts.kind, model.facts.saw or ()
        ranking = _by_model(test, model, device, record.seconds)
        record.parameters, record.pretrained = {"total": model.facts.parameters}, {"model": model.facts.weights}
    else:
        begun = time.perf_counter()
        kind, ranking = _by_files(split, given)
        record.seconds["score"] = round(time.perf_counter() - begun, 3)
    best = asdict(ceiling(split.image_of, duplicates_of(split.captions, split.hashes)))
    record.metrics = {f"ceiling_{metric}": value for metric, value in best.items()}
    sources = seen if trained_on is None else trained_on
    record.config = {"model": kind, "trained_on": [*sources]}
    record.data = test.data | {"leaks": leaks(test.dataset, sources)}
    record.machine, record.versions = machine(device), library_versions()
    record.peak_memory_mib = {"evaluate": peak_memory_mib()}
    return Assessed(record, test, ranking)


def _by_model(test: HeldOut, model: Encoder, device: str, seconds: dict[str, float]) -> Ranking:
    """The ranks by a model; ``seconds`` learns how long encoding and scoring took."""
    split, facts = test.split, model.facts
    key = sha256_json([facts.kind, facts.weights.model_dump(), test.data_sha, split.image_ids, library_versions()])
    begun = time.perf_counter()
    found = encoded(model, split, KEPT / key)
    seconds["encode"] = round(time.perf_counter() - begun, 3)
    begun = time.perf_counter()
    ranking = ranked(found, split, model.scorer, device)
    seconds["score"] = round(time.perf_counter() - begun, 3)
    shutil.rmtree(KEPT / key, ignore_errors=True)
    return ranking


def _by_files(split: SplitData, given: Given) -> tuple[str, Ranking]:
    """What kind of files is given, and the ranks by them."""
    if given.image_embeddings and given.text_embeddings:
        return "embeddings", ranked(read_embeddings(given.image_embeddings, given.text_embeddings, split), split)
    if given.scores:
        return "scores", of_matrix(given.scores, split)
    assert given.run
    return "run", of_run(given.run, split)


def compare(assessed: Assessed, cell: CellId) -> Comparison:
    """By how much it is above a cell in plain mR; ``ParamsError`` for one of another test set, or without ranks."""
    path = Paths.cell(cell) / "ranks.parquet"
    if not path.is_file():
        raise ParamsError(f"{cell.path} has no ranks here: run `rsitr run cells/{cell.path}`")
    theirs, split = read_ranks(path), assessed.test.split
    same = np.array_equal(theirs.image_ids, split.image_ids) and np.array_equal(theirs.image_of, split.image_of)
    if not same:
        raise ParamsError(
            f"{cell.path} was evaluated on other images or captions than {assessed.record.dataset} here has"
        )
    return paired_bootstrap([assessed.ranking.plain], [theirs.ranks["rank"]], split.image_of, seed=0)


def leaks(dataset: str, sources: Sequence[str]) -> dict[str, Any]:
    """For each source, how many test images of a dataset have a near duplicate in it, and of how many.

    A source is a dataset whose training images, or all where it has no splits, were trained on. None where that is not
    known here: a table is missing, or the source is the address of a prior or a pretraining.
    """
    found: dict[str, Any] = {}
    for source in sources:
        if "://" in source:
            found[source] = None
            continue
        names = sorted({dataset, source})
        tables = {name: Paths.dataset(name) for name in names}
        pairs = {pair: Paths.near_duplicates(*pair) for pair in combinations_with_replacement(names, 2)}
        here = {pair: path for pair, path in pairs.items() if path.is_file()}
        if not all(path.is_file() for path in tables.values()):
            found[source] = None
            continue
        rows = read_table(tables[source])[0].select(["image_id", "split"]).to_pylist()
        seen = [(source, row["image_id"]) for row in rows if row["split"] == "train"]
        counts = leaks_of(seen, tables, here, "copies").get(dataset)
        found[source] = counts and list(counts)
    return found


def _write_ranks(path: Path, assessed: Assessed) -> None:
    split, ranking = assessed.test.split, assessed.ranking
    kinds = {"rank": ranking.plain, "dup_rank": ranking.duplicate_aware, "rr_rank": ranking.reranked}
    columns = query_columns(split) | {
        name: [*ranks.i2t.tolist(), *ranks.t2i.tolist()] for name, ranks in kinds.items() if ranks is not None
    }
    schema = pa.schema([field for field in SCHEMA if field.name in columns])
    write_table(pa.table({name: columns[name] for name in schema.names}, schema=schema), None, path)
