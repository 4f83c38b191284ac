"""What other programs read of an assessment: a run in TREC's form, and results as the Hugging Face hub reads them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import EvalResult, EvalResultEntry, ModelCardData, eval_result_entries_to_yaml

from rsitr.datasets.splits import SplitData
from rsitr.external.encodings import Ranking, caption_names, token
from rsitr.records.cell import Record
from rsitr.records.files import write_text
from rsitr.retrieval.recall import recall
from rsitr.retrieval.top_files import SplitTop, Top


def write_run(path: Path, tag: str, split: SplitData, top: SplitTop) -> None:
    """The first items of every query, ``QUERY Q0 ITEM RANK SCORE TAG``, which ``encodings.of_run`` reads."""
    images, captions = ([*map(token, names)] for names in (split.image_ids, caption_names(split)))
    lines = [*_lines(images, captions, top.i2t, tag), *_lines(captions, images, top.t2i, tag)]
    write_text(path, "\n".join(lines) + "\n")


def _lines(queries: Sequence[str], items: Sequence[str], top: Top, tag: str) -> Iterator[str]:
    for query, places, scores in zip(queries, top.items.tolist(), top.scores.tolist(), strict=True):
        for rank, (place, score) in enumerate(zip(places, scores, strict=True), 1):
            yield f"{query} Q0 {items[place]} {rank} {score!r} {tag}"


def card(record: Record, ranking: Ranking) -> str:
    """A model card of the Hugging Face hub, whose metadata has the plain recalls as ``model-index``."""
    name = record.dataset
    dataset: dict[str, Any] = {"dataset_type": f"rsitr/{name}", "dataset_name": name, "dataset_split": "test"}
    plain, counted = (asdict(recall(ranks)) for ranks in (ranking.plain, ranking.duplicate_aware))
    results = [
        EvalResult("image-text-retrieval", metric_type=metric, metric_value=round(plain[metric], 4), **dataset)
        for metric in plain
    ]
    tags = ["remote-sensing", "image-text-retrieval"]
    metadata = ModelCardData(model_name=record.method, eval_results=results, tags=tags).to_yaml()
    rows = "\n".join(
        f"| {metric} | {value:.2f} | {counted[metric]:.2f} | {record.metrics[f'ceiling_{metric}']:.2f} |"
        for metric, value in plain.items()
    )
    images, captions = record.data["images"]["test"], record.data["captions"]["test"]
    return f"""---
{metadata}
---
# {record.method} on {record.dataset}

Assessed by `rsitr assess` on the {images:,} test images and {captions:,} captions of {record.dataset}
(data {record.data_sha[:12]}), in percent. Ties count against the model.

| recall | plain | duplicates counted | ceiling of plain |
|:--|--:|--:|--:|
{rows}

{_leaks(record)}
"""


def eval_results(record: Record, ranking: Ranking) -> str:
    """The plain recalls as a file of ``.eval_results``, where the Hugging Face hub looks for results of a model.

    The dataset is called as in the metadata of the card, ``rsitr/NAME``: name the repository that has it, if one does.
    """
    notes = f"percent; ties count against the model; data {record.data_sha[:12]}"
    entries = [
        EvalResultEntry(f"rsitr/{record.dataset}", metric, round(value, 4), notes=notes)
        for metric, value in asdict(recall(ranking.plain)).items()
    ]
    return yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False)


def _leaks(record: Record) -> str:
    """What is known of test images in the training data."""
    found = record.data["leaks"]
    if not found:
        return "What it was trained on is not stated, so nothing is known of test images among it."
    return "\n".join(f"- Trained on {name}: {leak(count)}." for name, count in found.items())


def leak(count: Sequence[int] | None) -> str:
    """How many test images are nearly in a training set, and of how many, in words; None where that is not known."""
    if count is None:
        return "near duplicates of test images were not searched for (`rsitr dedup pairs`)"
    return f"{count[0]:,} of {count[1]:,} test images have a near duplicate there"
