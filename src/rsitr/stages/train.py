"""Training of one cell, to be read from top to bottom: data, model, optimiser, epochs, the best epoch's checkpoint.

A killed run continues where it stopped and ends with the same checkpoint: the order of the samples and every
augmentation are functions of (seed, epoch), and the state file holds everything else, the random generator included.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rsitr.datasets.protocols import differences
from rsitr.datasets.splits import SplitData, spread_images
from rsitr.errors import DatasetError, TrainingDiverged
from rsitr.methods.base import Batch, Method, TrainingConfig
from rsitr.methods.configure import changed_settings, published_row
from rsitr.nn.inputs import ChosenInputs, Inputs
from rsitr.nn.losses import collapse
from rsitr.nn.pretrained import noted
from rsitr.nn.seeds import derive
from rsitr.progress import Progress
from rsitr.records.artefact import Outcome
from rsitr.records.bundle import begun, write_bundle
from rsitr.records.cell import Epoch, Spec, TrainReport, trained_identities
from rsitr.records.files import write_json
from rsitr.records.paths import Paths
from rsitr.records.provenance import forget_peak, machine, peak_memory_mib
from rsitr.records.weights import write_weights
from rsitr.retrieval.recall import duplicates_of, recall
from rsitr.stages import alarms
from rsitr.stages.bundle import describe
from rsitr.stages.course import (
    CAPPED,
    COMPLETED,
    CONVERGED,
    choice_start,
    learning_rate_factor,
    phase_at,
    plateaus,
    with_epochs,
)
from rsitr.stages.encode import encode, ranks_to_choose_by
from rsitr.stages.optimizer import make_optimizer
from rsitr.stages.positives import Positives
from rsitr.stages.resume import read_state, write_state
from rsitr.stages.setup import (
    CellData,
    build_method,
    check_usable,
    describe_data,
    device_of,
    image_inputs,
    load_data,
    started_from,
)
from rsitr.stages.steps import Steps
from rsitr.stages.teacher import Teacher


def sample_order(split: SplitData, config: TrainingConfig, seed: int, epoch: int) -> list[np.ndarray]:
    """Caption positions of an epoch in batches; the last, incomplete one is dropped unless it is the only one."""
    random = np.random.default_rng(derive(seed, "order", epoch))
    if config.samples == "captions":
        order = random.permutation(len(split.captions))
    else:
        first = np.searchsorted(split.image_of, np.arange(len(split.paths)))
        count = np.bincount(split.image_of, minlength=len(split.paths))
        order = (first + (random.random(len(count)) * count).astype(np.int64))[random.permutation(len(count))]
    size = min(config.batch_size, len(order))
    return list(order[: len(order) // size * size].reshape(-1, size))


def train_what_learns(method: Method) -> None:
    """Training mode for what learns; parts that do not keep their batch statistics and apply no dropout."""
    method.train()
    for part in method.modules():
        parameters = list(part.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            part.eval()


class Trainer:
    """The state of a run, and how it is saved and restored."""

    def __init__(
        self,
        method: Method,
        data: CellData,
        spec: Spec,
        device: str,
        state_path: Path,
        identity: dict[str, str],
        teacher: Teacher | None = None,
    ):
        assert isinstance(method.config, TrainingConfig)
        self.method, self.device = method.to(device), device
        splits = data.splits
        self.train, whole = splits["train"], splits[method.config.selection]
        first = sample_order(self.train, method.config, spec.seed, 0)
        self.steps_per_epoch, self.batch_size = len(first), len(first[0])
        self.config = with_epochs(method.config, self.steps_per_epoch)
        self.positives = Positives(self.train, self.config.positives, device)
        self.seed, self.state_path = spec.seed, state_path
        self.teacher = teacher
        self.inputs: Inputs = image_inputs(method, self.train, splits, device, seed=spec.seed, training=True)
        self.select, chosen = spread_images(whole, self.config.selection_images or len(whole.paths))
        self.duplicates = duplicates_of(self.select.captions, self.select.hashes)
        self.select_inputs = ChosenInputs(image_inputs(method, whole, splits, device), chosen)
        self.epochs = sum(phase.epochs for phase in self.config.course)
        """The most there may be."""
        self.phase, self.phase_start = phase_at(self.config, 0)
        self.optimizer = make_optimizer(method, self.config, self.phase)
        advice = "lower learning_rate, or set clip_norm, in params.yaml"
        self.steps = Steps(method, device, advice, autocast=self.config.autocast)
        self.identity = identity | {"arithmetic": self.steps.arithmetic}
        self.step = 0
        self.task_sums: dict[str, float | Tensor] = {}
        self.history: list[Epoch] = []
        self.best: dict[str, Tensor] = {}
        self.after_epoch: Callable[[], None] = lambda: None
        """Called before the state of an ended epoch is saved; what it raises ends the training."""

    def start_phase(self, epoch: int) -> None:
        """The optimiser of the phase that an epoch belongs to; a change of rate alone keeps what it has gathered."""
        # What no longer learns keeps its last gradient otherwise, and the clipping would count it.
        self.method.zero_grad(set_to_none=True)
        before = self.phase
        self.phase, self.phase_start = phase_at(self.config, epoch)
        fresh = make_optimizer(self.method, self.config, self.phase)
        if (before.optimizer, before.learns) != (self.phase.optimizer, self.phase.learns):
            self.optimizer = fresh
            return
        for group, other in zip(self.optimizer.param_groups, fresh.param_groups, strict=True):
            group["base"] = other["base"]

    @property
    def plateaus(self) -> list[int]:
        """After how many epochs val had stopped improving, as far as this training goes by that."""
        if self.config.schedule != "plateau":
            return []
        return plateaus(self.config, [epoch.merit for epoch in self.history], self.steps_per_epoch)

    @property
    def ended(self) -> str:
        """How training has ended; empty while it has not."""
        if len(self.plateaus) > self.config.drops:
            return CONVERGED
        if self.step < self.epochs * self.steps_per_epoch:
            return ""
        return CAPPED if self.config.schedule == "plateau" else COMPLETED

    def leave_plateau(self) -> None:
        """The weights of the best epoch and a new optimiser: what the old one has gathered is about later weights."""
        self.method.load_learned_state(self.best)
        self.optimizer = make_optimizer(self.method, self.config, self.phase)

    def save(self) -> None:
        """Write everything a continued run needs, atomically."""
        state = {
            "identity": self.identity,
            "model": self.method.learned_state(),
            "optimizer": self.optimizer.state_dict(),
            "steps": self.steps.state(),
            "tasks": {name: float(total) for name, total in self.task_sums.items()},
            "history": [epoch.model_dump() for epoch in self.history],
            "best": self.best,
        }
        write_state(self.state_path, state)

    def restore(self) -> bool:
        """Continue from the state file, if there is one and it belongs to this code and these parameters."""
        state = read_state(self.state_path, self.identity)
        if state is None:
            return False
        self.method.load_learned_state(state["model"])
        self.steps.load(state["steps"])
        self.step = len(self.steps.losses)
        self.task_sums = state["tasks"]
        # A state saved at the end of a phase has that phase's optimiser: the next one starts its own.
        self.start_phase(max(self.step - 1, 0) // self.steps_per_epoch)
        self.optimizer.load_state_dict(state["optimizer"])
        self.history = [Epoch(**epoch) for epoch in state["history"]]
        self.best = state["best"]
        return True

    def run(self) -> None:
        """All epochs, from wherever the state stands; progress is out of the most there may be."""
        total = self.epochs * self.steps_per_epoch
        with Progress("train", total, self.step) as progress:
            while not self.ended:
                epoch, done = divmod(self.step, self.steps_per_epoch)
                if phase_at(self.config, epoch) != (self.phase, self.phase_start):
                    self.start_phase(epoch)
                    if self.phase.from_best:
                        self.method.load_learned_state(self.best)
                if not done and epoch in self.plateaus:
                    self.leave_plateau()
                batches = sample_order(self.train, self.config, self.seed, epoch)[done:]
                train_what_learns(self.method)
                images = self.inputs.batches([self.train.image_of[batch] for batch in batches], epoch)
                for batch, pictures in zip(batches, images, strict=True):
                    self.train_step(batch, pictures)
                    progress.advance(f"epoch {epoch + 1}/{self.epochs} loss {self.steps.losses[-1]:.4f}")
                    if self.steps.unsaved and self.step % self.steps_per_epoch:
                        self.save()
                self.end_epoch(epoch, progress)
                self.after_epoch()
                self.save()

    def train_step(self, batch: np.ndarray, pictures: Tensor) -> Tensor:
        """One optimiser step on the captions at ``batch`` and their images; returns the loss."""
        step = self.step - self.phase_start * self.steps_per_epoch
        lowered = len(self.plateaus)
        factor = learning_rate_factor(self.config, self.phase.epochs, step, self.steps_per_epoch, lowered)
        tokens = self.method.tokenize([self.train.captions[index] for index in batch])
        image_ids, captions = torch.from_numpy(self.train.image_of[batch]), torch.from_numpy(batch)
        pictures, tokens, image_ids, captions = (
            part.to(self.device, non_blocking=True) for part in (pictures, tokens, image_ids, captions)
        )
        taught = self.teacher.scores(image_ids, captions) if self.teacher else None
        positives, epoch = self.positives.of(captions), self.step // self.steps_per_epoch
        pairs = Batch(pictures, tokens, image_ids, captions, positives, epoch, taught)
        with self.steps.autocast:
            loss = self.method.loss(pairs)
        loss = self.steps.take(loss, self.optimizer, factor, self.config.clip_norm)
        self.step += 1
        for name, share in self.method.tasks.items():  # stays on the device: nobody waits for it
            self.task_sums[name] = self.task_sums.get(name, 0.0) + share.double()
        return loss

    def end_epoch(self, epoch: int, progress: Progress) -> None:
        """Score the selecting split, remember the best weights, sound the alarms."""
        mean_loss = self.steps.mean(self.steps_per_epoch)
        encoded = encode(self.method, self.select, self.select_inputs, self.device)
        if not torch.isfinite(encoded.images).all() or not torch.isfinite(encoded.texts).all():
            raise TrainingDiverged(
                f"the embeddings became NaN in epoch {epoch + 1}: lower learning_rate in params.yaml"
            )
        ranks = ranks_to_choose_by(self.method, encoded, self.select.image_of, self.duplicates, self.device)
        rate = self.optimizer.param_groups[0]["lr"]
        entry = Epoch(
            epoch=epoch + 1,
            loss=mean_loss,
            tasks={name: float(total) / self.steps_per_epoch for name, total in self.task_sums.items()},
            val_mr=recall(ranks.plain).mr,
            val_dup_mr=recall(ranks.duplicate_aware).mr,
            learning_rate=rate,
            image_cosine=collapse(encoded.images),
            text_cosine=collapse(encoded.texts),
        )
        self.history.append(entry)
        self.task_sums = {}
        if self.config.choose == "last" or entry.merit >= max(each.merit for each in self.candidates):
            self.best = {
                name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
                for name, value in self.method.learned_state().items()
            }
        progress.say(
            f"epoch {epoch + 1}: loss {entry.loss:.4f}, {self.config.selection} mR {entry.val_mr:.2f}, "
            f"with duplicates counted {entry.val_dup_mr:.2f}, "
            f"mean cosine of different images {entry.image_cosine:.3f}, of texts {entry.text_cosine:.3f}"
        )
        alarms.check(self.history, self.batch_size)

    @property
    def candidates(self) -> list[Epoch]:
        """The epochs so far that the best one is chosen among."""
        return self.history[choice_start(self.config, len(self.history)) :]

    def chosen_epoch(self) -> int:
        """The epoch whose weights ``best`` holds: the last of those with the highest merit, or the last of all."""
        if self.config.choose == "last":
            return self.history[-1].epoch
        return max(self.candidates, key=lambda entry: (entry.merit, entry.epoch)).epoch


def train(spec: Spec, before_keeping: Callable[[], None] = lambda: None) -> TrainReport:
    """Train a cell and write its checkpoint (``TRAINED_FILES``); what goes wrong becomes part of the report.

    ``before_keeping`` is called when everything is computed, and may object.
    """
    folder = Paths.checkpoint(spec.cell)
    report = TrainReport(identities=trained_identities(spec), machine=machine())
    weights: dict[str, Tensor] = {}
    method: Method | None = None
    forget_peak()
    try:
        data = load_data(spec)
        report.data, report.data_sha = describe_data(spec, data), data.facts.data_sha
        check_usable(spec, data)
        report.used = started_from(prior=spec.prior, pretraining=spec.pretraining, tuning=spec.tuning)
        device = device_of(spec)
        report.machine = machine(device)
        with noted() as report.pretrained:
            method = build_method(spec, data)
        describe_method(method, spec, data, report)
        if method.trainable:
            weights = fit(method, spec, data, device, folder / "resume.pt", report)
    except Exception as error:  # a failed cell is a result: it is recorded and the rest goes on
        if isinstance(error, DatasetError | OSError):
            print(f"{spec.cell.path}: {error}", file=sys.stderr)
        report.outcome = Outcome.of(error)
    report.peak_memory_mib["train"] = peak_memory_mib()
    before_keeping()
    weights_sha = write_weights(folder / "model.safetensors", weights, "cell", spec.place)
    report.weights_sha = weights_sha if report.outcome.status == "ok" else ""
    write_json(folder / "train.json", report)
    trained = method if report.outcome.status == "ok" else None
    write_bundle(folder, describe(trained, spec, report) if trained else begun(spec, report))
    if report.outcome.status == "ok":
        (folder / "resume.pt").unlink(missing_ok=True)
    return report


def describe_method(method: Method, spec: Spec, data: CellData, report: TrainReport) -> None:
    """What a report says about the method of a cell."""
    cls = type(method)
    report.config = method.config.model_dump(mode="json")
    report.published = published_row(cls, spec.cell.variant, method.config)
    if report.published:
        changed = changed_settings(cls, spec.cell.variant, method.config, spec.cell.dataset)
        if cls.trainable:
            changed += differences(report.published.paper, report.published.variant, spec.clean_id)
        report.deviations = method.departures + changed
        if data.facts.origin == "mirror":
            report.deviations.append("images of the mirror, re-encoded, instead of the official files")
    report.parameters = {"total": sum(parameter.numel() for parameter in method.parameters())}
    if not method.trainable:
        report.parameters["trainable"] = 0


def begin(
    method: Method,
    spec: Spec,
    data: CellData,
    device: str,
    state_path: Path,
    report: TrainReport,
    teacher: Teacher | None = None,
) -> Trainer:
    """The trainer of a cell's method, from wherever its state stands; what it learns from is part of ``report``."""
    if spec.teacher:
        started = time.perf_counter()
        teacher = teacher or Teacher(spec.teacher, device)
        method.adopt(teacher.method)
        report.used["teacher"] = teacher.weights_sha
        report.seconds["teacher"] = round(time.perf_counter() - started, 2)
    torch.random.manual_seed(derive(spec.seed, "train"))
    started = time.perf_counter()
    identity = report.identities | {"data": report.data_sha} | report.used
    trainer = Trainer(method, data, spec, device, state_path, identity, teacher)
    report.seconds["features"] = round(time.perf_counter() - started, 2)
    report.parameters["trainable"] = sum(p.numel() for p in method.parameters() if p.requires_grad)
    if trainer.restore():
        print(f"continuing at step {trainer.step}", file=sys.stderr)
    report.history = trainer.history  # filled as it goes, so that a run that diverges shows how
    return trainer


def fit(
    method: Method, spec: Spec, data: CellData, device: str, state_path: Path, report: TrainReport
) -> dict[str, Tensor]:
    """Train the method of a cell; fills ``report`` and returns the weights to keep."""
    trainer = begin(method, spec, data, device, state_path, report)
    trainer.run()
    report.seconds["train"] = round(trainer.steps.seconds, 2)
    chosen = trainer.chosen_epoch()
    report.selection = {
        "split": trainer.config.selection,
        "epoch": chosen,
        "mr": trainer.history[chosen - 1].val_mr,
        "dup_mr": trainer.history[chosen - 1].val_dup_mr,
        "epochs": len(trainer.history),
        "steps": trainer.step,
        "ended": trainer.ended,
        "images": len(trainer.select.paths),
    }
    return trainer.best
