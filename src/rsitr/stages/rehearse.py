"""``python -m rsitr.stages.rehearse KIND SPEC OUT SHARED``: rehearse an artefact in this folder, on the CPU.

The real code runs at real shapes on drawn data with stand-ins for pretrained weights: two steps of four samples an
epoch, an epoch for each phase, one kill, after which training continues from the state that it saved.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor

from rsitr.errors import RecordError
from rsitr.methods.base import MethodConfig, TrainingConfig
from rsitr.pretraining import loop
from rsitr.pretraining.run import run as pretrain
from rsitr.records.artefact import ArtefactSpec, Outcome
from rsitr.records.cell import Spec, TuningSpec
from rsitr.records.files import read_json, write_json
from rsitr.records.pretraining import PretrainingSpec
from rsitr.records.prior import PriorSpec
from rsitr.records.provenance import peak_memory_mib
from rsitr.records.rehearsal import Course, Rehearsed
from rsitr.records.study import StudySpec
from rsitr.records.two_stage import TwoStageSpec
from rsitr.stages import clip_study, evaluate, prior, train, tune, two_stage
from rsitr.stages.__main__ import SPECS
from rsitr.stages.drawn import DrawnData, words
from rsitr.stages.setup import configuration
from rsitr.stages.small import Killed, Size, short_cell, short_pretraining, short_prior, short_tuning
from rsitr.stages.stand_ins import StandIns, standing_in
from rsitr.stages.warm import die_with_parent

STEPS = 2
"""An epoch."""
SIZE = Size(batch=4, selecting=8, decay=False)
SHORTLISTS = (3, 8)


class Interrupted:
    """A training of few steps that is killed before the second one and has to continue from an equal state."""

    def __init__(self, module: Any, trainer: Any):
        self.module, self.trainer = module, trainer
        self.saved = ""
        self.restored = ""
        self.seconds: list[float] = []

    def run(self, training: Callable[[], Any]) -> Any:
        """What ``training`` returns; raises ``RecordError`` where what was restored is not what was saved."""
        with self._patched():
            try:
                return training()
            except Killed:
                report = training()
        if report.outcome.status == "ok" and self.restored != self.saved:
            what = "is another one" if self.restored else "was not read"
            raise RecordError(f"training did not continue from the state that it saved: it {what}")
        return report

    @contextmanager
    def _patched(self) -> Iterator[None]:
        order: Any = getattr(self.module, "sample_order", None)  # a pretraining states how many samples it draws
        write = self.module.write_state
        step, restore = self.trainer.train_step, self.trainer.restore

        def few(*arguments: Any) -> list[np.ndarray]:
            return order(*arguments)[:STEPS]

        def timed(own: Any, *arguments: Any) -> Any:
            if len(self.seconds) == 1 and not self.saved:
                with patch.object(self.module, "write_state", self._keep("saved", write)):
                    own.save()
                raise Killed
            begun = time.perf_counter()
            loss = step(own, *arguments)
            self.seconds.append(time.perf_counter() - begun)
            return loss

        def continued(own: Any) -> Any:
            found = restore(own)
            if found:
                with patch.object(self.module, "write_state", self._keep("restored", lambda path, state: None)):
                    own.save()
            return found

        with (
            patch.object(self.module, "sample_order", few) if order else nullcontext(),
            patch.object(self.trainer, "train_step", timed),
            patch.object(self.trainer, "restore", continued),
        ):
            yield

    def _keep(self, name: str, write: Callable[[Path, dict[str, Any]], None]) -> Callable[..., None]:
        def keep(path: Path, state: dict[str, Any]) -> None:
            timeless = {part: value for part, value in state["steps"].items() if part != "seconds"}
            setattr(self, name, digest(state | {"steps": timeless}))
            write(path, state)

        return keep

    @property
    def step_seconds(self) -> float | None:
        """The median time of a step but for the first."""
        return median(self.seconds[1:]) if len(self.seconds) > 1 else None


def digest(value: Any) -> str:
    """Hash of nested lists and dictionaries of numbers, texts and tensors, bit for bit."""
    found = hashlib.sha256()
    _feed(value, found.update)
    return found.hexdigest()


def _feed(value: Any, update: Callable[[Any], None]) -> None:
    if isinstance(value, dict):
        for key, each in value.items():
            update(f"{key!r}:".encode())
            _feed(each, update)
    elif isinstance(value, list | tuple):
        update(f"[{len(value)}]".encode())
        for each in value:
            _feed(each, update)
    elif isinstance(value, Tensor):
        update(f"{value.dtype}{tuple(value.shape)}".encode())
        update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    else:
        update(repr(value).encode())


class Rehearsal:
    """Rehearses artefacts in this folder, each after what it rests on."""

    def __init__(self) -> None:
        self.data = DrawnData()
        self.done: dict[str, Rehearsed] = {}

    def of(self, spec: ArtefactSpec) -> Rehearsed:
        """What the rehearsal of an artefact found; an error becomes its outcome."""
        if spec.item in self.done:
            return self.done[spec.item]
        found = self.done[spec.item] = Rehearsed(item=spec.item)
        try:
            for name, other in spec.rests_on.items():
                needed = self.of(other).outcome
                if needed.status != "ok":
                    reason = f"its {name} {other.item}: {needed.reason}"
                    found.outcome = needed.model_copy(update={"reason": reason})
                    return found
            kinds = {
                **{Spec: self._cell, PriorSpec: self._prior, PretrainingSpec: self._pretraining},
                **{TuningSpec: self._tuning, TwoStageSpec: self._two_stage, StudySpec: self._study},
            }
            found.outcome = kinds[type(spec)](spec, found)  # type: ignore[operator]
        except Exception as error:
            found.outcome = Outcome.of(error)
        return found

    def _cell(self, whole: Spec, found: Rehearsed) -> Outcome:
        config = configuration(whole)
        self.data.clean(whole)
        spec = short(whole)
        watched = Interrupted(train, train.Trainer)
        report = watched.run(lambda: train.train(spec))
        found.parameters = report.parameters.get("total")
        found.peak_memory_mib = max(report.peak_memory_mib.values())
        learned(config, watched, found)
        if report.outcome.status != "ok":
            return report.outcome
        with timed_once(evaluate):
            record = evaluate.evaluate(spec)
        found.peak_memory_mib = max(record.peak_memory_mib.values())
        return record.outcome

    def _prior(self, whole: PriorSpec, found: Rehearsed) -> Outcome:
        for dataset in whole.prior.named:
            self.data.canonical(dataset)
        for pair in whole.prior.compared:
            self.data.near_duplicates(pair)
        spec, settings = short_prior(whole, SIZE), whole.prior.settings
        watched = Interrupted(prior, prior.SceneTrainer)
        record = watched.run(lambda: prior.train(spec))
        found.parameters, found.peak_memory_mib = record.parameters or None, record.peak_memory_mib
        found.course = Course(epochs=settings.epochs, batch_size=settings.batch_size, samples="images")
        found.batch, found.step_seconds = min(SIZE.batch, settings.batch_size), watched.step_seconds
        return record.outcome

    def _pretraining(self, whole: PretrainingSpec, found: Rehearsed) -> Outcome:
        self.data.shards(whole)
        spec, settings = short_pretraining(whole, SIZE, STEPS), whole.settings
        watched = Interrupted(loop, loop.Pretrainer)
        record = watched.run(lambda: pretrain(spec))
        found.parameters, found.peak_memory_mib = (
            record.parameters.get("total"),
            max(record.peak_memory_mib.values(), default=0),
        )
        found.course = Course(epochs=settings.epochs, batch_size=settings.batch_size, samples="images")
        found.batch, found.step_seconds = spec.settings.batch_size, watched.step_seconds
        return record.outcome

    def _tuning(self, whole: TuningSpec, found: Rehearsed) -> Outcome:
        self.data.clean(whole.base)
        config = configuration(whole.base)
        watched = Interrupted(train, train.Trainer)
        record = watched.run(lambda: tune.tune(short_tuning(whole, SIZE)))
        found.peak_memory_mib = peak_memory_mib()
        learned(config, watched, found)
        return record.outcome

    @staticmethod
    def _two_stage(whole: TwoStageSpec, found: Rehearsed) -> Outcome:
        cells = {"scorer": short(whole.scorer), "filter": short(whole.filter)}
        outcome = two_stage.run(whole.model_copy(update=cells | {"shortlists": SHORTLISTS})).outcome
        found.peak_memory_mib = peak_memory_mib()
        return outcome

    @staticmethod
    def _study(whole: StudySpec, found: Rehearsed) -> Outcome:
        other = whole.two_encoders and short(whole.two_encoders)
        with timed_once(clip_study):
            outcome = clip_study.measure(
                whole.model_copy(update={"cell": short(whole.cell), "two_encoders": other})
            ).outcome
        found.peak_memory_mib = peak_memory_mib()
        return outcome


def learned(config: MethodConfig, watched: Interrupted, found: Rehearsed) -> None:
    """State the real course of a method that learns, and what its rehearsed steps took."""
    if isinstance(config, TrainingConfig):
        epochs = sum(phase.epochs for phase in config.course)
        found.course = Course(
            epochs=epochs, max_steps=config.max_steps, batch_size=config.batch_size, samples=config.samples
        )
        found.batch, found.step_seconds = min(SIZE.batch, config.batch_size), watched.step_seconds


def timed_once(module: Any) -> Any:
    """Let a module run the inference of one image and one caption once where it would measure it over many times."""
    once = evaluate.inference_seconds
    return patch.object(module, "inference_seconds", lambda method, text, device, *_: once(method, text, device, 1))


def short(spec: Spec) -> Spec:
    """A cell as it is rehearsed."""
    return short_cell(spec, SIZE)


def main(arguments: list[str]) -> None:
    """Rehearse and write what was found."""
    die_with_parent()
    kind, path, out, shared = arguments
    Path("data").symlink_to(Path(shared, "data"))
    Path("cache").mkdir()
    Path("cache/weights").symlink_to(Path(shared, "weights"))
    with standing_in(StandIns(Path(shared), words())):
        found = Rehearsal().of(read_json(SPECS[kind], Path(path)))
    write_json(Path(out), found)


if __name__ == "__main__":
    main(sys.argv[1:])
