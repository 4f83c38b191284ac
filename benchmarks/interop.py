"""The same embeddings ranked by rsitr, mteb and CLIP_benchmark, which read their layouts of `rsitr data export`.

The test set has the size of RSICD's, 1,093 images of one pixel with five captions each, and the embeddings are those of
benchmarks/recall.py. Both peers load their export with their own loaders and look up the embedding of what they
decode; a recall that differs from ours is an error. R@K is ``hit_rate_at_K`` of mteb, which rounds to five digits, and
``image_retrieval_recall@K`` and ``text_retrieval_recall@K`` of CLIP_benchmark.

Times are of ``rank_embeddings`` and ``recall``, of mteb's ``task.evaluate`` of both tasks, which also computes nDCG,
MAP, MRR and their nAUC at seven cutoffs, and of CLIP_benchmark's ``evaluate``, with embeddings that lie ready: the best
of five, in turns, with two threads.

    uv pip install --group mteb            once; without it only CLIP_benchmark is compared
    python benchmarks/interop.py
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from clip_benchmark.datasets.builder import build_wds_dataset
from clip_benchmark.metrics.zeroshot_retrieval import evaluate
from PIL import Image
from torch import Tensor

from recall import PEER_BATCH, REPEATS, RSICD_TEST, THREADS, embed, ours
from rsitr.datasets.base import Row as Entry
from rsitr.datasets.canonical import write_rows
from rsitr.datasets.exports.layouts import export
from rsitr.retrieval.recall import CUTOFFS
from table import Row, machine, print_rows
from table import write_rows as write_results

RESULT = Path(__file__).parents[1] / "results" / "benchmarks" / "interop.csv"

Recalls = dict[str, float]


class Known:
    """A model of both peers that looks up the embedding of a picture by its colour and of a caption by its number.

    ``encode`` and ``similarity`` are what mteb asks for, ``encode_image`` and ``encode_text`` what CLIP_benchmark does.
    """

    mteb_model_meta = None

    def __init__(self, images: np.ndarray, texts: np.ndarray, *, ready: bool) -> None:
        self.of = {"image": torch.from_numpy(images), "text": torch.from_numpy(texts)}
        self.ready = ready
        """Whether mteb gets all embeddings in the order of the files, without a look at these."""

    def encode(self, inputs: Any, *, task_metadata: Any, prompt_type: Any, **_: Any) -> Tensor:
        """Embeddings [N, D] of mteb's queries or documents."""
        (kind,) = task_metadata.get_modalities(prompt_type)
        if self.ready:
            return self.of[kind]
        number = number_of_picture if kind == "image" else number_of_text
        return self.of[kind][[number(item) for batch in inputs for item in batch[kind]]]

    def similarity(self, queries: Tensor, documents: Tensor) -> Tensor:
        """Scores [Q, D]."""
        return queries @ documents.T

    def similarity_pairwise(self, queries: Tensor, documents: Tensor) -> Tensor:
        """Scores [N], which no retrieval asks for."""
        return (queries * documents).sum(dim=1)

    def encode_image(self, numbers: Tensor) -> Tensor:
        """Embeddings [B, D]."""
        return self.of["image"][numbers]

    def encode_text(self, numbers: Tensor) -> Tensor:
        """Embeddings [B, D]."""
        return self.of["text"][numbers]


def picture(number: int) -> Image.Image:
    """One pixel whose colour is a number."""
    return Image.new("RGB", (1, 1), (number >> 16, number >> 8 & 255, number & 255))


def number_of_picture(image: Image.Image) -> int:
    """The number of ``picture``."""
    return int.from_bytes(image.convert("RGB").tobytes(), "big")


def number_of_text(text: str) -> int:
    """The number of "caption 7"."""
    return int(text.split()[1])


def tokenize(texts: list[str]) -> Tensor:
    """Numbers [B]."""
    return torch.tensor([number_of_text(text) for text in texts])


def write_exports(image_of: np.ndarray, folder: Path) -> None:
    """A test set of numbered pictures and captions, in the layouts of both peers."""
    captions: dict[int, list[str]] = {}
    for number, image in enumerate(image_of.tolist()):
        captions.setdefault(image, []).append(f"caption {number}")
    (folder / "pictures").mkdir()
    entries = []
    for image, texts in captions.items():
        name = f"{image:07}.png"
        picture(image).save(folder / "pictures" / name)
        entries.append(Entry(name, name, "test", "", texts, []))
    source = ("scenes-a", "Numbers", "generated", "Apache-2.0", True)
    write_rows(entries, source, folder / "pictures", folder / "dataset.parquet")
    export(folder / "dataset.parquet", "mteb", folder / "mteb")
    export(folder / "dataset.parquet", "clip-benchmark", folder / "clip-benchmark")


