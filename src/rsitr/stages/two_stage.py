"""Two-stage retrieval on a test split: ranks at every length of the shortlists, and the time of a query.

Recalls of the scorer and of the filter alone are those of their cells' records, made with the same weights; where a
method is its own filter, those of its cheap score are computed here. Times are taken here and now, side by side, query
by query: the whole gallery by the scorer, the whole gallery by the filter, the shortlist by the scorer. All that is
known of the gallery beforehand, its encodings, is computed beforehand.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rsitr.datasets.splits import SplitData
from rsitr.errors import Unsupported
from rsitr.methods.base import Method
from rsitr.methods.own_filter import OwnFilter
from rsitr.progress import Progress
from rsitr.records.artefact import Outcome
from rsitr.records.cell import Record, Spec, read_report
from rsitr.records.files import write_json
from rsitr.records.paths import Paths
from rsitr.records.provenance import library_versions, machine, peak_memory_mib
from rsitr.records.two_stage import Point, Seconds, TwoStageRecord, TwoStageSpec, Way
from rsitr.retrieval.rank_files import metrics_of, read_ranks
from rsitr.retrieval.recall import Duplicates, ProtocolRanks, duplicates_of
from rsitr.retrieval.rerank import dot_product
from rsitr.retrieval.tiles import Score
from rsitr.retrieval.two_stage import shortlist, two_stage
from rsitr.stages.encode import PAIR_NUMBERS, Encoded, Scores, encode, score_all
from rsitr.stages.evaluate import blank_image
from rsitr.stages.model import load_method
from rsitr.stages.setup import image_inputs, load_data, prepare

TIMED = 64
"""Queries of each direction whose time is taken, evenly over the split."""
TIMED_PAIRS = 2**16
"""Pairs that the timing of exhaustive scoring may take in each direction, which limits its queries, but not below 4."""
WARM = 3
"""Queries answered before any time is taken."""
REPEATS = 10
PROTOCOLS = ("rank", "dup_rank")
"""Ranks that count the captions of an image alone, and those that count identical captions and pictures, too."""


class Side(NamedTuple):
    """One of the two cells, ready to be asked."""

    method: Method
    split: SplitData
    encoded: Encoded


def recorded(spec: Spec, role: str) -> Record:
    """The record of a cell that was trained and evaluated; raises ``Unsupported`` with the reason where it was not."""
    cell = spec.cell
    report, record = read_report(cell), Record.read(spec.record_file)
    if report is None:
        raise Unsupported(f"its {role} {cell.path} has not been trained: run `rsitr train {cell.path}`")
    outcome = report.outcome if report.outcome.status != "ok" or record is None else record.outcome
    if outcome.status != "ok":
        raise Unsupported(f"its {role} {cell.path} is {outcome.status}: {outcome.reason}")
    if record is None or record.weights_sha != report.weights_sha:
        raise Unsupported(f"its {role} {cell.path} has not been evaluated: run `rsitr evaluate {cell.path}`")
    return record


def ready(spec: Spec, device: str) -> Side:
    """A cell with its weights and the encodings of the test split."""
    data = load_data(spec)
    split = data.splits["test"]
    method = load_method(spec, data, device)
    return Side(method, split, encode(method, split, image_inputs(method, split, data.splits, device), device))


def own_filter(side: Side) -> Side:
    """The cheap score of a method that is its own filter, with what it makes of the encodings that are there."""
    method, (images, texts, place) = side.method, side.encoded
    device = next(method.parameters()).device
    encoded = Encoded(
        method.filter_images(images.to(device)).float().cpu(),
        method.filter_texts(texts.to(device)).float().cpu(),
        place,
    )
    return Side(OwnFilter(method).eval(), side.split, encoded)


def same_texts(scorer: Encoded, chosen: Encoded) -> tuple[Encoded, Encoded, npt.NDArray[np.int64]]:
    """The encodings of both by one numbering of texts, and the text of each caption [C] in it.

    Captions are one text where neither method can tell them apart. Short ones come first, as the scorer has them.
    """
    both = np.stack([scorer.place.numpy(), chosen.place.numpy()])
    texts, text_of = np.unique(both, axis=1, return_inverse=True)
    place = torch.from_numpy(text_of.ravel())
    return (
        Encoded(scorer.images, scorer.texts[texts[0]], place),
        Encoded(chosen.images, chosen.texts[texts[1]], place),
        text_of.ravel(),
    )


def filter_scores(method: Method, encoded: Encoded, device: str) -> Score:
    """The filter's scores of a slice of images against a slice of texts."""
    if not method.interacts:
        product = dot_product(encoded.images, encoded.texts, device)
        # Rounded to float32, equal embeddings have equal scores.
        return lambda images, texts: product(images, texts).float().cpu()
    return lambda images, texts: score_all(method, encoded.images[images], encoded.texts[texts], device)


