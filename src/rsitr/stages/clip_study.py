"""What the study of CLIP alone measures of a trained cell: precision, accuracy, cosines, time, and its failures."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from rsitr.datasets.splits import SplitData, caption_name
from rsitr.errors import RecordError
from rsitr.methods.base import Method
from rsitr.records.artefact import Outcome
from rsitr.records.cell import Record, Spec, current_weights_sha
from rsitr.records.files import write_json
from rsitr.records.provenance import library_versions, machine
from rsitr.records.study import Study, StudySpec
from rsitr.retrieval.failures import Failure, write_failures
from rsitr.retrieval.precision import pair_cosines, precision
from rsitr.retrieval.ranks import rank_scores
from rsitr.retrieval.recall import Ranks, duplicates_of
from rsitr.stages.encode import Encoded, encode, score_all
from rsitr.stages.evaluate import inference_seconds
from rsitr.stages.model import Trained
from rsitr.stages.setup import image_inputs

TURNS, REPEATS = 10, 5
"""How often models take turns to be timed, and measurements in a turn."""
SHOWN = 10
"""Failures of each direction that are listed, those of the highest ranks."""


class Measured(NamedTuple):
    """What a score matrix [I, C] of a split comes to."""

    metrics: dict[str, float]
    failures: dict[str, int]
    listed: list[Failure]


def measure(spec: StudySpec, before_keeping: Callable[[], None] = lambda: None) -> Study:
    """Write ``study.json`` and ``failures.csv`` of a cell that was evaluated.

    A cell without a number has none here either, for the same reason. ``before_keeping`` is called when everything is
    computed, and may object.
    """
    record = _record(spec.cell)
    study = Study.begun(spec)
    study.outcome, study.data_sha, study.used = record.outcome, record.data_sha, {"cell": record.weights_sha}
    listed: list[Failure] = []
    if study.outcome.status == "ok":
        try:
            listed = measured_cell(spec, study)
        except Exception as error:  # as for a cell: a failure is recorded, and the rest goes on
            study.outcome = Outcome.of(error)
    before_keeping()
    failures_file, record_file = spec.outputs
    write_failures(listed, failures_file)
    write_json(record_file, study)
    return study


def _record(spec: Spec) -> Record:
    record = Record.read(spec.record_file)
    if record is None or record.weights_sha != current_weights_sha(spec.cell):
        raise RecordError(f"{spec.path} has not been evaluated: run `rsitr evaluate {spec.path}` first")
    return record


def measured_cell(spec: StudySpec, study: Study) -> list[Failure]:
    """Fill a study in, and return the failures that are listed."""
    model = Trained(spec.cell)
    split = model.data.splits["test"]
    inputs = image_inputs(model.method, split, model.data.splits, model.device)
    found = measured(score_matrix(model.method, encode(model.method, split, inputs, model.device), model.device), split)
    methods = [model.method]
    if spec.two_encoders is not None and (other := _record(spec.two_encoders)).outcome.status == "ok":
        methods.append(Trained(spec.two_encoders, model.device).method)
        study.used["two_encoders"] = other.weights_sha
    times = side_by_side(methods, split.captions[0], model.device)
    names = ("inference", "two_encoders")
    study.metrics, study.failures = found.metrics, found.failures
    study.seconds = {name: round(seconds, 6) for name, seconds in zip(names, times, strict=False)}
    study.machine, study.versions = machine(model.device), library_versions()
    return found.listed


def score_matrix(method: Method, encoded: Encoded, device: str) -> Tensor:
    """Scores [I, C], float32 on the CPU. Equal images tie exactly, and so do captions of equal tokens."""
    images, place = torch.unique(encoded.images, dim=0, return_inverse=True)
    return score_all(method, images, encoded.texts, device)[place][:, encoded.place]


def measured(scores: Tensor, split: SplitData) -> Measured:
    """Everything that scores [I, C] of a split tell; they are taken for cosines."""
    duplicates = duplicates_of(split.captions, split.hashes)

    def block(images: slice, captions: slice) -> Tensor:
        return scores[images, captions]

    ranks = rank_scores(block, split.image_of)
    plain, aware = precision(block, split.image_of), precision(block, split.image_of, duplicates)
    cosines = pair_cosines(scores, split.image_of, duplicates)
    metrics = {
        f"{prefix}map_{direction}": 100 * float(side.mean())
        for prefix, found in (("", plain), ("dup_", aware))
        for direction, side in (("i2t", found.i2t), ("t2i", found.t2i))
    }
    metrics |= {
        f"{prefix}map": (metrics[f"{prefix}map_i2t"] + metrics[f"{prefix}map_t2i"]) / 2 for prefix in ("", "dup_")
    }
    metrics["accuracy"] = 100 * float(np.mean(np.concatenate([ranks.i2t, ranks.t2i]) == 1))
    metrics["choice"] = 100 * float(aware.choice.mean())
    metrics["cosine_matched"] = cosines.matched
    if cosines.unmatched is not None:
        metrics["cosine_unmatched"] = cosines.unmatched
    failures = {"i2t": int((ranks.i2t > 1).sum()), "t2i": int((ranks.t2i > 1).sum())}
    return Measured(metrics, failures, list(worst(scores, ranks, split)))


def worst(scores: Tensor, ranks: Ranks, split: SplitData, shown: int = SHOWN) -> Iterator[Failure]:
    """The queries of each direction with the highest ranks above 1, in the order of the split where those are equal.

    Of each: what fits it best and its score, what came first and its score. Of several items with the highest score,
    the first irrelevant one counts as first, since ties go against the method.
    """
    images, captions = split.image_ids, [caption_name(split, place) for place in range(len(split.captions))]
    own = torch.arange(len(images))[:, None] == torch.from_numpy(split.image_of)
    i2t, t2i = (ranks.i2t, scores, own, images, captions), (ranks.t2i, scores.T, own.T, captions, images)
    for direction, (place, rows, relevant, queries, items) in (("i2t", i2t), ("t2i", t2i)):
        for query in np.argsort(-place, kind="stable")[:shown]:
            if place[query] > 1:
                fitting = int(rows[query].where(relevant[query], -torch.inf).argmax())
                first = int(rows[query].where(~relevant[query], -torch.inf).argmax())
                yield {
                    **{"direction": direction, "rank": str(place[query]), "query": queries[query]},
                    **{"fitting": items[fitting], "fitting_score": f"{rows[query, fitting]:.4f}"},
                    **{"first": items[first], "first_score": f"{rows[query, first]:.4f}"},
                }


def side_by_side(methods: Sequence[Method], caption: str, device: str) -> list[float]:
    """Median seconds of each method from one image and one caption to their score.

    The methods take turns, so that what else the machine does concerns all of them alike. The median of each turn
    leaves out its beginning, when another model fills the processor's caches; the first turn does not count.
    """
    turns = [[inference_seconds(each.eval(), caption, device, REPEATS) for each in methods] for _ in range(TURNS + 1)]
    return [statistics.median(times) for times in zip(*turns[1:], strict=True)]
