"""Two-stage retrieval next to exhaustive scoring: milliseconds per query and loss of mR by length of the shortlists.

Trained cells of one dataset and seed, an expensive scorer and its filters. The peer is the scorer alone on the test
split, in the same process. Time is taken in two ways, of both: all queries of a direction together, in blocks of pairs,
time by the number of queries (which is how the paper of MTGFE counts), and one query at a time; of some images or
queries each, evenly over all. Ours is filter and re-ranking together. Galleries are encoded beforehand, identical
captions are scored once, on both sides. Recalls are of all queries, as `rsitr run two_stage/...` recorded them with the
same weights: run that first, and then this, from the folder with params.yaml, data and checkpoints and with nothing
else running.

    python benchmarks/two_stage.py                                     laptop, RSICD, MTGFE and its two filters
    python benchmarks/two_stage.py laptop/ucm/mtgfe@itm/0 --filters distilled-dual
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from rsitr.cli.common import cell_id
from rsitr.errors import RsitrError
from rsitr.params import load_params
from rsitr.params.ids import CellId, TwoStageId
from rsitr.pipeline.run import trained
from rsitr.records.cell import Spec, current_weights_sha
from rsitr.records.paths import Paths
from rsitr.records.two_stage import Point, Seconds, TwoStageRecord
from rsitr.retrieval.tiles import Score
from rsitr.retrieval.two_stage import shortlist
from rsitr.stages.encode import score_all
from rsitr.stages.setup import prepare
from rsitr.stages.two_stage import TIMED, Clock, Pairs, Side, filter_scores, ready, same_texts, sample
from table import Row, machine, print_rows, write_rows

RESULT = Path(__file__).parents[1] / "results" / "benchmarks" / "two_stage.csv"
DEFAULT = "laptop/rsicd/mtgfe@itm/0"
FILTERS = ["retrieval-filter", "distilled-dual"]
BLOCK_IMAGES = 128
"""Images that are scored with all texts for the time of all pairs: about as many as a block has."""


class Found(NamedTuple):
    """Times of a filter and the scorer, next to those of the scorer alone."""

    alone: Seconds
    """A query of the scorer alone, when one at a time is scored with the whole gallery."""
    points: list[Point]
    """Ours, one query at a time, with the recorded recalls."""
    together: dict[int, Seconds]
    """Ours, all queries of a direction together, by length of the shortlists."""


def retrievals(name: str, filters: Sequence[str]) -> list[tuple[TwoStageRecord, Spec, Spec]]:
    """Of each filter: what was recorded, the spec of the scorer, EXPERIMENT/DATASET/SCORER/SEED, and its own."""
    asked = cell_id(name)
    params, found = load_params(), []
    for chosen in filters:
        wanted = TwoStageId(asked.experiment, asked.dataset, asked.method, chosen, asked.seed)
        scorer, second = (trained(params, cell) for cell in wanted.cells)
        record = TwoStageRecord.read(Paths.two_stage(wanted))
        if record is None or not record.points or not _of_present_weights(record, wanted.cells):
            raise SystemExit(f"no recalls of these weights: run `rsitr run two_stage/{wanted.path}` first")
        found.append((record, scorer, second))
    return found


def _of_present_weights(record: TwoStageRecord, cells: tuple[CellId, CellId]) -> bool:
    return [record.used.get(role) for role in record.USED] == [current_weights_sha(cell) for cell in cells]


@torch.inference_mode()
def blocks_seconds(side: Side, device: str) -> Seconds:
    """Time of a query when all pairs are scored in blocks: of some images with all texts, for all images."""
    images, texts = side.encoded.images, side.encoded.texts
    chosen = sample(len(images), BLOCK_IMAGES)
    begun = time.perf_counter()
    score_all(side.method, images[chosen], texts, device)
    of_image = (time.perf_counter() - begun) / len(chosen)
    return Seconds(i2t=of_image, t2i=of_image * len(images) / len(texts))


@torch.inference_mode()
def measure(side: Side, chosen: Side, record: TwoStageRecord, alone: Seconds | None, device: str) -> Found:
    """All times of a filter before the scorer; ``alone`` where it was measured already."""
    first, second, _ = same_texts(side.encoded, chosen.encoded)
    clock = Clock(Pairs(side.method, first, device), Pairs(chosen.method, second, device))
    alone = alone or clock.all_pairs()
    points = [clock.point(point.k, point.metrics) for point in record.points]
    shortlisted = filter_scores(chosen.method, second, device)
    together = {point.k: together_seconds(shortlisted, clock.scorer, point.k) for point in points}
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


def rows_of(record: TwoStageRecord, blocks: Seconds, found: Found) -> Iterator[Row]:
    """The measurements in the form of every benchmark."""
    assert record.exhaustive is not None
    peer, all_pairs = f"{record.scorer}, all pairs", record.exhaustive.metrics["mr"]
    for direction in ("i2t", "t2i"):
        for point in found.points:
            case = f"{record.dataset}-{direction}, K = {point.k}, {record.scorer} and {record.filter}"
            ways = {
                "all queries together": (found.together[point.k], blocks),
                "one query at a time": (point.seconds, found.alone),
            }
            for how, both in ways.items():
                ours, theirs = (1000 * getattr(seconds, direction) for seconds in both)
                yield Row(case, f"time of a query, {how}", "ms", ours, f"{peer}, {how}", theirs, machine())
            mr = point.metrics["mr"]
            yield Row(case, "mR of both directions", "%", mr, peer, all_pairs, machine(), higher_is_better=True)
            yield Row(case, "loss of mR", "points", all_pairs - mr, peer, 0.0, machine())


def main() -> None:
    """Measure, print, and write ``results/benchmarks/two_stage.csv`` after each filter."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scorer", nargs="?", default=DEFAULT, help="EXPERIMENT/DATASET/METHOD/SEED")
    parser.add_argument("--filters", nargs="+", default=FILTERS, help="methods, of the same dataset and seed")
    arguments = parser.parse_args()
    rows: list[Row] = []
    try:
        found = retrievals(arguments.scorer, arguments.filters)
        device = prepare(found[0][1])
        side, alone = ready(found[0][1], device), None
        blocks = blocks_seconds(side, device)
        for record, _, spec in found:
            measured = measure(side, ready(spec, device), record, alone, device)
            alone = measured.alone
            rows += rows_of(record, blocks, measured)
            write_rows(RESULT, rows)
    except RsitrError as error:
        raise SystemExit(f"{error}") from None
    print_rows(f"Two-stage retrieval: {arguments.scorer}", rows)


if __name__ == "__main__":
    main()
