"""Replaying cells, priors, two-stage retrievals and studies on a slice of their data, for ``rsitr certify``.

Two trees of this project replay the same things; where every number agrees bit for bit, the code of one computes what
that of the other does. A replay is small, and built to meet what acts late in a real run: every phase lasts an epoch,
training is killed and resumed in the middle of one, the learning rate is taken at every step of the real course, tiles
and blocks are so small that there are borders.

Run it in an empty folder that holds a tree's ``params.yaml``, with the tree's ``src`` on PYTHONPATH:
``python -m rsitr.stages.replay plan EXPERIMENT`` prints what there is to replay, with the identity of its code;
``python -m rsitr.stages.replay run REQUEST`` replays some of it, and writes a file for each as it goes.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NamedTuple
from unittest.mock import patch

from rsitr.cells import CellId, Layout, PriorSpec, Spec
from rsitr.methods import entry
from rsitr.needs import measures, peder_beside, peder_cells, peder_files, priors
from rsitr.params import Params, PriorId, load_params
from rsitr.provenance import sha256_json
from rsitr.records import identity
from rsitr.records.code import PACKAGE
from rsitr.records.identity import code_sha

IMAGES = {"train": 128, "val": 32, "test": 32}
"""Of each split of a slice."""
CLASSED = 256
"""Images of a set that has classes and no captions."""
BATCH = 32
KILLED_AT = 3
"""The step of a training that does not come back from its first run."""
COURSE_STEPS = 37
"""Steps of an epoch for which the real learning rates are taken."""
TILE, PAIRS = 24, 2**20
"""Side of the small tiles, and numbers in the small blocks of pairs."""


class Item(NamedTuple):
    """Something that can be replayed."""

    name: str
    """``cells/...``, ``scenes/...``, ``two_stage/...`` or ``peder/...``: the folder of its record below results."""
    configuration: str
    """What it is but for its seed: what is certified of it holds for every seed."""
    entries: dict[str, list[str]]
    """Part of its identity -> where that code begins."""

    def facts(self) -> dict[str, Any]:
        """The item with the identities of its parts."""
        return self._asdict() | {"identities": {part: code_sha(each) for part, each in self.entries.items()}}


def classes(*specs: Spec) -> list[str]:
    """The classes of the methods of some cells and of the cells that these learn from, as dotted names."""
    names = [each.cell.method_name for spec in specs for each in (spec, spec.teacher) if each]
    return [f"{entry(name).module}.{entry(name).class_name}" for name in dict.fromkeys(names)]


def configuration(spec: Spec) -> str:
    """A cell without its seed: its place, and a hash of everything that params.yaml says about it."""
    return f"{spec.cell.path.rpartition('/')[0]}#{_settings_sha(spec)[:8]}"


def _settings_sha(spec: Spec) -> str:
    taught_by = _settings_sha(spec.teacher) if spec.teacher else None
    begun_with = spec.prior.prior.model_dump(mode="json") if spec.prior else None
    return sha256_json([spec.method, spec.settings, spec.dedup, spec.threads, taught_by, begun_with])


def plan(params: Params, experiment: str) -> Iterator[Item]:
    """Everything of an experiment, each configuration once: of its first seed."""
    from rsitr.pipeline import spec_of, two_stage_specs
    from rsitr.scenes.run import spec_of_prior

    for prior in priors(params, experiment):
        facts = spec_of_prior(params, prior).prior.model_dump(mode="json")
        name = f"scenes/{prior.path}"
        yield Item(name, f"{name}#{sha256_json(facts)[:8]}", {"code": [*identity.PRIOR]})
    seen: set[str] = set()
    for cell in params.cells(experiment):
        spec = spec_of(params, cell)
        found = f"cells/{configuration(spec)}"
        if found not in seen:
            seen.add(found)
            yield Item(
                f"cells/{cell.path}",
                found,
                {
                    "trained": [*identity.TRAIN, *classes(spec)],
                    "scored": [*identity.SCORE, *classes(spec.model_copy(update={"teacher": None}))],
                },
            )
    for stages in two_stage_specs(params, experiment):
        of_cells = "+".join(_settings_sha(each)[:8] for each in (stages.scorer, stages.filter))
        name = f"two_stage/{stages.id.path}"
        entries = [*identity.TWO_STAGE, *classes(stages.scorer, stages.filter)]
        yield Item(name, f"{name.rpartition('/')[0]}#{of_cells}", {"code": entries})
    for cell in peder_cells(params, experiment):
        spec = spec_of(params, cell)
        name = f"peder/{cell.path}"
        found = f"peder/{configuration(spec)}"
        if found not in seen:
            seen.add(found)
            yield Item(name, found, {"code": [*identity.STUDY, *classes(spec)]})


class Killed(BaseException):
    """Training stops here, as if its process had been killed."""


class Coverage:
    """Which of some watched lines run, in any thread."""

    def __init__(self, watched: dict[str, list[list[int]]]):
        """``watched``: file of the package -> [first, last] line of each statement that is to be watched."""
        self.watched = {str(PACKAGE / name): spans for name, spans in watched.items()}
        self.ran: dict[str, set[int]] = {name: set() for name in self.watched}
        self._of: dict[CodeType, set[int] | None] = {}

    def _lines(self, code: CodeType) -> set[int] | None:
        """The set that a function's lines go to, or None for a function without a watched line."""
        if code not in self._of:
            spans = self.watched.get(code.co_filename, [])
            own = {line for _, _, line in code.co_lines() if line}
            found = any(first <= line <= last for first, last in spans for line in own)
            self._of[code] = self.ran[code.co_filename] if found else None
        return self._of[code]

    def _call(self, frame: FrameType, event: str, argument: object) -> Callable[..., Any] | None:
        lines = self._lines(frame.f_code)
        if lines is None:
            return None
        lines.add(frame.f_lineno)

        def line(frame: FrameType, event: str, argument: object) -> Callable[..., Any]:
            lines.add(frame.f_lineno)
            return line

        return line

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Watch while a block runs."""
        if not self.watched:
            yield
            return
        threading.settrace(self._call)
        sys.settrace(self._call)
        try:
            yield
        finally:
            sys.settrace(None)
            threading.settrace(None)  # type: ignore[arg-type]

    def seen(self) -> dict[str, list[list[int]]]:
        """The watched spans of which a line has run, by file of the package."""
        return {
            Path(name).relative_to(PACKAGE).as_posix(): [
                span for span in spans if any(span[0] <= line <= span[1] for line in self.ran[name])
            ]
            for name, spans in self.watched.items()
        }


Trace = list[tuple[str, str]]


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
    """Replays what it is asked for, in this folder, with the data that lies below ``root``."""

    def __init__(self, params: Params, root: Path):
        self.params, self.root = params, root
        self.sliced: set[str] = set()
        self.failed = False
        self.traces: dict[str, Trace] = {}

    def replay(self, name: str) -> Trace:
        """The trace of an item; what it rests on is replayed before it, once."""
        if name not in self.traces:
            kind, _, path = name.partition("/")
            self.traces[name] = {
                "cells": self._cell,
                "scenes": self._prior,
                "two_stage": self._two_stage,
                "peder": self._study,
            }[kind](path)
        return self.traces[name]

    def _data(self, dataset: str, dedup: str = "none") -> None:
        """A slice of a dataset's canonical table, and what is made from it."""
        if dataset in self.sliced:
            return
        self.sliced.add(dataset)
        extracted = Path("data/extracted")
        if not extracted.exists():
            extracted.parent.mkdir(parents=True, exist_ok=True)
            extracted.symlink_to((self.root / extracted).resolve())
        write_slice(self.root / Layout.dataset(dataset), Layout.dataset(dataset))
        if dedup == "copies":
            self._copies((dataset, dataset))

    def _copies(self, pair: tuple[str, str]) -> None:
        from rsitr.dedup.copies import write_copies
        from rsitr.dedup.thumbnails import write_thumbnails

        for name in pair:
            if not Layout.thumbnails(name).is_file():
                write_thumbnails(Layout.dataset(name), Layout.thumbnails(name))
        first, second = pair
        write_copies(Layout.thumbnails(first), Layout.thumbnails(second), Layout.copies(first, second))

    def _clean(self, spec: Spec) -> None:
        from rsitr.captions.keyword_build import build_keywords
        from rsitr.dedup.clean import write_clean

        self._data(spec.dataset, spec.dedup)
        if not spec.clean.is_file():
            write_clean(Layout.dataset(spec.dataset), spec.dedup, spec.clean)
        if not spec.keywords.is_file():
            build_keywords(Layout.dataset(spec.dataset), spec.keywords)
        self._similarity(spec)

    def _similarity(self, spec: Spec) -> None:
        """The matrices that a dynamic margin reads."""
        from rsitr.captions.similarity import CaptionSet, write_matrix
        from rsitr.datasets.splits import load_splits

        for name in measures(self.params, spec.cell):
            train = load_splits(spec.clean)[0]["train"]
            write_matrix(name, CaptionSet.of(train.captions, train.image_of), spec.similarity / f"{name}.npy")

    def spec(self, cell: CellId) -> Spec:
        """A cell as it is replayed: shorter, with everything else as in params.yaml."""
        from rsitr.pipeline import spec_of

        return self._short(spec_of(self.params, cell))

    def _short(self, spec: Spec) -> Spec:
        return spec.model_copy(
            update={
                "settings": spec.settings | shortened(spec),
                "teacher": self._short(spec.teacher) if spec.teacher else None,
                "prior": self._short_prior(spec.prior) if spec.prior else None,
            }
        )

    @staticmethod
    def _short_prior(spec: PriorSpec) -> PriorSpec:
        settings = {"epochs": 1, "batch_size": min(BATCH, spec.prior.settings.batch_size)}
        short = spec.prior.settings.model_copy(update=settings)
        return spec.model_copy(update={"prior": spec.prior.model_copy(update={"settings": short})})

    def _prior(self, path: str) -> Trace:
        from safetensors.numpy import load_file

        from rsitr.scenes import train
        from rsitr.scenes.run import spec_of_prior

        spec = self._short_prior(spec_of_prior(self.params, PriorId(*path.split("/"))))
        for dataset in dict.fromkeys([*spec.prior.datasets, *spec.prior.without]):
            self._data(dataset)
        for pair in spec.prior.compared:
            self._copies(pair)
        spoil(Layout.prior_weights(spec.id).parent)
        trace: Trace = [("settings", json.dumps(spec.prior.settings.model_dump(mode="json"), sort_keys=True))]
        trace += [
            ("course", _hexed(train.learning_rate_factor(step, total) for step in range(total))) for total in (7, 400)
        ]
        with _recorded(train, train.SceneTrainer, trace):
            record = _twice(lambda: train.train(spec))
        trace += [("status", record.outcome.status), ("accuracy", repr(record.accuracy)), ("loss", repr(record.loss))]
        return [*trace, ("weights", _state(load_file(Layout.prior_weights(spec.id))))]

    def _cell(self, path: str) -> Trace:
        experiment, dataset, method, seed = path.split("/")
        spec = self.spec(CellId(experiment, dataset, method, int(seed)))
        if spec.prior:
            self.replay(f"scenes/{spec.prior.id.path}")
        if spec.teacher:
            self.replay(f"cells/{spec.teacher.cell.path}")
        self._clean(spec)
        from rsitr.pipeline import spec_of

        trace = self._course(spec_of(self.params, spec.cell))
        trace += self._train(spec)
        return trace + self._evaluate(spec)

    @staticmethod
    def _course(spec: Spec) -> Trace:
        """What the real configuration says, and what it makes of the steps of a long training."""
        from rsitr import train
        from rsitr.methods.base import TrainingConfig
        from rsitr.runtime import configuration as of

        config = of(spec)
        trace: Trace = [
            (f"settings.{name}", json.dumps(value, sort_keys=True))
            for name, value in config.model_dump(mode="json").items()
        ]
        if not isinstance(config, TrainingConfig):
            return trace
        for phase in config.course:
            steps = range(phase.epochs * COURSE_STEPS)
            factors = (train.learning_rate_factor(config, phase.epochs, step, COURSE_STEPS) for step in steps)
            trace.append(("course", _hexed(factors)))
        epochs = sum(phase.epochs for phase in config.course)
        places = [(train.phase_at(config, epoch)[1], train.choice_start(config, epoch + 1)) for epoch in range(epochs)]
        return [*trace, ("course", repr(places))]

    def _train(self, spec: Spec) -> Trace:
        from safetensors.numpy import load_file

        from rsitr import train
        from rsitr.scenes.use import begin_with_prior, note_prior, prior_failure

        trace: Trace = []
        spoil(Layout.checkpoint(spec.cell))
        if failure := prior_failure(spec):
            return [("status", failure.status)]
        begin_with_prior(spec)
        build = train.build_method

        def built(*arguments: Any) -> Any:
            method = build(*arguments)
            trace.append(("initial weights", _state(method.state_dict())))
            return method

        with patch.object(train, "build_method", built), _recorded(train, train.Trainer, trace):
            report = _twice(lambda: train.train(spec))
        note_prior(spec)
        trace += [("status", report.outcome.status)]
        if report.outcome.status == "failed":
            trace.append(("reason", report.outcome.reason))
        trace += [("epoch", _hexed([each.loss, each.val_mr, each.learning_rate])) for each in report.history]
        trace += [("selection", json.dumps(report.selection, sort_keys=True))]
        trace += [("parameters", repr(report.parameters))]
        return [*trace, ("weights", _state(load_file(Layout.checkpoint(spec.cell) / "model.safetensors")))]

    def _evaluate(self, spec: Spec) -> Trace:
        import pyarrow.parquet as pq

        from rsitr import evaluate, scoring
        from rsitr.retrieval.recall import text_groups

        encode, seen = evaluate.encode, []

        def encoded(method: Any, split: Any, *arguments: Any) -> Any:
            found = encode(method, split, *arguments)
            seen.append((method, split, found))
            return found

        with patch.object(evaluate, "encode", encoded), patch.object(scoring, "PAIR_NUMBERS", PAIRS):
            record = evaluate.evaluate(spec)
        trace: Trace = [("status", record.outcome.status)]
        for method, split, found in seen:
            trace.append(("encodings", _digest(found.images, found.texts, found.place)))
            trace += small_tiles(method, found, split.image_of, text_groups(split.captions))
        if not self.failed:
            self.failed = True
            weights = Layout.checkpoint(spec.cell) / "model.safetensors"
            aside = weights.rename(weights.with_suffix(".aside"))
            evaluate.evaluate(spec)  # a failure takes another way
            aside.rename(weights)
            record = evaluate.evaluate(spec)
        ranks = pq.read_table(Layout.cell(spec.cell) / "ranks.parquet").to_pydict()
        return trace + [(f"ranks.{name}", sha256_json(values)) for name, values in ranks.items()]

    def _two_stage(self, path: str) -> Trace:
        from rsitr.params import TwoStageId
        from rsitr.pipeline import two_stage_specs
        from rsitr.two_stage import stage

        experiment, dataset, scorer, chosen, seed = path.split("/")
        wanted = TwoStageId(experiment, dataset, scorer, chosen, int(seed))
        found = next(spec for spec in two_stage_specs(self.params, experiment) if spec.id == wanted)
        for cell in wanted.cells:
            self.replay(f"cells/{cell.path}")
        cells = {"scorer": self._short(found.scorer), "filter": self._short(found.filter)}
        record = stage.run(found.model_copy(update=cells | {"shortlists": (3, 8, 20)}))
        trace: Trace = [("status", record.outcome.status), ("gallery", repr(record.gallery))]
        return trace + [(f"metrics at {point.k}", json.dumps(point.metrics, sort_keys=True)) for point in record.points]

    def _study(self, path: str) -> Trace:
        from rsitr.peder.run import measure

        experiment, dataset, method, seed = path.split("/")
        cell = CellId(experiment, dataset, method, int(seed))
        beside = peder_beside(self.params, cell)
        for each in filter(None, (cell, beside)):
            self.replay(f"cells/{each.path}")
        study = measure(self.spec(cell), self.spec(beside) if beside else None)
        trace: Trace = [("status", study.outcome.status), ("metrics", json.dumps(study.metrics, sort_keys=True))]
        listed = peder_files(cell)[1].read_text(encoding="utf-8")
        return [*trace, ("failures", json.dumps(study.failures, sort_keys=True)), ("listed", sha256_json(listed))]


