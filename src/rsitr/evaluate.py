"""Evaluation of one cell: encode the test split once, rank, score, and write the record."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from rsitr.cells import Layout, Outcome, Record, Spec, TrainReport, read_json, read_spec, write_json
from rsitr.datasets.splits import SplitData
from rsitr.errors import WeightsMismatch
from rsitr.methods.base import Method
from rsitr.provenance import library_versions, machine, peak_memory_mib
from rsitr.retrieval.ranks import Ranks
from rsitr.retrieval.recall import ceiling, median_ranks, recall, text_groups
from rsitr.runtime import build_method, image_inputs, load_data, prepare, writing
from rsitr.scoring import Scores, encode


class SplitRanks(NamedTuple):
    """The ranks of a test split."""

    plain: Ranks
    duplicate_aware: Ranks
    reranked: Ranks


def metrics_of(ranks: SplitRanks, split: SplitData) -> dict[str, float]:
    """The six recalls and mR in percent.

    Prefix ``dup_``: identical captions count; ``rr_``: after re-ranking; ``ceiling_``: the best possible. With them the
    median ranks ``i2t_medr`` and ``t2i_medr``.
    """
    reports = {
        "": recall(ranks.plain),
        "dup_": recall(ranks.duplicate_aware),
        "rr_": recall(ranks.reranked),
        "ceiling_": ceiling(split.captions, split.image_of),
    }
    metrics = {prefix + name: value for prefix, report in reports.items() for name, value in asdict(report).items()}
    return metrics | median_ranks(ranks.plain)._asdict()


RANKS_SCHEMA = pa.schema(
    [
        ("direction", pa.string()),
        ("image_id", pa.string()),
        ("caption", pa.int32()),
        ("rank", pa.int32()),
        ("dup_rank", pa.int32()),
        ("rr_rank", pa.int32()),
    ]
)


def write_ranks(path: Path, split: SplitData | None, ranks: SplitRanks | None) -> None:
    """One row a query: its image, the number of its caption within the split (-1 for an image query), its ranks."""
    table = RANKS_SCHEMA.empty_table()
    if split is not None and ranks is not None:
        ids = np.asarray(split.image_ids)
        columns = {
            "direction": ["i2t"] * len(ids) + ["t2i"] * len(split.captions),
            "image_id": [*ids, *ids[split.image_of]],
            "caption": [-1] * len(ids) + list(range(len(split.captions))),
            "rank": np.concatenate([ranks.plain.i2t, ranks.plain.t2i]),
            "dup_rank": np.concatenate([ranks.duplicate_aware.i2t, ranks.duplicate_aware.t2i]),
            "rr_rank": np.concatenate([ranks.reranked.i2t, ranks.reranked.t2i]),
        }
        table = pa.table({name: pa.array(columns[name], RANKS_SCHEMA.field(name).type) for name in RANKS_SCHEMA.names})
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    pq.write_table(table, partial, compression="zstd")
    partial.replace(path)


@torch.inference_mode()
def inference_seconds(method: Method, caption: str, device: str, repeats: int = 10) -> float:
    """Median time from the pixels of one image and the text of one caption to their score."""
    size = method.pixels.size if method.reads_pixels else 0
    image = torch.zeros(1, 3, size, size, device=device) if method.reads_pixels else torch.zeros(1, device=device)
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


def evaluate(spec: Spec, killed: Outcome | None = None) -> Record:
    """Evaluate the checkpoint of a cell on test, once, and write ``cell.json``, ``ranks.parquet``, ``history.csv``.

    ``killed`` is how an earlier attempt ended that could write nothing any more: the record then says so.
    """
    cell, folder = spec.cell, Layout.cell(spec.cell)
    trained = read_json(TrainReport, Layout.checkpoint(cell) / "train.json")
    report = trained.model_dump(exclude={"history", "outcome", "peak_memory_mib", "seconds"})
    record = Record(
        **{name: getattr(spec, name) for name in ("experiment", "dataset", "method", "seed", "params_sha", "code_sha")},
        **report,
        outcome=killed or trained.outcome,
        versions=library_versions(),
    )
    split: SplitData | None = None
    ranks: SplitRanks | None = None
    seconds, memory = dict(trained.seconds), dict(trained.peak_memory_mib)
    if record.outcome.status == "ok":
        started = time.perf_counter()
        try:
            device = prepare(spec)
            data = load_data(spec)
            split = data.splits["test"]
            method = build_method(spec, data)
            load_checkpoint(method, Layout.checkpoint(cell) / "model.safetensors")
            method.to(device)
            inputs = image_inputs(method, split, data.splits, device)
            begun = time.perf_counter()
            encoded = encode(method, split, inputs, device)
            seconds["encode"] = round(time.perf_counter() - begun, 3)
            begun = time.perf_counter()
            scores = Scores(method, encoded, device, "score")
            plain, duplicate_aware = scores.rank(split.image_of, text_groups(split.captions))
            seconds["score"] = round(time.perf_counter() - begun, 3)
            seconds["inference"] = round(inference_seconds(method, split.captions[0], device), 5)
            ranks = SplitRanks(plain, duplicate_aware, scores.rerank(split.image_of))
            record.metrics = metrics_of(ranks, split)
            record.machine = machine(device, spec.threads)
        except Exception as error:  # a failed cell is a result: it is recorded and the rest goes on
            record.outcome = Outcome.of(error)
            ranks = None
        seconds["evaluate"] = round(time.perf_counter() - started, 2)
        memory["evaluate"] = peak_memory_mib()
    record = record.model_copy(update={"seconds": seconds, "peak_memory_mib": memory})
    write_ranks(folder / "ranks.parquet", split, ranks)
    write_history(folder / "history.csv", trained)
    write_json(folder / "cell.json", record)
    return record


def write_history(path: Path, trained: TrainReport) -> None:
    """Loss and validation mR of every epoch."""
    lines = ["epoch,loss,val_mr,learning_rate"]
    lines += [f"{e.epoch},{e.loss:.5f},{e.val_mr:.4f},{e.learning_rate:.3e}" for e in trained.history]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    with writing():
        earlier = [Outcome.model_validate_json(text) for text in sys.argv[2:]]
        evaluate(read_spec(Path(sys.argv[1])), *earlier)
