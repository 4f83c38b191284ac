"""Evaluation of one cell: encode the test split once, rank, and write the record."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from rsitr.datasets.splits import SplitData
from rsitr.errors import RecordError, WeightsMismatch
from rsitr.methods.base import Method
from rsitr.records.artefact import Outcome
from rsitr.records.cell import Record, Spec, read_report, write_history
from rsitr.records.files import write_json
from rsitr.records.paths import Paths
from rsitr.records.provenance import forget_peak, library_versions, machine, peak_memory_mib
from rsitr.retrieval.rank_files import SplitRanks, write_ranks
from rsitr.retrieval.recall import ceiling, duplicates_of
from rsitr.retrieval.top import FirstItems
from rsitr.retrieval.top_files import SplitTop, write_top
from rsitr.stages.encode import Kept, Scores, encode
from rsitr.stages.setup import build_method, device_of, image_inputs, load_data


def blank_image(method: Method, device: str) -> Tensor:
    """A batch of one image without content, as a method reads it."""
    shape = (1, 3, method.pixels.size, method.pixels.size) if method.reads_pixels else (1,)
    return torch.zeros(shape, device=device)


@torch.inference_mode()
def inference_seconds(method: Method, caption: str, device: str, repeats: int = 10) -> float:
    """Median time from the pixels of one image and the text of one caption to their score."""
    image = blank_image(method, device)
    taken = []
    for _ in range(repeats):
        begun = time.perf_counter()
        texts = method.encode_texts(method.tokenize([caption]).to(device))
        method.score(method.encode_images(image), texts).item()
        taken.append(time.perf_counter() - begun)
    return float(np.median(taken))


def load_checkpoint(method: Method, path: Path) -> None:
    """Load ``model.safetensors`` into a method; raises ``WeightsMismatch`` when it is another model's."""
    try:
        method.load_learned_state(load_file(path))
    except RuntimeError as error:
        with safe_open(path, "pt") as file:
            owner = (file.metadata() or {}).get("cell", "another cell")
        raise WeightsMismatch(f"{path} was written for {owner} and does not fit this model: {error}") from None


def kept_scores(weights: Path) -> Path:
    """Where an evaluation of the checkpoint at ``weights`` keeps the scores of pairs that it has."""
    return weights.with_name("scores.pt")


class Ranked(NamedTuple):
    """A test split and what a cell retrieves in it."""

    split: SplitData
    ranks: SplitRanks
    top: SplitTop


def rank_test(spec: Spec, device: str, weights: Path, record: Record) -> Ranked:
    """The test split of a cell, ranked by the checkpoint at ``weights``; ``record`` learns how long parts took.

    Scores of pairs are kept next to the checkpoint until the record is written.
    """
    data = load_data(spec)
    split = data.splits["test"]
    method = build_method(spec, data)
    load_checkpoint(method, weights)
    method.to(device)
    inputs, seconds = image_inputs(method, split, data.splits, device), record.seconds
    begun = time.perf_counter()
    encoded = encode(method, split, inputs, device)
    seconds["encode"] = round(time.perf_counter() - begun, 3)
    begun = time.perf_counter()
    of_data = {"weights": record.weights_sha, "data": data.facts.data_sha, "device": device.partition(":")[0]}
    scores = Scores(method, encoded, device, "score", Kept(kept_scores(weights), record.identities | of_data))
    top = FirstItems(len(split.paths), len(split.captions))
    plain, duplicate_aware = scores.rank(split.image_of, duplicates_of(split.captions, split.hashes), top)
    seconds["score"] = round(time.perf_counter() - begun, 3)
    seconds["inference"] = round(inference_seconds(method, split.captions[0], device), 5)
    ranks = SplitRanks(plain, duplicate_aware, scores.rerank(split.image_of))
    return Ranked(split, ranks, SplitTop(top.i2t, top.t2i))


def evaluate(spec: Spec, before_keeping: Callable[[], None] = lambda: None) -> Record:
    """Evaluate the checkpoint of a cell on test, once, and write ``cell.json`` and what is next to it.

    ``before_keeping`` is called when everything is computed, and may object.
    """
    cell, folder = spec.cell, Paths.cell(spec.cell)
    weights = Paths.checkpoint(cell) / "model.safetensors"
    trained = read_report(cell)
    if trained is None:
        raise RecordError(f"{cell.path} has not been trained: run `rsitr train {cell.path}` first")
    record = Record.begun(spec, trained)
    record.versions = library_versions()
    ranked: Ranked | None = None
    if record.outcome.status == "ok":
        forget_peak()
        started = time.perf_counter()
        try:
            device = device_of(spec)
            ranked = rank_test(spec, device, weights, record)
            split = ranked.split
            best = asdict(ceiling(split.image_of, duplicates_of(split.captions, split.hashes)))
            record.metrics = {f"ceiling_{name}": value for name, value in best.items()}
            record.machine = machine(device)
        except Exception as error:  # a failed cell is a result: it is recorded and the rest goes on
            record.outcome = Outcome.of(error)
            ranked = None
        record.seconds["evaluate"] = round(time.perf_counter() - started, 2)
        record.peak_memory_mib["evaluate"] = peak_memory_mib()
    before_keeping()
    write_ranks(folder / "ranks.parquet", ranked and ranked.split, ranked and ranked.ranks)
    write_top(folder / "top.parquet", ranked and ranked.split, ranked and ranked.top)
    write_history(folder / "history.csv", trained.history)
    write_json(folder / "cell.json", record)
    if record.outcome.status == "ok":
        kept_scores(weights).unlink(missing_ok=True)
    return record
