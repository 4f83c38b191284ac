"""Two-stage retrieval beside exhaustive scoring: milliseconds per query and loss of mR by length of the shortlists.

Two trained cells of one dataset and seed, an expensive scorer and a filter. The peer is the scorer alone on the test
split, in the same process: all pairs in blocks as an evaluation has them (time of all pairs by the number of queries,
which is how the paper of MTGFE counts), and one query at a time, as ours answers. Ours is measured one query at a time,
filter and re-ranking together. Galleries are encoded beforehand, identical captions are scored once, on both sides. All
recalls are of all queries and of one and the same matrix of scores. Run from the folder with params.yaml, data and
checkpoints, with nothing else running.

    python benchmarks/two_stage.py                                     laptop, RSICD, MTGFE and its filter
    python benchmarks/two_stage.py laptop/ucm/scan-t2i/vse++/0 --shortlists 8 32 128
    python benchmarks/two_stage.py --images 64                         64 images and their captions; writes nothing
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from rsitr import pipeline
from rsitr.cells import Spec
from rsitr.errors import RsitrError
from rsitr.params import CellId, load_params
from rsitr.retrieval.ranks import Ranks, rank_scores
from rsitr.retrieval.recall import recall
from rsitr.retrieval.two_stage import two_stage
from rsitr.runtime import prepare
from rsitr.scoring import Encoded, score_all
from rsitr.two_stage.pairs import Pairs
from rsitr.two_stage.record import Point, Seconds
from rsitr.two_stage.stage import Clock, Side, filter_scores, ready, same_texts
from table import Row, machine, print_rows, write_rows

RESULT = Path(__file__).parents[1] / "results" / "benchmarks" / "two_stage.csv"
DEFAULT = "laptop/rsicd/mtgfe/retrieval-filter/0"
SHORTLISTS = [8, 16, 32, 64, 128, 256]


class Known:
    """Scores that have been computed: what the scorer gives a pair is the same in either way of retrieval."""

    def __init__(self, scores: Tensor):
        self.scores = scores

    def of_image(self, image: int, texts: Tensor) -> Tensor:
        """As ``Pairs.of_image``."""
        return self.scores[image, texts]

    def of_text(self, text: int, images: Tensor) -> Tensor:
        """As ``Pairs.of_text``."""
        return self.scores[images, text]


class Found(NamedTuple):
    """What was measured."""

    mr: float
    """Of exhaustive scoring."""
    blocks: Seconds
    """Time of a query when all pairs are scored in blocks."""
    alone: Seconds
    """When one query at a time is scored with the whole gallery."""
    points: list[Point]


def specs_of(name: str) -> tuple[Spec, Spec]:
    """The specs of scorer and filter of EXPERIMENT/DATASET/SCORER/FILTER/SEED."""
    parts = name.split("/")
    if len(parts) != 5 or not parts[4].isdecimal():
        raise SystemExit("name two cells as EXPERIMENT/DATASET/SCORER/FILTER/SEED")
    experiment, dataset, *methods, seed = parts
    params = load_params()
    scorer, chosen = (pipeline.trained(params, CellId(experiment, dataset, method, int(seed))) for method in methods)
    return scorer, chosen


def part_of(side: Side, images: int) -> tuple[Encoded, np.ndarray]:
    """Encodings of the first images and their captions, and the image of each caption."""
    here = side.split.image_of < images
    return Encoded(side.encoded.images[:images], side.encoded.texts, side.encoded.place[here]), side.split.image_of[
        here
    ]


@torch.inference_mode()
def measure(scorer_spec: Spec, filter_spec: Spec, shortlists: list[int], images: int) -> Found:
    """All times and recalls of two cells on the first so many images of the test split."""
    device = prepare(scorer_spec)
    scorer, chosen = ready(scorer_spec, device), ready(filter_spec, device)
    (of_scorer, image_of), (of_filter, _) = part_of(scorer, images), part_of(chosen, images)
    first, second, text_of = same_texts(of_scorer, of_filter)

    begun = time.perf_counter()
    scores = score_all(scorer.method, first.images, first.texts, device)
    seconds = time.perf_counter() - begun
    blocks = Seconds(i2t=seconds / len(first.images), t2i=seconds / len(first.texts))

    def report(ranks: Ranks) -> dict[str, float]:
        return vars(recall(ranks))

    exhaustive = report(rank_scores(lambda i, t: scores[i][:, text_of[t]], image_of))
    clock = Clock(Pairs(scorer.method, first, device), Pairs(chosen.method, second, device))
    alone = clock.all_pairs()
    ranks = two_stage(
        filter_scores(chosen.method, second, device), Known(scores), image_of, shortlists, text_of=text_of
    )
    points = [clock.point(k, report(each)) for k, each in zip(shortlists, ranks, strict=True)]
    return Found(exhaustive["mr"], blocks, alone, points)


def rows_of(name: str, found: Found) -> list[Row]:
    """The measurements in the form of every benchmark."""
    _, dataset, scorer, chosen, _ = name.split("/")
    peer, rows = f"{scorer}, all pairs", []
    for direction in ("i2t", "t2i"):
        for point in found.points:
            case = f"{dataset}-{direction}, K = {point.k}, {scorer} and {chosen}"
            ours = 1000 * getattr(point.seconds, direction)
            for how, seconds in (("all queries in blocks", found.blocks), ("one query at a time", found.alone)):
                theirs = 1000 * getattr(seconds, direction)
                rows.append(Row(case, f"time of a query, {how}", "ms", ours, f"{peer}, {how}", theirs, machine()))
            mr = point.metrics["mr"]
            rows.append(Row(case, "mR of both directions", "%", mr, peer, found.mr, machine(), higher_is_better=True))
            rows.append(Row(case, "loss of mR", "points", found.mr - mr, peer, 0.0, machine()))
    return rows


def main() -> None:
    """Measure, print, and write ``results/benchmarks/two_stage.csv``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cells", nargs="?", default=DEFAULT, help="EXPERIMENT/DATASET/SCORER/FILTER/SEED")
    parser.add_argument("--shortlists", nargs="+", type=int, default=SHORTLISTS)
    parser.add_argument("--images", type=int, help="only the first so many of the test split; nothing is written")
    arguments = parser.parse_args()
    try:
        scorer, chosen = specs_of(arguments.cells)
        found = measure(scorer, chosen, sorted(arguments.shortlists), arguments.images or 2**31)
    except RsitrError as error:
        raise SystemExit(f"{error}") from None
    rows = rows_of(arguments.cells, found)
    print_rows(f"Two-stage retrieval: {arguments.cells}", rows)
    if not arguments.images:
        write_rows(RESULT, rows)


if __name__ == "__main__":
    main()
