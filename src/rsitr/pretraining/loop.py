"""Contrastive pre-training, readable from top to bottom: samples, model, optimiser, steps, the record.

A step sees the same samples in the same order with any number of processes, and its loss is that of the whole batch. A
killed run continues from where it was last saved and ends with the same weights: order and augmentation are functions
of the seed and the step, and the state file holds everything else. It may continue with another number of processes,
and nodes that do not share ``out`` continue from the state of the one that has it.
"""

from __future__ import annotations

import math
import sys
import time
from collections import Counter
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from rsitr.errors import DatasetError, ParamsError, ProcessFailed, RecordError
from rsitr.nn.clip_models import create_clip
from rsitr.nn.features import state_sha
from rsitr.nn.pretrained import noted
from rsitr.nn.seeds import derive, seeded
from rsitr.pretraining.loss import contrastive
from rsitr.pretraining.ranks import Ranks, joined
from rsitr.pretraining.samples import Order, ReadAhead, ShardSamples
from rsitr.pretraining.shards import PROBLEMS, Index, index_shards
from rsitr.pretraining.spec import PretrainEpoch, PretrainRecord, PretrainSpec
from rsitr.progress import Progress
from rsitr.records.artefact import Outcome
from rsitr.records.files import read_json, write_csv, write_json
from rsitr.records.identity import code_sha
from rsitr.records.provenance import library_versions, machine, peak_memory_mib, sha256_file, sha256_json
from rsitr.records.weights import write_weights
from rsitr.stages.course import cosine
from rsitr.stages.decay import by_decay
from rsitr.stages.resume import read_state, write_state
from rsitr.stages.steps import Steps

CACHE = Path("cache")
RECORD = "pretrain.json"
LARGEST_SCALE = math.log(100)
"""Of the logarithm of the inverse temperature (A. Radford et al., ICML 2021, section 2.5)."""
IDENTITY = ("training_sha", "data_sha", "code_sha", "initial_sha")
"""What identifies a run."""
NAMED = 20
"""How many broken samples the record names."""


def make_optimizer(model: nn.Module, spec: PretrainSpec) -> torch.optim.Optimizer:
    """AdamW that decays only matrices."""
    learning = (parameter for parameter in model.parameters() if parameter.requires_grad)
    groups = [
        {"params": part, "weight_decay": decay, "base": spec.learning_rate}
        for part, decay in by_decay(learning, spec.weight_decay, matrices_alone=True)
    ]
    return torch.optim.AdamW(groups, lr=spec.learning_rate, betas=spec.betas)


