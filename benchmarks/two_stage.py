"""Two-stage retrieval beside exhaustive scoring: milliseconds per query and loss of mR by length of the shortlists.

Trained cells of one dataset and seed, an expensive scorer and its filters. The peer is the scorer alone on the test
split, in the same process. Time is taken in two ways, of both: all queries of a direction together, in blocks of pairs,
time by the number of queries (which is how the paper of MTGFE counts), and one query at a time. Ours is filter and
re-ranking together. Galleries are encoded beforehand, identical captions are scored once, on both sides. All recalls
are of all queries and of one and the same matrix of scores. Run from the folder with params.yaml, data and checkpoints,
with nothing else running.

    python benchmarks/two_stage.py                                     laptop, RSICD, MTGFE and its two filters
    python benchmarks/two_stage.py laptop/ucm/scan-t2i/0 --filters vse++ --shortlists 8 32 128
    python benchmarks/two_stage.py --images 64                         64 images and their captions; writes nothing
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from rsitr import pipeline
from rsitr.cells import Spec
from rsitr.errors import RsitrError
from rsitr.params import CellId, load_params
from rsitr.retrieval.ranks import rank_scores
from rsitr.retrieval.recall import recall
from rsitr.retrieval.tiles import Score
from rsitr.retrieval.two_stage import shortlist, two_stage
from rsitr.runtime import prepare
from rsitr.scoring import Encoded, score_all
from rsitr.two_stage.pairs import Pairs
from rsitr.two_stage.record import Point, Seconds
from rsitr.two_stage.stage import TIMED, Clock, Side, filter_scores, ready, same_texts, sample
from table import Row, machine, print_rows, write_rows

RESULT = Path(__file__).parents[1] / "results" / "benchmarks" / "two_stage.csv"
DEFAULT = "laptop/rsicd/mtgfe@itm/0"
FILTERS = ["retrieval-filter", "distilled-dual"]
SHORTLISTS = [8, 16, 32, 64, 128, 256]


class Found(NamedTuple):
    """What was measured of one filter."""

    alone: Seconds
    """Time of a query of the scorer alone, when one at a time is scored with the whole gallery."""
    points: list[Point]
    """Ours, one query at a time."""
    together: dict[int, Seconds]
    """Ours, all queries of a direction together, by length of the shortlists."""


class Exhaustive(NamedTuple):
    """The scorer, and what it says of all pairs."""

    side: Side
    encoded: Encoded
    image_of: np.ndarray
    scores: torch.Tensor
    """[I, T]: of every image and different text."""
    mr: float
    blocks: Seconds
    """Time of a query when all pairs are scored in blocks."""


def specs_of(name: str, filters: Sequence[str]) -> list[Spec]:
    """The specs of the scorer, EXPERIMENT/DATASET/SCORER/SEED, and of filters of the same dataset and seed."""
    parts = name.split("/")
    if len(parts) != 4 or not parts[3].isdecimal():
        raise SystemExit("name the scorer as EXPERIMENT/DATASET/METHOD/SEED")
    experiment, dataset, scorer, seed = parts
    params = load_params()
    return [pipeline.trained(params, CellId(experiment, dataset, method, int(seed))) for method in (scorer, *filters)]


def part_of(side: Side, images: int) -> tuple[Encoded, np.ndarray]:
    """Encodings of the first images and their captions, and the image of each caption."""
    here = side.split.image_of < images
    return Encoded(side.encoded.images[:images], side.encoded.texts, side.encoded.place[here]), side.split.image_of[
        here
    ]


@torch.inference_mode()
def score_everything(spec: Spec, images: int, device: str) -> Exhaustive:
    """All pairs of the first so many images of the test split."""
    side = ready(spec, device)
    encoded, image_of = part_of(side, images)
    begun = time.perf_counter()
    scores = score_all(side.method, encoded.images, encoded.texts, device)
    seconds = time.perf_counter() - begun
    blocks = Seconds(i2t=seconds / scores.shape[0], t2i=seconds / scores.shape[1])
    mr = recall(rank_scores(lambda i, t: scores[i][:, encoded.place[t]], image_of)).mr
    return Exhaustive(side, encoded, image_of, scores, mr, blocks)


@torch.inference_mode()
def measure(everything: Exhaustive, spec: Spec, shortlists: list[int], device: str) -> Found:
    """All times and recalls of a filter before the scorer."""
    chosen, image_of = ready(spec, device), everything.image_of
    of_filter, _ = part_of(chosen, len(everything.encoded.images))
    first, second, text_of = same_texts(everything.encoded, of_filter)
    # A text of both is one of the scorer's: that of any caption it stands for.
    scores = everything.scores[:, everything.encoded.place[np.unique(text_of, return_index=True)[1]]]
    clock = Clock(Pairs(everything.side.method, first, device), Pairs(chosen.method, second, device))
    alone = clock.all_pairs()
    shortlisted = filter_scores(chosen.method, second, device)
    # What the scorer gives a pair is the same in either way of retrieval.
    ranks = two_stage(shortlisted, lambda i, t: scores[i, t], image_of, shortlists, text_of=text_of)
    points = [clock.point(k, vars(recall(each))) for k, each in zip(shortlists, ranks, strict=True)]
    together = {k: together_seconds(shortlisted, clock.scorer, k) for k in shortlists}
    return Found(alone, points, together)


def together_seconds(first: Score, scorer: Pairs, k: int) -> Seconds:
    """Time of a query when all queries of a direction are answered together, pairs grouped by their image.

    That of the re-ranking is taken of some images, evenly over all, and extrapolated to all pairs.
    """
    images, texts = len(scorer.images), len(scorer.words)
    begun = time.perf_counter()
    scores = first(slice(0, images), slice(0, texts))
    i2t = shortlist(scores, k)
    filtered = time.perf_counter() - begun
    t2i = shortlist(scores.T.contiguous(), k)
    chosen = sample(images, TIMED)
    asked = [i2t.items[image, i2t.inside[image]].sort().values for image in chosen]
    asking = [((t2i.items == image) & t2i.inside).any(1).nonzero().flatten() for image in chosen]
    spent = []
    for lists, inside in ((asked, i2t.inside), (asking, t2i.inside)):
        begun = time.perf_counter()
        for image, some in zip(chosen, lists, strict=True):
            if len(some):
                scorer.of_image(image, some)
        spent.append((time.perf_counter() - begun) / sum(map(len, lists)) * int(inside.sum()))
    return Seconds(i2t=(filtered + spent[0]) / images, t2i=(filtered + spent[1]) / texts)


def rows_of(name: str, chosen: str, everything: Exhaustive, found: Found) -> list[Row]:
    """The measurements in the form of every benchmark."""
    _, dataset, scorer, _ = name.split("/")
    peer, rows = f"{scorer}, all pairs", []
    for direction in ("i2t", "t2i"):
        for point in found.points:
            case = f"{dataset}-{direction}, K = {point.k}, {scorer} and {chosen}"
            ways = {
                "all queries together": (found.together[point.k], everything.blocks),
                "one query at a time": (point.seconds, found.alone),
            }
            for how, both in ways.items():
                ours, theirs = (1000 * getattr(seconds, direction) for seconds in both)
                rows.append(Row(case, f"time of a query, {how}", "ms", ours, f"{peer}, {how}", theirs, machine()))
            mr = point.metrics["mr"]
            rows.append(
                Row(case, "mR of both directions", "%", mr, peer, everything.mr, machine(), higher_is_better=True)
            )
            rows.append(Row(case, "loss of mR", "points", everything.mr - mr, peer, 0.0, machine()))
    return rows


def main() -> None:
    """Measure, print, and write ``results/benchmarks/two_stage.csv``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scorer", nargs="?", default=DEFAULT, help="EXPERIMENT/DATASET/METHOD/SEED")
    parser.add_argument("--filters", nargs="+", default=FILTERS, help="methods, of the same dataset and seed")
    parser.add_argument("--shortlists", nargs="+", type=int, default=SHORTLISTS)
    parser.add_argument("--images", type=int, help="only the first so many of the test split; nothing is written")
    arguments = parser.parse_args()
    rows = []
    try:
        scorer, *filters = specs_of(arguments.scorer, arguments.filters)
        device = prepare(scorer)
        everything = score_everything(scorer, arguments.images or 2**31, device)
        for name, spec in zip(arguments.filters, filters, strict=True):
            found = measure(everything, spec, sorted(arguments.shortlists), device)
            rows += rows_of(arguments.scorer, name, everything, found)
    except RsitrError as error:
        raise SystemExit(f"{error}") from None
    print_rows(f"Two-stage retrieval: {arguments.scorer}", rows)
    if not arguments.images:
        write_rows(RESULT, rows)


if __name__ == "__main__":
    main()
