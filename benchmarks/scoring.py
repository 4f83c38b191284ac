"""Scoring the test set of RSICD: rsitr next to straightforward implementations of the published formulas.

1,093 images with 49 regions and 5,465 captions with the words they have, embeddings of 1,024 dimensions, random
weights, two threads. CAMP has 256 dimensions and an eighth of images and captions, because all pairs take hours.
Everything is encoded beforehand. Ours scores each different caption once, as an evaluation does,
and so gives the scores of all 5,465. The peers are the formula for one pair in a loop over pairs, and for one caption
and all images in a loop over captions, as released code has it; both are timed on a sample of pairs or captions, drawn
at random, and extrapolated. Ours has to agree with them. Every measurement has a process of its own; its peak memory
counts everything, encodings and libraries included. Needs a mirror, for the captions.

    python benchmarks/scoring.py                  all cases
    python benchmarks/scoring.py scan-t2i mtfn
    python benchmarks/scoring.py --brief          an eighth of the images and of the captions; writes nothing
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from recall import resident_mib
from rsitr.datasets.base import mirror_dir
from rsitr.methods import get_method
from rsitr.methods.base import Corpus, Method
from rsitr.methods.configure import configure
from rsitr.nn.seeds import seeded
from rsitr.stages.encode import encode_captions, score_all
from scoring_peers import PEERS
from table import Row, add_cases, machine, print_rows, write_rows

RESULT = Path(__file__).parents[1] / "results" / "benchmarks" / "scoring.csv"
IMAGES, REGIONS, WIDTH = 1_093, 49, 1024
SMALL = {"camp": {"width": 256}}
"""What of a costly method is smaller; it scores an eighth of the images and of the captions."""
THREADS = 2
PAIRS, CAPTIONS = 2_000, 40
TOLERANCE = 1e-5


class Task(NamedTuple):
    """What is scored: a method, and the part of the test set."""

    case: str
    """Method and variant, or CAMP with either loss."""
    part: int
    """1 for all of it, 8 for an eighth."""

    def captions(self) -> list[str]:
        """Captions of the test set."""
        folder = mirror_dir()
        if folder is None:
            raise SystemExit("RSITR_MIRROR must name a mirror, for its caption files")
        entries = json.loads((folder / "rsicd/dataset_rsicd.json").read_text(encoding="utf-8"))["images"]
        found = [sentence["raw"] for entry in entries if entry["split"] == "test" for sentence in entry["sentences"]]
        return found[: len(found) // self.part]

    def build(self) -> tuple[Method, Tensor]:
        """The method with random weights, and tokens [I, 49, C] as a backbone gives them."""
        name, _, variant = self.case.partition("@")
        cls = get_method("camp-triplet" if name == "camp" else name)
        captions = self.captions()
        with seeded(0):
            config = configure(cls, variant, {"image_weights": "none", "width": WIDTH} | SMALL.get(name, {}))
            method: Any = cls.build(config, Corpus(captions, np.arange(len(captions)))).eval()
            if name == "camp":
                method.fuses.fill_(True)  # as it scores after its first phase of training
            if name == "amfmn-sim" and not variant:
                method.image_part = nn.Linear(WIDTH, WIDTH)  # of the peer only: ours knows that it does not matter
            return method, torch.rand(IMAGES // self.part, REGIONS, method.backbone.width)


class Measured(NamedTuple):
    """What one process measured."""

    seconds: float
    """For all pairs."""
    mib: float
    scores: Tensor
    """Of the sampled pairs."""


def sampled(task: Task) -> tuple[np.ndarray, np.ndarray]:
    """Images and captions of the sampled pairs."""
    draw = np.random.default_rng(0)
    return draw.integers(IMAGES // task.part, size=PAIRS), draw.integers(len(task.captions()), size=PAIRS)


@torch.inference_mode()
def ours(task: Task) -> Measured:
    """All scores, in blocks."""
    method, tokens = task.build()
    images = PEERS[task.case].encode(method, tokens)
    texts, place = encode_captions(method, task.captions(), "cpu")
    score_all(method, images[:8], texts[:8], "cpu")  # the first call loads what later ones have
    begun = time.perf_counter()
    scores = score_all(method, images, texts, "cpu")[:, place]
    seconds = time.perf_counter() - begun
    rows, columns = (torch.from_numpy(side) for side in sampled(task))
    return Measured(seconds, resident_mib("VmHWM"), scores[rows, columns])


@torch.inference_mode()
def per_pair(task: Task) -> Measured:
    """One pair after the other."""
    method, tokens = task.build()
    peer = PEERS[task.case]
    images, texts = peer.images(method, tokens), peer.texts(method, task.captions())
    pairs = list(zip(*sampled(task), strict=True))
    peer.pair(method, images[0], texts[0])
    begun = time.perf_counter()
    scores = [peer.pair(method, images[row], texts[column]) for row, column in pairs]
    seconds = (time.perf_counter() - begun) / len(pairs) * len(images) * len(texts)
    return Measured(seconds, resident_mib("VmHWM"), torch.stack(scores))


@torch.inference_mode()
def per_caption(task: Task) -> Measured:
    """All images with one caption after the other; the scores of the first sampled pairs."""
    method, tokens = task.build()
    peer = PEERS[task.case]
    images, texts = peer.images(method, tokens), peer.texts(method, task.captions())
    rows, columns = (side[:CAPTIONS] for side in sampled(task))
    peer.caption(method, images, texts[0])
    begun = time.perf_counter()
    scores = [peer.caption(method, images, texts[column]) for column in columns]
    seconds = (time.perf_counter() - begun) / len(columns) * len(texts)
    found = torch.stack([of_caption[row] for of_caption, row in zip(scores, rows, strict=True)])
    return Measured(seconds, resident_mib("VmHWM"), found)


def measure(kind: str, task: Task) -> Measured:
    """One kind of scoring, in the process that this is called in."""
    torch.set_num_threads(THREADS)
    return {"ours": ours, "per pair": per_pair, "loop over captions": per_caption}[kind](task)


def in_a_fresh_process(kind: str, task: Task) -> Measured:
    """``measure``, in a process that nothing else has run in."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure, kind, task).result()