class Pretrainer:
    """The state of a run, and how it is saved and restored."""

    def __init__(self, spec: PretrainSpec, ranks: Ranks, record: PretrainRecord):
        self.spec, self.ranks, self.record = spec, ranks, record
        with ranks.together():
            if spec.batch_size % ranks.world:
                raise ParamsError(f"batch_size {spec.batch_size} cannot be divided over {ranks.world} processes")
            index = index_shards(spec.shard_paths(), CACHE)
            record.samples, record.data_sha = len(index), index.data_sha
            if len(index) < spec.batch_size:
                raise DatasetError(f"the shards hold {len(index)} samples, fewer than batch_size {spec.batch_size}")
            with seeded(derive(spec.seed, "init")), noted() as record.pretrained:
                built = create_clip(spec.model, spec.weights, spec.instruction, spec.instruction_weights, spec.belief)
        agree(ranks, spec, record.code_sha, index)
        self.model = built.model.to(ranks.device)
        self.model.set_grad_checkpointing(spec.grad_checkpointing)
        self.samples = ShardSamples(index, built.pixels, spec.crop, built.tokenizer, spec.seed)
        self.order = Order(index.shard_of, spec.batch_size, spec.seed, spec.shards_at_once)
        self.steps_per_epoch = (spec.samples_per_epoch or len(index)) // spec.batch_size
        if not self.steps_per_epoch:
            raise ParamsError(f"samples_per_epoch is less than batch_size {spec.batch_size}: raise it")
        self.total = spec.epochs * self.steps_per_epoch
        self.shared = ranks.share(self.model)
        self.optimizer = make_optimizer(self.model, spec)
        record.initial_sha = state_sha(self.model)
        self.state_path = spec.out / "resume.pt"
        self.steps = Steps(self.model, ranks.device, "lower learning_rate, or clip_norm", autocast=spec.bf16)
        self.identity = {name: getattr(record, name) for name in IDENTITY} | {"arithmetic": self.steps.arithmetic}
        self.broken: dict[int, int] = {}
        sizes = [(parameter.numel(), parameter.requires_grad) for parameter in self.model.parameters()]
        record.parameters = {
            "total": sum(size for size, _ in sizes),
            "trainable": sum(size for size, learned in sizes if learned),
        }

    def save(self) -> None:
        """Write everything a continued run needs, atomically; only the first process does: all have the same state."""
        if self.ranks.rank:
            return
        state = {
            "identity": self.identity,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "steps": self.steps.state(),
            "broken": self.broken,
            "history": [epoch.model_dump() for epoch in self.record.history],
        }
        write_state(self.state_path, state)

    def restore(self) -> bool:
        """Continue from a state of this code, these shards and this spec: of all nodes' the one with the most steps."""
        state = None
        for reads in (self.ranks.rank == 0, self.ranks.rank and self.ranks.local == 0):
            if reads:
                state = read_state(self.state_path, self.identity)
            self.ranks.wait()  # on a disk of all nodes, a damaged file is set aside before the others look
        steps = self.ranks.told(len(state["steps"]["losses"]) if state else -1)
        if max(steps) < 0:
            return False
        state = self.ranks.spread(state, steps.index(max(steps)))
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.steps.load(state["steps"])
        self.broken = state["broken"]
        self.record.history = [PretrainEpoch(**epoch) for epoch in state["history"]]
        return True

    def run(self) -> None:
        """All steps, starting from the current state."""
        first, warm = len(self.steps.losses), time.monotonic()
        self.shared.train()
        progress = Progress("pretrain", self.total, first)
        reads = self.spec.shards_at_once is not None and self.ranks.local == 0  # once a node
        ahead = ReadAhead(self.samples.index.shards, self.order.windows(first) if reads else iter(()))
        with progress if self.ranks.rank == 0 else nullcontext(), closing(ahead):
            for step, batch in zip(range(first, self.total), self.loader(range(first, self.total)), strict=True):
                ahead.reach(step)
                self.train_step(step, batch)
                now = time.monotonic()
                if step == first:
                    warm = now
                else:
                    self.record.samples_per_second = (step - first) * self.spec.batch_size / (now - warm)
                epoch, place = divmod(step + 1, self.steps_per_epoch)
                if self.ranks.rank == 0:
                    at = f"epoch {step // self.steps_per_epoch + 1}/{self.spec.epochs}"
                    progress.advance(f"{at} loss {self.steps.losses[-1]:.4f}")
                if place == 0:
                    self.end_epoch(epoch, progress)
                if place == 0 or self.steps.unsaved:
                    self.save()

    def loader(self, steps: range) -> DataLoader[Any]:
        """Batches of this process's part of each step."""
        return DataLoader(
            self.samples,
            batch_sampler=self.order.parts(steps, self.ranks.rank, self.ranks.world),  # type: ignore[arg-type]
            num_workers=self.spec.workers,
            pin_memory=self.ranks.device != "cpu",
            generator=torch.Generator(),
        )

    def train_step(self, step: int, batch: Any) -> Tensor:
        """One optimiser step on this process's part of a batch; returns the loss of the whole batch."""
        pixels, tokens, problems = (part.to(self.ranks.device, non_blocking=True) for part in batch)
        usable, own = self.usable(step, problems)
        # Dropout, if a model has any, is a function of step and process.
        with seeded(derive(self.spec.seed, "step", step, self.ranks.rank), self.ranks.device), self.steps.autocast:
            images, texts, scale = self.shared(pixels, tokens)[:3]
        images, texts = (self.ranks.gather(features.float())[usable] for features in (images, texts))
        loss = self.ranks.total(contrastive(images, texts, scale, own, self.ranks.gather))
        factor = cosine(step, self.total, self.spec.warmup)
        loss = self.steps.take(loss, self.optimizer, factor, self.spec.clip_norm)
        with torch.no_grad():
            self.model.logit_scale.clamp_(0, LARGEST_SCALE)
        return loss

    def usable(self, step: int, problems: Tensor) -> tuple[Tensor, slice]:
        """Boolean [batch_size]: which samples of the whole batch are usable, and which of those this process reads.

        The broken ones are remembered.
        """
        everywhere = self.ranks.gather(problems)
        broken = everywhere.nonzero().flatten().tolist()
        if len(everywhere) - len(broken) < 2:
            raise DatasetError(f"at step {step} fewer than two samples of a batch could be read: look at the shards")
        if broken:
            _, samples = self.order.batch(step)
            self.broken |= {int(samples[place]): int(everywhere[place]) for place in broken}
        start, stop = (self.ranks.rank * len(problems), (self.ranks.rank + 1) * len(problems))
        before, until = (place - sum(each < place for each in broken) for place in (start, stop))
        return everywhere == 0, slice(before, until)

    def end_epoch(self, epoch: int, progress: Progress) -> None:
        """A line for the history."""
        loss = self.steps.mean(self.steps_per_epoch)
        rate, temperature = self.optimizer.param_groups[0]["lr"], math.exp(-self.model.logit_scale.item())
        seconds = self.steps.seconds - sum(entry.seconds for entry in self.record.history)
        line = PretrainEpoch(epoch=epoch, loss=loss, learning_rate=rate, temperature=temperature, seconds=seconds)
        self.record.history.append(line)
        if self.ranks.rank == 0:
            left_out = f", {len(self.broken)} samples broken so far" if self.broken else ""
            progress.say(f"epoch {epoch}: loss {loss:.4f}, temperature {temperature:.4f}{left_out}")

    def finish(self) -> None:
        """What the record says about the run once it has ended, successfully or not."""
        found = Counter(PROBLEMS[problem] for problem in self.broken.values()) + Counter(self.samples.index.missing)
        self.record.skipped = dict(sorted(found.items()))
        named = sorted(self.broken.items())[:NAMED]
        self.record.skipped_samples = [f"{self.samples.name(one)}: {PROBLEMS[problem]}" for one, problem in named]
        self.record.steps, self.record.seconds = len(self.steps.losses), round(self.steps.seconds, 2)
        self.record.peak_memory_mib["process"] = peak_memory_mib()
        if self.ranks.device != "cpu":
            self.record.peak_memory_mib["gpu"] = round(torch.cuda.max_memory_allocated() / 2**20)