def spoil(folder: Path) -> None:
    """Begin a training with nothing but a damaged state to continue from."""
    shutil.rmtree(folder, ignore_errors=True)  # left by a replay that was killed
    folder.mkdir(parents=True)
    (folder / "resume.pt").write_bytes(bytes(range(256)))


def small_tiles(method: Any, encoded: Any, image_of: Any, text_group: Any) -> Trace:
    """Ranks and re-ranked ranks in tiles so small that most queries meet several."""
    from rsitr.retrieval.ranks import rank_embeddings, rank_scores
    from rsitr.retrieval.rerank import dot_product, rerank
    from rsitr.scoring import Scores

    scores = Scores(method, encoded, "cpu")
    score = scores.of if scores.texts is None else dot_product(scores.images, scores.texts)
    if scores.texts is None:
        both = rank_scores(score, image_of, text_group=text_group, block=TILE)
    else:
        both = rank_embeddings(scores.images, scores.texts, image_of, text_group=text_group, block=TILE)
    found = [*both, rerank(score, image_of, block=TILE)]
    return [("ranks in small tiles", _digest(*(side for ranks in found for side in (ranks.i2t, ranks.t2i))))]


def shortened(spec: Spec) -> dict[str, Any]:
    """Settings by which a cell is replayed instead of its own: an epoch for each phase, small batches."""
    from rsitr.methods.base import TrainingConfig
    from rsitr.runtime import configuration as of

    config = of(spec)
    if not isinstance(config, TrainingConfig):
        return {}
    changed: dict[str, Any] = {"batch_size": min(config.batch_size, BATCH)}
    late = getattr(config, "all_negatives_epochs", 0)
    if late:
        changed["all_negatives_epochs"] = 1
    if config.phases:
        changed["phases"] = [phase.model_dump(mode="json") | {"epochs": 1} for phase in config.phases]
    else:
        # An epoch before and one after what changes from epoch to epoch.
        changed["epochs"] = 2 if late or config.schedule == "step" else 1
    if config.schedule == "step":
        changed["step_epochs"] = 1
    if config.selection_images:
        changed["selection_images"] = min(config.selection_images, IMAGES["val"] // 2)
    return changed


def write_slice(table: Path, out: Path) -> None:
    """Some rows of a canonical table: of each split so many, evenly over those that can be used."""
    import numpy as np

    from rsitr.datasets.canonical import data_sha
    from rsitr.datasets.table import read_table, write_table

    rows, facts = read_table(table)
    listed = rows.select(["split", "problem", "captions"]).to_pylist()
    captioned = any(row["captions"] for row in listed)
    chosen: list[int] = []
    for split, count in IMAGES.items():
        places = [place for place, row in enumerate(listed) if row["split"] == split]
        usable = [place for place in places if not listed[place]["problem"]] or places
        wanted = count if captioned else CLASSED
        if usable:
            chosen += [usable[k] for k in np.unique(np.linspace(0, len(usable) - 1, wanted).astype(int))]
    some = rows.take(sorted(chosen))
    write_table(some, facts._replace(data_sha=data_sha(some.to_pandas())), out)


def _hexed(values: Iterable[float]) -> str:
    """The bits of some numbers: a short list of them, or a hash of a long one."""
    texts = [float(value).hex() for value in values]
    return " ".join(texts) if len(texts) <= 4 else sha256_json(texts)


@contextmanager
def _recorded(module: Any, trainer: Any, trace: Trace) -> Iterator[None]:
    """Save after every step, write down every loss, and kill the first run in the middle of an epoch."""
    step, count = trainer.train_step, 0

    def recorded(self: Any, *arguments: Any) -> float:
        nonlocal count
        count += 1
        if count == KILLED_AT:
            raise Killed
        loss = step(self, *arguments)
        trace.append(("loss", float(loss).hex()))
        return loss

    with patch.object(module, "SAVE_SECONDS", -1), patch.object(trainer, "train_step", recorded):
        yield


def _twice(run: Callable[[], Any]) -> Any:
    """Run until it is killed, then run again, which has to continue."""
    try:
        return run()
    except Killed:
        return run()


def values(names: Iterable[str]) -> dict[str, str]:
    """What constants (dotted names) are in this tree: as they print."""
    found = {}
    for name in names:
        parts = name.split(".")
        for cut in range(len(parts) - 1, 0, -1):
            try:
                value: Any = importlib.import_module(".".join(parts[:cut]))
            except ModuleNotFoundError:
                continue
            for part in parts[cut:]:
                value = vars(value).get(part, "<no value>") if isinstance(value, type) else getattr(value, part)
            found[name] = repr(value)
            break
    return found


def run(request: dict[str, Any]) -> None:
    """Replay what a request names and write each trace to ``out`` as it is done, unless it is there already."""
    out = Path(request["out"])
    out.mkdir(parents=True, exist_ok=True)
    replayer = Replayer(load_params(), Path(request["root"]))
    (out / "values.json").write_text(json.dumps(values(request.get("constants", []))), encoding="utf-8")
    for name in request["items"]:
        path = out / f"{name.replace('/', '+')}.json"
        if path.is_file():
            continue
        coverage = Coverage(request.get("watched", {}))
        before = len(replayer.traces)
        with coverage():
            try:
                result: dict[str, Any] = {"trace": replayer.replay(name)}
            except Exception as error:  # what cannot be replayed is not certified, and the rest goes on
                result = {"error": f"{type(error).__name__}: {error}"}
        result |= {"ran": coverage.seen(), "replayed": len(replayer.traces) - before}
        partial = path.with_suffix(f".{os.getpid()}.part")
        partial.write_text(json.dumps(result), encoding="utf-8")
        partial.replace(path)
        print(f"{name}: {result.get('error', 'replayed')}", file=sys.stderr, flush=True)


def main(arguments: list[str]) -> None:
    """``plan EXPERIMENT`` or ``run REQUEST``."""
    command, argument = arguments
    if Path("Snakefile").exists():
        sys.exit("rsitr: a replay overwrites checkpoints and records: run it in an empty folder with a params.yaml")
    if command == "plan":
        json.dump([item.facts() for item in plan(load_params(), argument)], sys.stdout)
    else:
        run(json.loads(Path(argument).read_text(encoding="utf-8")))


if __name__ == "__main__":
    main(sys.argv[1:])
