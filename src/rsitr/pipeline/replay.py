"""Replaying cells, priors, tunings, two-stage retrievals and studies on a slice of their data, for ``rsitr certify``.

Two trees of this project replay the same things; where every number agrees bit for bit, the code of one computes what
that of the other does. A replay is small, and built to meet what acts late in a real run: every phase lasts an epoch,
training is killed and resumed in the middle of one, the learning rate is taken at every step of the real course, tiles
and blocks are so small that there are borders.

Run it in an empty folder that holds a tree's ``params.yaml``, with the tree's ``src`` on PYTHONPATH:
``python -m rsitr.pipeline.replay plan EXPERIMENT`` prints what there is to replay, with the identity of its code;
``python -m rsitr.pipeline.replay run REQUEST`` replays some of it, and writes a file for each as it goes.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import shutil
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

from rsitr.errors import ParamsError
from rsitr.params import Params, load_params
from rsitr.pipeline.coverage import Coverage
from rsitr.pipeline.kills import Trace, killed_while_scoring, recorded, spoil, twice
from rsitr.pipeline.slices import SlicedData, damage
from rsitr.pipeline.specs import configurations, find, open_params
from rsitr.records.artefact import ArtefactSpec
from rsitr.records.cell import Spec, TuningSpec
from rsitr.records.files import write_text
from rsitr.records.paths import Paths
from rsitr.records.pretraining import PretrainingSpec
from rsitr.records.prior import PriorSpec
from rsitr.records.provenance import sha256_json
from rsitr.records.study import StudySpec
from rsitr.records.two_stage import TwoStageSpec
from rsitr.stages.entries import entries
from rsitr.stages.small import short_cell, short_pretraining, short_prior, short_tuning

COURSE_STEPS = 37
"""Steps of an epoch for which the real learning rates are taken."""
TILE, PAIRS = 24, 2**20
"""Side of the small tiles, and numbers in the small blocks of pairs."""


def plan(params: Params, experiment: str) -> list[dict[str, Any]]:
    """Everything of an experiment, each configuration once: of its first seed."""
    return [
        {"name": spec.item, "configuration": each, "entries": entries(spec), "identities": spec.code}
        for each, spec in configurations(params, experiment).items()
    ]


def _digest(*parts: Any) -> str:
    """Hash of the bits of tensors and arrays."""
    digest = hashlib.sha256()
    for part in parts:
        array = part.detach().cpu().numpy() if hasattr(part, "detach") else part
        digest.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
    return digest.hexdigest()


def _state(state: dict[str, Any]) -> str:
    return sha256_json([[name, _digest(value)] for name, value in sorted(state.items())])


class Replayer:
    """Replays artefacts in this folder, with the data below ``root``."""

    def __init__(self, params: Params, root: Path):
        self.params, self.data = params, SlicedData(root)
        self.traces: dict[str, Trace] = {}

    def replay(self, name: str) -> Trace:
        """The trace of an item of the experiment."""
        spec = find(self.params, name)
        if spec is None:
            raise ParamsError(f"{name} is not part of params.yaml")
        return self.trace(spec)

    def trace(self, spec: ArtefactSpec) -> Trace:
        """The trace of an artefact; what it rests on is replayed before it, once."""
        if spec.item not in self.traces:
            for other in spec.rests_on.values():
                self.trace(other)
            kinds = {
                **{Spec: self._cell, PriorSpec: self._prior, PretrainingSpec: self._pretraining},
                **{TuningSpec: self._tuning, TwoStageSpec: self._two_stage, StudySpec: self._study},
            }
            self.traces[spec.item] = kinds[type(spec)](spec)  # type: ignore[operator]
        return self.traces[spec.item]

    def _prior(self, whole: PriorSpec) -> Trace:
        from safetensors.numpy import load_file

        from rsitr.stages import course
        from rsitr.stages import prior as train

        spec = short_prior(whole)
        for dataset in spec.prior.named:
            self.data.canonical(dataset)
        for pair in spec.prior.compared:
            self.data.near_duplicates(pair)
        spoil(Paths.prior_weights(spec.id).parent)
        trace: Trace = [("settings", _json(spec.prior.settings.model_dump(mode="json")))]
        for total in (7, 400):
            trace.append(("course", _hexed(course.cosine(step, total, train.WARMUP) for step in range(total))))
        with recorded(train.SceneTrainer, trace):
            record = twice(lambda: train.train(spec))
        trace += [("status", record.outcome.status), ("accuracy", repr(record.accuracy)), ("loss", repr(record.loss))]
        return [*trace, ("weights", _state(load_file(Paths.prior_weights(spec.id))))]

    def _pretraining(self, whole: PretrainingSpec) -> Trace:
        from safetensors.numpy import load_file

        from rsitr.pretraining import loop
        from rsitr.pretraining.run import run
        from rsitr.stages import course

        spec = short_pretraining(whole)
        self.data.shards(spec)
        (weights,) = spec.trained_outputs
        spoil(weights.parent)
        trace: Trace = [("settings", _json(whole.settings.model_dump(mode="json")))]
        for total in (7, 400):
            factors = (course.cosine(step, total, whole.settings.warmup) for step in range(total))
            trace.append(("course", _hexed(factors)))
        with recorded(loop.Pretrainer, trace):
            record = twice(lambda: run(spec))
        trace += [("status", record.outcome.status), ("loss", repr(record.loss))]
        return [*trace, ("weights", _state(load_file(weights)))]

    def _tuning(self, whole: TuningSpec) -> Trace:
        from rsitr.stages import train
        from rsitr.stages.tune import tune

        self.data.clean(whole.base)
        shutil.rmtree(Paths.trials(whole.id), ignore_errors=True)  # left by a replay that was killed
        trace: Trace = [("settings.space", _json(whole.facts[1:]))]
        with recorded(train.Trainer, trace):
            record = twice(lambda: tune(short_tuning(whole)))
        trace += [("status", record.outcome.status), ("best", _json(record.best)), ("edges", _json(record.edges))]
        return [*trace, *(("trial", _json(each.model_dump(exclude={"seconds"}))) for each in record.trials)]

    def _cell(self, whole: Spec) -> Trace:
        spec = short_cell(whole)
        self.data.clean(spec)
        trace = [*self._course(whole), *self._train(spec)]
        tokens = next(Path("cache/tokens").glob("*.npy"), None)
        if tokens and self.data.first("damaged tokens"):
            damage(tokens)
        return [*trace, *self._evaluate(spec)]

    @staticmethod
    def _course(spec: Spec) -> Trace:
        """What the real configuration says, and what it makes of the steps of a long training."""
        from rsitr.methods.base import TrainingConfig
        from rsitr.stages import course
        from rsitr.stages.setup import configuration as of

        config = of(spec)
        trace = [(f"settings.{name}", _json(value)) for name, value in config.model_dump(mode="json").items()]
        if not isinstance(config, TrainingConfig):
            return trace
        config = course.with_epochs(config, COURSE_STEPS)
        if config.schedule == "plateau":
            merits = [float(epoch % 7) for epoch in range(config.epochs)]
            trace.append(("course", repr(course.plateaus(config, merits, COURSE_STEPS))))
        for phase in config.course:
            steps = range(phase.epochs * COURSE_STEPS)
            factors = (course.learning_rate_factor(config, phase.epochs, step, COURSE_STEPS) for step in steps)
            trace.append(("course", _hexed(factors)))
        epochs = sum(phase.epochs for phase in config.course)
        places = [
            (course.phase_at(config, epoch)[1], course.choice_start(config, epoch + 1)) for epoch in range(epochs)
        ]
        return [*trace, ("course", repr(places))]

    def _train(self, spec: Spec) -> Trace:
        from safetensors.numpy import load_file

        from rsitr.stages import train

        trace: Trace = []
        spoil(Paths.checkpoint(spec.cell))
        build = train.build_method

        def built(*arguments: Any) -> Any:
            method = build(*arguments)
            trace.append(("initial weights", _state(method.state_dict())))
            return method

        # Whether val improves on a slice is chance: what follows a plateau has to run.
        one = patch.object(train, "plateaus", lambda config, merits, steps_per_epoch: [1] if merits else [])
        with patch.object(train, "build_method", built), one, recorded(train.Trainer, trace):
            report = twice(lambda: train.train(spec))
        trace.append(("status", report.outcome.status))
        if report.outcome.status == "failed":
            trace.append(("reason", report.outcome.reason))
        trace += [
            ("epoch", _hexed([each.loss, each.val_mr, each.merit, each.learning_rate])) for each in report.history
        ]
        trace += [("selection", _json(report.selection)), ("parameters", repr(report.parameters))]
        return [*trace, ("weights", _state(load_file(Paths.checkpoint(spec.cell) / "model.safetensors")))]

    def _evaluate(self, spec: Spec) -> Trace:
        import pyarrow.parquet as pq

        from rsitr.retrieval.recall import duplicates_of
        from rsitr.stages import encode as scoring
        from rsitr.stages import evaluate

        encode, seen = evaluate.encode, []

        def encoded(method: Any, split: Any, *arguments: Any) -> Any:
            found = encode(method, split, *arguments)
            seen.append((method, split, found))
            return found

        small = patch.object(scoring, "PAIR_NUMBERS", PAIRS)
        with patch.object(evaluate, "encode", encoded), small, killed_while_scoring(scoring):
            record = twice(lambda: evaluate.evaluate(spec))
        trace: Trace = [("status", record.outcome.status)]
        for method, split, found in seen[-1:]:
            trace.append(("encodings", _digest(found.images, found.texts, found.place)))
            trace += small_tiles(method, found, split.image_of, duplicates_of(split.captions, split.hashes))
        if self.data.first("failed evaluation"):
            weights = Paths.checkpoint(spec.cell) / "model.safetensors"
            aside = weights.rename(weights.with_suffix(".aside"))
            evaluate.evaluate(spec)  # a failure takes another way
            aside.rename(weights)
            record = evaluate.evaluate(spec)
        for file in spec.scored_outputs[:2]:
            table = pq.read_table(file).to_pydict()
            trace += [(f"{file.stem}.{name}", sha256_json(values)) for name, values in table.items()]
        return trace

    def _two_stage(self, whole: TwoStageSpec) -> Trace:
        from rsitr.stages import two_stage

        cells = {"scorer": short_cell(whole.scorer), "filter": short_cell(whole.filter)}
        record = two_stage.run(whole.model_copy(update=cells | {"shortlists": (3, 8, 20)}))
        trace: Trace = [("status", record.outcome.status), ("gallery", repr(record.gallery))]
        return trace + [(f"metrics at {point.k}", _json(point.metrics)) for point in record.points]

    def _study(self, whole: StudySpec) -> Trace:
        from rsitr.stages.clip_study import measure

        other = whole.two_encoders and short_cell(whole.two_encoders)
        spec = whole.model_copy(update={"cell": short_cell(whole.cell), "two_encoders": other})
        study = measure(spec)
        listed = spec.outputs[0].read_text(encoding="utf-8")
        trace = [("status", study.outcome.status), ("metrics", _json(study.metrics))]
        return [*trace, ("failures", _json(study.failures)), ("listed", sha256_json(listed))]


def small_tiles(method: Any, encoded: Any, image_of: Any, duplicates: Any) -> Trace:
    """Ranks, re-ranked ranks and first items in tiles so small that most queries meet several."""
    from rsitr.retrieval.ranks import rank_embeddings, rank_scores
    from rsitr.retrieval.rerank import dot_product, rerank
    from rsitr.retrieval.top import FirstItems
    from rsitr.stages.encode import Scores

    scores = Scores(method, encoded, "cpu")
    score = scores.of if scores.texts is None else dot_product(scores.images, scores.texts)
    top = FirstItems(len(scores.images), len(image_of))
    if scores.texts is None:
        both = rank_scores(score, image_of, duplicates=duplicates, top=top, block=TILE)
    else:
        both = rank_embeddings(scores.images, scores.texts, image_of, duplicates=duplicates, top=top, block=TILE)
    found = [*both, rerank(score, image_of, block=TILE)]
    ranked = [side for ranks in found for side in (ranks.i2t, ranks.t2i)]
    return [("ranks in small tiles", _digest(*ranked)), ("first items", _digest(*top.i2t, *top.t2i))]


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _hexed(values: Iterable[float]) -> str:
    """The bits of some numbers: a short list of them, or a hash of a long one."""
    texts = [float(value).hex() for value in values]
    return " ".join(texts) if len(texts) <= 4 else sha256_json(texts)


def values(names: Iterable[str]) -> dict[str, str]:
    """What constants (dotted names) are in this tree: as they print."""
    found = {}
    for name in names:
        parts = name.split(".")
        for cut in range(len(parts) - 1, 0, -1):
            with suppress(ModuleNotFoundError):
                value: Any = importlib.import_module(".".join(parts[:cut]))
                for part in parts[cut:]:
                    value = vars(value).get(part, "<no value>") if isinstance(value, type) else getattr(value, part)
                found[name] = repr(value)
                break
    return found


def opened(experiment: str) -> Params:
    """The parameters of this folder, for an experiment."""
    return open_params(load_params().model_dump() | {"experiment": experiment})


def run(request: dict[str, Any]) -> None:
    """Replay what a request names and write each trace to ``out`` as it is done, unless it is there already."""
    out = Path(request["out"])
    coverage = Coverage(request.get("watched", {}))
    if coverage.watched:
        import timm  # noqa: F401  With all of torch: to import it takes twice as long while watched.
    with coverage():  # what runs on import runs now
        replayer = Replayer(opened(request["experiment"]), Path(request["root"]))
        constants = values(request.get("constants", []))
    write_text(out / "values.json", json.dumps(constants))
    for name in request["items"]:
        path = out / f"{name.replace('/', '+')}.json"
        if path.is_file():
            continue
        before = len(replayer.traces)
        with coverage():
            try:
                result: dict[str, Any] = {"trace": replayer.replay(name)}
            except Exception as error:  # what cannot be replayed is not certified, and the rest goes on
                result = {"error": f"{type(error).__name__}: {error}"}
        result |= {"ran": coverage.seen(), "replayed": len(replayer.traces) - before}
        write_text(path, json.dumps(result))
        print(f"{name}: {result.get('error', 'replayed')}", file=sys.stderr, flush=True)


def main(arguments: list[str]) -> None:
    """``plan EXPERIMENT`` or ``run REQUEST``."""
    command, argument = arguments
    if Path("Snakefile").exists():
        sys.exit("rsitr: a replay overwrites checkpoints and records: run it in an empty folder with a params.yaml")
    if command == "plan":
        json.dump(plan(opened(argument), argument), sys.stdout)
    else:
        run(json.loads(Path(argument).read_text(encoding="utf-8")))


if __name__ == "__main__":
    main(sys.argv[1:])