def pretrain(spec: PretrainSpec, device: str | None = None) -> PretrainRecord:
    """Pre-train, and write ``model.safetensors``, ``loss.csv`` and ``pretrain.json`` to ``spec.out``.

    On ``device``, or where none is named on the GPU that torchrun's numbers give this process. Under torchrun every
    process calls this. Errors are recorded and raised again. A successful run is not repeated unless code, shards or
    spec have changed.
    """
    with joined(device, spec.patience) as ranks, ranks.watching():
        record, trainer = PretrainRecord(config=spec.model_dump(mode="json"), processes=ranks.world), None
        record.training_sha, record.code_sha = sha256_json(spec.training), code_sha((__name__,))
        record.machine, record.versions = machine(ranks.device), library_versions()
        try:
            with ranks.watching():
                trainer = Pretrainer(spec, ranks, record)
                if ended := _ended(spec, record, ranks):
                    return ended
                if ranks.local == 0:
                    spec.out.mkdir(parents=True, exist_ok=True)
                    (spec.out / RECORD).unlink(missing_ok=True)
                if trainer.restore() and ranks.rank == 0:
                    print(f"continuing at step {len(trainer.steps.losses)} of {trainer.total}", file=sys.stderr)
                trainer.run()
        except Exception as error:
            record.outcome = Outcome.of(error)
            # What another process has ended of is in its own record, which on a disk of all nodes is this one.
            if not isinstance(error, ProcessFailed) or (ranks.rank == 0 and not (spec.out / RECORD).exists()):
                _write(spec, record, trainer)
            raise
        if ranks.rank == 0:
            _write(spec, record, trainer)
        (written, *_) = ranks.told(record)
        if ranks.local == 0:
            trainer.state_path.unlink(missing_ok=True)
        return written