def shards(folder: Path) -> Iterator[tuple[Tensor, list[list[str]]]]:
    """Batches of CLIP_benchmark's loader, as its command line makes them: numbers of images and their captions."""
    loaded = build_wds_dataset("numbers", number_of_picture, "test", str(folder / "clip-benchmark"))
    for numbers, texts in loaded.batched(PEER_BATCH):
        yield torch.as_tensor(numbers), texts


def by_clip_benchmark(model: Known, batches: Any) -> Recalls:
    """The six recalls in percent, by CLIP_benchmark."""
    found = evaluate(model, batches, tokenize, "cpu", amp=False, recall_k_list=list(CUTOFFS))
    names = {"i2t": "text_retrieval_recall", "t2i": "image_retrieval_recall"}
    return {f"{way}_r{k}": 100 * found[f"{name}@{k}"] for way, name in names.items() for k in CUTOFFS}


def by_mteb(model: Known, tasks: list[Any]) -> Recalls:
    """The six recalls in percent, by mteb."""
    recalls: Recalls = {}
    for task in tasks:
        way = task.metadata.category
        found = task.evaluate(model, "test", encode_kwargs={"show_progress_bar": False})[way]
        recalls |= {f"{way}_r{k}": 100 * found[f"hit_rate_at_{k}"] for k in CUTOFFS}
    return recalls


def tasks_of(folder: Path) -> list[Any]:
    """The two tasks that the export defines."""
    spec = importlib.util.spec_from_file_location("mteb_tasks", folder / "mteb" / "mteb_tasks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return list(module.TASKS)


def compare(peer: str, expected: Recalls, found: Recalls, times: tuple[float, float], within: float) -> list[Row]:
    """Rows of one peer. Raises ``AssertionError`` when a recall differs by more than ``within`` points."""
    for name, value in found.items():
        assert abs(expected[name] - value) <= within, (peer, name, expected[name], value)
    case = f"{RSICD_TEST}, {peer.split()[0]}"
    recalls = [
        Row(case, f"{way} R@{k}", "%", expected[f"{way}_r{k}"], peer, found[f"{way}_r{k}"], machine(), True)
        for way in ("i2t", "t2i")
        for k in CUTOFFS
    ]
    return [*recalls, Row(case, "time", "s", times[0], peer, times[1], machine())]


def seconds(first: Callable[[], object], second: Callable[[], object]) -> tuple[float, float]:
    """The best wall times of two calls that take turns."""
    best = [float("inf")] * 2
    for _ in range(REPEATS):
        for place, call in enumerate((first, second)):
            start = time.perf_counter()
            call()
            best[place] = min(best[place], time.perf_counter() - start)
    return best[0], best[1]


def measure(folder: Path) -> list[Row]:
    """Export, load and rank; both peers if mteb is installed."""
    images, texts, image_of = embed(RSICD_TEST)
    write_exports(image_of, folder)
    expected = ours(images, texts, image_of)
    by_look, ready = Known(images, texts, ready=False), Known(images, texts, ready=True)

    def alone() -> Recalls:
        return ours(images, texts, image_of)

    found = by_clip_benchmark(by_look, shards(folder))
    batches = list(shards(folder))
    times = seconds(alone, lambda: by_clip_benchmark(ready, batches))
    rows = compare(f"CLIP_benchmark {version('clip-benchmark')}", expected, found, times, 1e-4)  # float32
    if importlib.util.find_spec("mteb") is None:
        print("mteb is not installed and is left out: uv pip install --group mteb")
        return rows
    tasks = tasks_of(folder)
    found = by_mteb(by_look, tasks)
    times = seconds(alone, lambda: by_mteb(ready, tasks))
    return rows + compare(f"mteb {version('mteb')}", expected, found, times, 5.1e-4)  # rounded to five digits


def main() -> None:
    """Measure, print, and write ``results/benchmarks/interop.csv``."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    torch.set_num_threads(THREADS)
    with TemporaryDirectory() as folder:
        os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": f"{folder}/cache"}  # before mteb is imported
        rows = measure(Path(folder))
    print_rows("The same embeddings, by rsitr and its peers", rows)
    write_results(RESULT, rows)


if __name__ == "__main__":
    main()
