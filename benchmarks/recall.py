"""Recall@{1, 5, 10} in both directions: time and memory of rsitr next to those of CLIP_benchmark.

Both get the same unit embeddings, 512-d and random, with captions drawn towards their image, and two threads. Times
alternate between the two in one process and the best of five counts. Memory is that of a process of its own, beyond
what it held when the embeddings lay ready. CLIP_benchmark is run as its ``evaluate`` does once the embeddings are
there, with the batch of 64 that its command line defaults to. ``--large`` gives memory back as an evaluation does.

    python benchmarks/recall.py                        RSICD test: 1,093 images, 5,465 captions
    python benchmarks/recall.py --large                100,000 images, 500,000 captions; ours only, many minutes
    python benchmarks/recall.py --large 20k-x-100k
"""

import argparse
import math
import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from clip_benchmark.metrics.zeroshot_retrieval import batchify, recall_at_k

from rsitr.retrieval.ranks import rank_embeddings
from rsitr.retrieval.recall import CUTOFFS, recall
from rsitr.stages.__main__ import give_memory_back
from table import Row, machine, print_rows, write_rows

RESULT = Path(__file__).parents[1] / "results" / "benchmarks" / "recall.csv"
RSICD_TEST = "rsicd-test"
SIZES = {RSICD_TEST: (1_093, 5_465), "20k-x-100k": (20_000, 100_000), "100k-x-500k": (100_000, 500_000)}
WIDTH = 512
THREADS = 2
REPEATS = 5
PEER_BATCH = 64

Inputs = tuple[np.ndarray, np.ndarray, np.ndarray]
Method = Callable[[np.ndarray, np.ndarray, np.ndarray], dict[str, float]]


def embed(case: str) -> Inputs:
    """Images [I, 512], captions [C, 512] and the image of each caption. Works in place: peak memory is the result's."""
    n_images, n_texts = SIZES[case]
    generator = np.random.default_rng(0)
    image_of = np.arange(n_texts) * n_images // n_texts
    images, texts = (generator.standard_normal((n, WIDTH), dtype=np.float32) for n in (n_images, n_texts))
    for start in range(0, n_texts, 4096):
        part = slice(start, start + 4096)
        texts[part] += 0.15 * images[image_of[part]]
    for rows in (images, texts):
        rows /= np.sqrt(np.einsum("nd,nd->n", rows, rows))[:, None]
    return images, texts, image_of


def ours(images: np.ndarray, texts: np.ndarray, image_of: np.ndarray) -> dict[str, float]:
    """The six recalls in percent, by rsitr."""
    report = asdict(recall(rank_embeddings(images, texts, image_of)))
    return {name: value for name, value in report.items() if name != "mr"}


def clip_benchmark(images: np.ndarray, texts: np.ndarray, image_of: np.ndarray) -> dict[str, float]:
    """The six recalls in percent, by the steps of CLIP_benchmark's ``evaluate``."""
    scores = torch.from_numpy(texts) @ torch.from_numpy(images).t()
    positive = torch.zeros_like(scores, dtype=torch.bool)
    positive[torch.arange(len(scores)), image_of] = True
    recalls = {}
    for k in CUTOFFS:
        for side, s, p in (("i2t", scores.T, positive.T), ("t2i", scores, positive)):
            hit = batchify(recall_at_k, s, p, PEER_BATCH, "cpu", k=k) > 0
            recalls[f"{side}_r{k}"] = 100 * hit.double().mean().item()
    return recalls


def seconds(method: Method, inputs: Inputs) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    method(*inputs)
    return time.perf_counter() - start


def resident_mib(field: Literal["VmRSS", "VmHWM"]) -> float:
    """Resident memory of this process, now or at its highest; unlike ``ru_maxrss`` it owes nothing to the parent's."""
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{field}:")[1].split()[0]) / 1024


def measure(method: Method, case: str) -> tuple[float, float, float]:
    """In a fresh process: seconds, MiB beyond the embeddings, MiB in all."""
    torch.set_num_threads(THREADS)
    warm_up = np.eye(20, dtype=np.float32)
    method(warm_up, warm_up, np.arange(20))  # loads the libraries that a first call loads
    inputs = embed(case)
    before = resident_mib("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # lowers the recorded peak to the present size
    elapsed = seconds(method, inputs)
    peak = resident_mib("VmHWM")
    return elapsed, peak - before, peak


def in_a_fresh_process(
    method: Method, case: str, begin: Callable[[], None] | None = None
) -> tuple[float, float, float]:
    """``measure``, in a process in which nothing but ``begin`` has run."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), begin) as pool:
        return pool.submit(measure, method, case).result()


def compare(case: str) -> list[Row]:
    """Both methods on one case. Raises ``AssertionError`` when a recall differs."""
    torch.set_num_threads(THREADS)
    inputs = embed(case)
    expected, actual = clip_benchmark(*inputs), ours(*inputs)
    for name, value in expected.items():
        assert math.isclose(actual[name], value, rel_tol=0, abs_tol=1e-9), (name, actual[name], value)

    times = [(seconds(ours, inputs), seconds(clip_benchmark, inputs)) for _ in range(REPEATS)]
    our_time, peer_time = (min(column) for column in zip(*times, strict=True))
    our_memory, peer_memory = (in_a_fresh_process(method, case)[1] for method in (ours, clip_benchmark))
    peer = f"CLIP_benchmark {version('clip-benchmark')}"
    return [
        Row(case, "time", "s", our_time, peer, peer_time, machine()),
        Row(case, "peak memory beyond the embeddings", "MiB", our_memory, peer, peer_memory, machine()),
    ]


def measure_large(case: str) -> list[Row]:
    """Ours alone: the peer would hold the whole score matrix, three times over."""
    elapsed, beyond, in_all = in_a_fresh_process(ours, case, give_memory_back)
    return [
        Row(case, "time", "s", elapsed, "", None, machine()),
        Row(case, "peak memory beyond the embeddings", "MiB", beyond, "", None, machine()),
        Row(case, "peak memory in all", "MiB", in_all, "", None, machine()),
    ]


def main() -> None:
    """Measure, print, and write ``results/benchmarks/recall.csv``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--large", nargs="?", const="100k-x-500k", choices=[size for size in SIZES if size != RSICD_TEST]
    )
    large = parser.parse_args().large
    rows = measure_large(large) if large else compare(RSICD_TEST)
    print_rows("Recall@{1, 5, 10}, both directions", rows)
    write_rows(RESULT, rows)


if __name__ == "__main__":
    main()