def agree(ranks: Ranks, spec: PretrainSpec, code: str, index: Index) -> None:
    """Raise, on every process, unless all have the same spec, code and shards; the message names what differs."""
    processes = ranks.told((ranks.name, spec.training, code, index.data_sha))
    first, training, *rest = processes[0]
    for name, other, *others in processes[1:]:
        if fields := [field for field in training if training[field] != other[field]]:
            raise ParamsError(f"{name} has another spec than {first}: {', '.join(fields)}. Copy the spec to every node")
        if rest[0] != others[0]:
            raise ParamsError(
                f"{name} has other code than {first}, or other versions of its libraries: install it again"
            )
    if len({data_sha for *_, data_sha in processes}) == 1:
        return
    shards = ranks.told(index.contents)
    for (name, *_), contents in zip(processes, shards, strict=True):
        (here, there) = ({file: what for file, *what in each} for each in (shards[0], contents))
        problems = [f"{file} is missing in {name}" for file in here if file not in there]
        problems += [f"{file} is only in {name}" for file in there if file not in here]
        problems += [f"{file} differs in {name}" for file in here if file in there and here[file] != there[file]]
        if problems or contents != shards[0]:
            what = "; ".join(problems) or f"{name} has them in another order"
            raise DatasetError(f"the nodes do not have the same shards: {what}. Copy them from one node to all")


def _ended(spec: PretrainSpec, record: PretrainRecord, ranks: Ranks) -> PretrainRecord | None:
    """The record of an earlier run that this one would repeat, on all processes where one node has it."""
    said = ranks.told((ranks.name, _kept(spec, record) if ranks.local == 0 else None))
    name, earlier = next(((name, kept) for name, kept in said if kept), ("", None))
    if earlier and ranks.rank == 0 and name != ranks.name:
        print(f"it has ended before: its weights are in {spec.out} of {name}", file=sys.stderr)
    return earlier


def _kept(spec: PretrainSpec, record: PretrainRecord) -> PretrainRecord | None:
    """The record of an earlier run in this ``out``."""
    try:
        earlier = read_json(PretrainRecord, spec.out / RECORD)
        same = all(getattr(earlier, name) == getattr(record, name) for name in IDENTITY)
        kept = earlier.outcome.status == "ok" and sha256_file(spec.out / "model.safetensors") == earlier.weights_sha
    except (RecordError, OSError):
        return None
    return earlier if same and kept else None


def _write(spec: PretrainSpec, record: PretrainRecord, trainer: Pretrainer | None) -> None:
    if trainer:
        trainer.finish()
        write_csv(spec.out / "loss.csv", ("step", "loss"), list(enumerate(trainer.steps.losses)))
    if trainer and record.outcome.status == "ok":
        weights = {name: value.cpu().contiguous() for name, value in trainer.model.state_dict().items()}
        record.weights_sha = write_weights(spec.out / "model.safetensors", weights, "training", record.training_sha)
    write_json(spec.out / RECORD, record)