class Pairs:
    """A method and the encodings of a split, on its device; ``of_image`` is a ``Rescore`` of ``retrieval.two_stage``.

    A block of pairs is one query, whose side is taken once, against as many items as ``Method.pair_numbers`` lets into
    memory.
    """

    def __init__(self, method: Method, encoded: Encoded, device: str):
        self.method = method
        self.images, self.texts = method.gallery(encoded.images.to(device)), encoded.texts.to(device)
        self.fragments = encoded.images.shape[1] if encoded.images.ndim == 3 else 1
        self.width = encoded.images.shape[-1]
        self.words = _used(encoded.texts)

    def of_image(self, image: int, texts: Tensor | None = None) -> Tensor:
        """Scores [K], float32 on the CPU, of an image against texts (int64 [K]), or against all of them."""
        query, scores = self.images[image : image + 1], []
        for part in self._parts(len(self.words) if texts is None else texts, self.words):
            some = self.texts[part]
            if some.ndim == 3:
                some = some[:, : int(self.words[part].max())]
            scores.append(self.method.score(query, some)[0])
        return torch.cat(scores).float().cpu()

    def of_text(self, text: int, images: Tensor | None = None) -> Tensor:
        """Scores [K], float32 on the CPU, of a text against images (int64 [K]), or against all of them."""
        query = self.texts[text : text + 1]
        if query.ndim == 3:
            query = query[:, : int(self.words[text])]
        parts = self._parts(len(self.images) if images is None else images, self.words[text : text + 1])
        return torch.cat([self.method.score(self.images[part], query)[:, 0] for part in parts]).float().cpu()

    def _parts(self, items: int | Tensor, words: Tensor) -> Iterator[slice | Tensor]:
        """Items of a gallery, or the first so many, in blocks that fit into memory with texts of so many ``words``."""
        size = max(1, PAIR_NUMBERS // self.method.pair_numbers(self.fragments, int(words.max()), self.width))
        if isinstance(items, Tensor):
            yield from items.split(size)
        else:
            yield from (slice(start, min(start + size, items)) for start in range(0, items, size))


def _used(texts: Tensor) -> Tensor:
    """int64 [T], on the CPU: words of texts [T, L, D] without the padding, at least 1; 1 of embeddings [T, D]."""
    if texts.ndim == 2:
        return torch.ones(len(texts), dtype=torch.int64)
    places = torch.arange(1, texts.shape[1] + 1)
    return (texts.any(-1) * places).amax(1).clamp(min=1)


def sample(total: int, count: int) -> list[int]:
    """``count`` queries, or all of fewer, evenly over ``total``."""
    return sorted(set(np.linspace(0, total - 1, min(total, count)).astype(int).tolist()))


def mean_seconds(ask: Callable[[int], object], queries: Sequence[int]) -> float:
    """Mean time of a query, after some that are not counted."""
    for query in queries[:WARM]:
        ask(query)
    begun = time.perf_counter()
    for query in queries:
        ask(query)
    return (time.perf_counter() - begun) / len(queries)


def stage_seconds(
    first: Callable[[int], Tensor], second: Callable[[int, Tensor], Tensor], k: int, queries: Sequence[int]
) -> tuple[float, float]:
    """Mean times of the shortlist and of the re-ranking of a query, after some that are not counted."""
    taken = []
    for query in [*queries[:WARM], *queries]:
        begun = time.perf_counter()
        lists = shortlist(first(query)[None], k)
        items = lists.items[lists.inside]
        chosen = time.perf_counter()
        if len(items):
            second(query, items)
        taken.append((chosen - begun, time.perf_counter() - chosen))
    filtered, ranked = np.mean(taken[-len(queries) :], axis=0)
    return float(filtered), float(ranked)


def encode_seconds(method: Method, caption: str, device: str) -> Seconds:
    """Median time to encode one image from its pixels and one caption from its text."""
    image = blank_image(method, device)
    taken = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        method.encode_images(image).cpu()
        between = time.perf_counter()
        method.encode_texts(method.tokenize([caption]).to(device)).cpu()
        taken.append((between - begun, time.perf_counter() - between))
    i2t, t2i = np.median(taken, axis=0)
    return Seconds(i2t=float(i2t), t2i=float(t2i))


class Clock:
    """Takes the times of queries of both directions."""

    def __init__(self, scorer: Pairs, chosen: Pairs):
        self.scorer, self.filter = scorer, chosen
        images, texts = len(scorer.images), len(scorer.words)
        self.queries = sample(images, TIMED), sample(texts, TIMED)
        # The same queries or fewer of them: every n-th.
        self.exhaustive = tuple(
            [queries[place] for place in sample(len(queries), max(4, TIMED_PAIRS // gallery))]
            for queries, gallery in zip(self.queries, (texts, images), strict=True)
        )

    @property
    def timed(self) -> dict[str, int]:
        """How many queries are timed."""
        of = zip(("i2t", "t2i", "exhaustive_i2t", "exhaustive_t2i"), (*self.queries, *self.exhaustive), strict=True)
        return {name: len(queries) for name, queries in of}

    def all_pairs(self) -> Seconds:
        """Of the scorer with the whole gallery."""
        i2t, t2i = self.exhaustive
        return Seconds(i2t=mean_seconds(self.scorer.of_image, i2t), t2i=mean_seconds(self.scorer.of_text, t2i))

    def filter_alone(self) -> Seconds:
        """Of the filter with the whole gallery."""
        i2t, t2i = self.queries
        return Seconds(i2t=mean_seconds(self.filter.of_image, i2t), t2i=mean_seconds(self.filter.of_text, t2i))

    def point(self, k: int, metrics: dict[str, float]) -> Point:
        """Of both stages with shortlists of length ``k``."""
        i2t = stage_seconds(self.filter.of_image, self.scorer.of_image, k, self.queries[0])
        t2i = stage_seconds(self.filter.of_text, self.scorer.of_text, k, self.queries[1])
        return Point(
            k=k,
            metrics=metrics,
            seconds=Seconds(i2t=sum(i2t), t2i=sum(t2i)),
            filter_seconds=Seconds(i2t=i2t[0], t2i=t2i[0]),
            rerank_seconds=Seconds(i2t=i2t[1], t2i=t2i[1]),
        )


def alone(spec: Spec, seconds: Seconds) -> Way:
    """One cell without the other."""
    ranks = read_ranks(Paths.cell(spec.cell) / "ranks.parquet").ranks
    return Way(metrics=metrics_of({name: ranks[name] for name in PROTOCOLS}), seconds=seconds)


def unrecorded(side: Side, duplicates: Duplicates, seconds: Seconds, device: str) -> Way:
    """A method's cheap score alone, which has no record of a cell."""
    ranks = Scores(side.method, side.encoded, device).rank(side.split.image_of, duplicates)
    return Way(metrics=of_both(ranks), seconds=seconds)


def of_both(ranks: ProtocolRanks) -> dict[str, float]:
    """The metrics of ranks by both protocols."""
    return metrics_of(dict(zip(PROTOCOLS, ranks, strict=True)))


@torch.inference_mode()
def measure(spec: TwoStageSpec, record: TwoStageRecord) -> None:
    """Fill ``record`` in; raises ``Unsupported`` where a cell cannot be used."""
    of_scorer, _ = recorded(spec.scorer, "scorer"), recorded(spec.filter, "filter")
    record.data, record.data_sha = of_scorer.data, of_scorer.data_sha
    device = prepare(spec.scorer)
    record.machine = machine(device)
    begun = time.perf_counter()
    scorer, itself = ready(spec.scorer, device), spec.filter.cell == spec.scorer.cell
    chosen = own_filter(scorer) if itself else ready(spec.filter, device)
    split = scorer.split
    record.seconds["encode"] = round(time.perf_counter() - begun, 2)
    first, second, text_of = same_texts(scorer.encoded, chosen.encoded)
    duplicates = duplicates_of(split.captions, split.hashes)
    images, texts = len(split.paths), len(second.texts)
    record.gallery = {"images": images, "captions": len(split.captions), "texts": texts}

    begun = time.perf_counter()
    pairs = Pairs(scorer.method, first, device)
    scores = filter_scores(chosen.method, second, device)
    with Progress("re-rank", images) as progress:

        def rescore(image: int, chosen_texts: Tensor) -> Tensor:
            progress.advance()
            return pairs.of_image(image, chosen_texts)

        ranks = two_stage(scores, rescore, split.image_of, spec.shortlists, text_of=text_of, duplicates=duplicates)
    record.seconds["rank"] = round(time.perf_counter() - begun, 2)

    begun = time.perf_counter()
    clock = Clock(pairs, Pairs(chosen.method, second, device))
    record.timed = clock.timed
    record.exhaustive = alone(spec.scorer, clock.all_pairs())
    cheap = clock.filter_alone()
    record.filtered = unrecorded(chosen, duplicates, cheap, device) if itself else alone(spec.filter, cheap)
    record.points = [clock.point(k, of_both(each)) for k, each in zip(spec.shortlists, ranks, strict=True)]
    caption = split.captions[0]
    record.encode_seconds = {
        "scorer": encode_seconds(scorer.method, caption, device),
        "filter": encode_seconds(chosen.method, caption, device),
    }
    record.seconds["time"] = round(time.perf_counter() - begun, 2)


def run(spec: TwoStageSpec, before_keeping: Callable[[], None] = lambda: None) -> TwoStageRecord:
    """Retrieve in two stages and write ``two_stage.json``; what goes wrong becomes part of it.

    ``before_keeping`` is called when everything is computed, and may object.
    """
    record, begun = TwoStageRecord.begun(spec), time.perf_counter()
    try:
        measure(spec, record)
    except Exception as error:  # a failure is a result: it is recorded and the rest goes on
        record.outcome = Outcome.of(error)
        record.points = []
    record.versions = library_versions()
    record.seconds["total"] = round(time.perf_counter() - begun, 2)
    record.peak_memory_mib = peak_memory_mib()
    before_keeping()
    write_json(spec.record_file, record)
    return record
