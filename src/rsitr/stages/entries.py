"""Where the code of each artefact begins, and the identity of that code. Nothing here needs torch."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rsitr.methods import entry
from rsitr.records.artefact import ArtefactSpec
from rsitr.records.cell import SCORED, TRAINED, Spec, TuningSpec
from rsitr.records.code import Sources
from rsitr.records.identity import LOCK, code_sha
from rsitr.records.pretraining import PretrainingSpec
from rsitr.records.prior import PriorSpec
from rsitr.records.study import StudySpec
from rsitr.records.two_stage import TwoStageSpec

SHARED = ("rsitr.stages.setup.build_method", "rsitr.stages.setup.load_data", "rsitr.stages.setup.device_of")
TRAIN = (*SHARED, "rsitr.stages.setup.check_usable", "rsitr.stages.train.fit")
SCORE = (
    *SHARED,
    "rsitr.retrieval.rank_files.write_ranks",
    "rsitr.retrieval.recall.ceiling",
    "rsitr.retrieval.top_files.write_top",
    "rsitr.stages.evaluate.rank_test",
)
KEYWORDS = ("rsitr.captions.keywords.extract",)
PRIOR = (
    *("rsitr.dedup.prior_images.select", "rsitr.stages.setup.prepare"),
    *("rsitr.stages.prior.SceneTrainer", "rsitr.stages.prior.class_accuracies"),
)
PRETRAINING = ("rsitr.pretraining.run.trained",)
TUNING = ("rsitr.stages.tune.Study", "rsitr.records.tuning.TuningRecord")
TWO_STAGE = (
    *("rsitr.stages.two_stage.ready", "rsitr.stages.two_stage.same_texts", "rsitr.stages.two_stage.filter_scores"),
    *("rsitr.stages.two_stage.own_filter", "rsitr.stages.two_stage.unrecorded"),
    *("rsitr.stages.two_stage.Pairs", "rsitr.stages.two_stage.Clock", "rsitr.stages.two_stage.encode_seconds"),
    *("rsitr.retrieval.two_stage.two_stage", "rsitr.retrieval.recall.recall"),
)
STUDY = (
    *("rsitr.stages.clip_study.measured", "rsitr.stages.clip_study.score_matrix"),
    *("rsitr.stages.clip_study.side_by_side", "rsitr.stages.model.Trained"),
)


def entries(spec: ArtefactSpec) -> dict[str, list[str]]:
    """Part of an artefact's code -> the definitions, as dotted names, from which all of that code is reached."""
    match spec:
        case Spec():
            return {TRAINED: [*TRAIN, *_learned(spec)], SCORED: [*SCORE, *_own(spec)]}
        case TuningSpec():
            return {"code": [*TUNING, *_learned(spec.base)]}
        case PriorSpec():
            return {"code": [*PRIOR]}
        case PretrainingSpec():
            return {"code": [*PRETRAINING]}
        case TwoStageSpec():
            return {"code": [*TWO_STAGE, *_classes([spec.scorer.method, spec.filter.method])]}
        case StudySpec():
            other = [spec.two_encoders.method] if spec.two_encoders else []
            return {"code": [*STUDY, *_classes([spec.cell.method, *other])]}
    raise TypeError(f"{type(spec).__name__} is not an artefact")


def _own(spec: Spec) -> list[str]:
    """What the method of a cell is, and what its queries are made by."""
    return [*_classes([spec.method]), *([] if spec.query == "sentence" else KEYWORDS)]


def _learned(spec: Spec) -> list[str]:
    """The same, with its teacher."""
    return [*_own(spec), *_classes([spec.teacher.method] if spec.teacher else [])]


def _classes(methods: Iterable[str]) -> list[str]:
    """The classes of some methods, as dotted names; they are found by name when a cell runs."""
    found = (entry(name.partition("@")[0]) for name in methods)
    return [f"{each.module}.{each.class_name}" for each in found]


def code_of(spec: ArtefactSpec, code: Sources | None = None, lock: Path | None = LOCK) -> dict[str, str]:
    """The identity of each part of an artefact's code."""
    return {part: code_sha(tuple(names), code, lock) for part, names in entries(spec).items()}