def published(task: Task, scores: Tensor) -> Tensor:
    """The score that the paper prints, where ours ranks by one that it is a monotone function of."""
    return scores.sigmoid() if task.case == "mtfn" else scores


def compare(task: Task) -> list[Row]:
    """Ours and both peers on one case. Raises ``AssertionError`` when a score differs."""
    own = in_a_fresh_process("ours", task)
    samples = {"per pair": f"{PAIRS:,} pairs", "loop over captions": f"{CAPTIONS} captions"}
    rows = []
    for kind, sample in samples.items():
        peer = in_a_fresh_process(kind, task)
        mine = published(task, own.scores)[: len(peer.scores)]
        difference = float((mine - peer.scores).abs().max())
        assert math.isfinite(difference), task
        assert difference <= TOLERANCE, (task, kind, difference)
        name = f"{kind}, torch, extrapolated from {sample}"
        rows.append(Row(task.case, f"time, {kind}", "s", own.seconds, name, peer.seconds, machine()))
        rows.append(Row(task.case, f"peak memory, {kind}", "MiB", own.mib, name, peer.mib, machine()))
    return rows


def main() -> None:
    """Measure, print, and write ``results/benchmarks/scoring.csv``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_cases(parser, PEERS)
    parser.add_argument("--brief", action="store_true")
    arguments = parser.parse_args()
    for name in arguments.cases or PEERS:
        rows = compare(Task(name, 8 if arguments.brief or name in SMALL else 1))
        print_rows(f"Scoring all pairs: {name}", rows)
        if not arguments.brief:
            write_rows(RESULT, rows)


if __name__ == "__main__":
    main()
