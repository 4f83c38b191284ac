"""Training of a prior, from top to bottom: images, classifier, epochs, accuracy on the held-out part, the backbone.

The last epoch's weights are kept: nothing is selected, so the held-out part takes no part in training. A killed run
continues where it stopped and ends with the same weights, as those of cells do (``rsitr.stages.train``).
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rsitr.dedup.prior_images import SceneImage, Selection, select
from rsitr.nn.backbones import ImageBackbone
from rsitr.nn.inputs import PixelInputs
from rsitr.nn.pretrained import noted
from rsitr.nn.seeds import derive, seeded
from rsitr.params import PriorSettings
from rsitr.progress import Progress
from rsitr.records.artefact import Outcome
from rsitr.records.files import write_csv, write_json
from rsitr.records.paths import Paths
from rsitr.records.prior import ClassAccuracy, PriorSpec, SceneRecord
from rsitr.records.provenance import library_versions, machine, peak_memory_mib
from rsitr.records.weights import write_weights
from rsitr.stages.course import cosine
from rsitr.stages.resume import read_state, write_state
from rsitr.stages.setup import prepare
from rsitr.stages.steps import Steps


class SceneClassifier(nn.Module):
    """Logits of scene classes; ``backbone`` is what methods take from it."""

    def __init__(self, settings: PriorSettings, classes: int):
        super().__init__()
        mean, std = (tuple(values) if values else None for values in (settings.image_mean, settings.image_std))
        name, weights, size = settings.image_backbone, settings.image_weights, settings.image_size
        self.backbone = ImageBackbone(name, weights, size, mean, std, settings.image_options)
        # Some models of timm have layers behind the pooling, which change the width.
        width = getattr(self.backbone.model, "head_hidden_size", None) or self.backbone.width
        self.classifier = nn.Linear(width, classes)

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits [B, classes] of pixels [B, 3, H, W]."""
        return self.classifier(self.backbone.model(pixels.contiguous(memory_format=torch.channels_last)))

    def backbone_state(self) -> dict[str, Tensor]:
        """The backbone's tensors under timm's names, as ``ImageBackbone`` loads them from a file."""
        state = self.backbone.model.state_dict()
        return {name: value.detach().cpu().contiguous() for name, value in state.items()}


WARMUP = 0.1
"""Share of the steps."""


def sample_order(images: int, batch_size: int, seed: int, epoch: int) -> list[np.ndarray]:
    """Positions of an epoch in batches; the last, incomplete one is dropped unless it is the only one."""
    order = np.random.default_rng(derive(seed, "order", epoch)).permutation(images)
    size = min(batch_size, images)
    return list(order[: images // size * size].reshape(-1, size))


class SceneTrainer:
    """The state of a run, and how it is saved and restored."""

    def __init__(self, spec: PriorSpec, selection: Selection, device: str):
        self.seed, self.settings, self.device = spec.prior.seed, spec.prior.settings, device
        self.state_path = Paths.prior_weights(spec.id).with_name("resume.pt")
        with seeded(derive(self.seed, "init")):
            self.model = SceneClassifier(self.settings, len(selection.classes)).to(device)
        self.steps = Steps(self.model, device, "lower the learning rates of the prior")
        self.identity = spec.identities | {"data": selection.data_sha, "arithmetic": self.steps.arithmetic}
        self.classes = selection.classes
        self.targets = self._targets(selection.train)
        paths = [image.path for image in selection.train]
        workers = max(torch.get_num_threads() - 1, 0)
        self.inputs = PixelInputs(paths, self.model.backbone.pixels, self.settings.augment, self.seed, workers)
        groups = [
            (self.model.classifier.parameters(), self.settings.learning_rate),
            (self.model.backbone.parameters(), self.settings.backbone_learning_rate),
        ]
        self.optimizer = torch.optim.AdamW(
            [{"params": list(parameters), "lr": rate, "base": rate} for parameters, rate in groups],
            weight_decay=self.settings.weight_decay,
        )
        self.steps_per_epoch = len(sample_order(len(paths), self.settings.batch_size, self.seed, 0))
        self.step = 0
        self.history: list[float] = []
        torch.random.manual_seed(derive(self.seed, "train"))

    def _targets(self, images: list[SceneImage]) -> Tensor:
        place = {name: number for number, name in enumerate(self.classes)}
        return torch.tensor([place[image.class_name] for image in images], dtype=torch.int64)

    def save(self) -> None:
        """Write everything a continued run needs, atomically."""
        state = {
            "identity": self.identity,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "steps": self.steps.state(),
            "history": self.history,
        }
        write_state(self.state_path, state)

    def restore(self) -> bool:
        """Continue from the state file, if there is one and it belongs to this code, these parameters and images."""
        state = read_state(self.state_path, self.identity)
        if state is None:
            return False
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.steps.load(state["steps"])
        self.step = len(self.steps.losses)
        self.history[:] = state["history"]
        return True

    def run(self) -> None:
        """All epochs, from wherever the state stands."""
        total = self.settings.epochs * self.steps_per_epoch
        with Progress("scenes", total, self.step) as progress:
            while self.step < total:
                epoch, done = divmod(self.step, self.steps_per_epoch)
                batches = sample_order(len(self.targets), self.settings.batch_size, self.seed, epoch)[done:]
                self.model.train()
                for batch, pixels in zip(batches, self.inputs.batches(batches, epoch), strict=True):
                    self.train_step(pixels, self.targets[batch], total)
                    progress.advance(f"epoch {epoch + 1}/{self.settings.epochs} loss {self.steps.losses[-1]:.4f}")
                    if self.steps.unsaved and self.step % self.steps_per_epoch:
                        self.save()
                self.history.append(self.steps.mean(self.steps_per_epoch))
                progress.say(f"epoch {epoch + 1}: loss {self.history[-1]:.4f}")
                self.save()

    def train_step(self, pixels: Tensor, targets: Tensor, total: int) -> Tensor:
        """One optimiser step on a batch; returns its cross-entropy."""
        pixels, targets = (part.to(self.device, non_blocking=True) for part in (pixels, targets))
        with self.steps.autocast:
            loss = F.cross_entropy(self.model(pixels).float(), targets)
        loss = self.steps.take(loss, self.optimizer, cosine(self.step, total, WARMUP))
        self.step += 1
        return loss

    @torch.inference_mode()
    def told(self, images: list[SceneImage]) -> np.ndarray:
        """Whether the class of each image is told right: bool [images]."""
        self.model.eval()
        inputs = PixelInputs([image.path for image in images], self.model.backbone.pixels)
        size = self.settings.batch_size
        batches = [np.arange(start, min(start + size, len(images))) for start in range(0, len(images), size)]
        told = [self.model(pixels.to(self.device)).argmax(1).cpu() for pixels in inputs.batches(batches)]
        return (torch.cat(told) == self._targets(images)).numpy() if told else np.zeros(0, dtype=bool)


def class_accuracies(selection: Selection, right: np.ndarray) -> dict[str, ClassAccuracy]:
    """The accuracy of each class, given whether each held-out image was told right: bool [held-out images]."""
    trained = Counter(image.class_name for image in selection.train)
    held_out = Counter(image.class_name for image in selection.held_out)
    correct = Counter(image.class_name for image, hit in zip(selection.held_out, right, strict=True) if hit)
    return {
        name: ClassAccuracy(
            images=trained[name],
            held_out=held_out[name],
            correct=correct[name],
            accuracy=100 * correct[name] / held_out[name] if held_out[name] else None,
        )
        for name in selection.classes
    }


def train(spec: PriorSpec, before_keeping: Callable[[], None] = lambda: None) -> SceneRecord:
    """Train a prior and write its backbone, ``scenes.json`` and ``left_out.csv``; what goes wrong is recorded.

    ``before_keeping`` is called when everything is computed, and may object.
    """
    weights, left_out_file, record_file = spec.outputs
    record = SceneRecord.begun(spec)
    record.versions = library_versions()
    state: dict[str, Tensor] = {}
    left_out: list[tuple[SceneImage, str]] = []
    try:
        selection = select(spec)
        left_out = selection.left_out
        state = train_classifier(spec, selection, record)
    except Exception as error:  # the cells that need it say so, and the rest goes on
        print(f"{spec.path}: {error}", file=sys.stderr)
        record.outcome = Outcome.of(error)
    record.peak_memory_mib = peak_memory_mib()
    before_keeping()
    weights_sha = write_weights(weights, state, "prior", spec.place)
    record.weights_sha = weights_sha if record.outcome.status == "ok" else ""
    write_csv(
        left_out_file,
        ("dataset", "image", "class", "reason"),
        [(image.dataset, image.image_id, image.class_name, reason) for image, reason in left_out],
    )
    write_json(record_file, record)
    if record.outcome.status == "ok":
        weights.with_name("resume.pt").unlink(missing_ok=True)
    return record


def train_classifier(spec: PriorSpec, selection: Selection, record: SceneRecord) -> dict[str, Tensor]:
    """Train on a selection, fill ``record`` and return the backbone's weights."""
    record.data_sha, record.synthetic = selection.data_sha, selection.synthetic
    record.images = {"train": len(selection.train), "held_out": len(selection.held_out)}
    record.left_out, record.unseen = selection.reasons, list(selection.unseen)
    device = prepare(spec)
    record.machine = machine(device)
    with noted() as record.pretrained:
        trainer = SceneTrainer(spec, selection, device)
    record.parameters = sum(parameter.numel() for parameter in trainer.model.parameters())
    record.loss = trainer.history  # filled as it goes, so that a run that diverges shows how
    if trainer.restore():
        print(f"continuing at step {trainer.step}", file=sys.stderr)
    trainer.run()
    record.seconds["train"] = round(trainer.steps.seconds, 2)
    started = time.perf_counter()
    right = trainer.told(selection.held_out)
    record.seconds["evaluate"] = round(time.perf_counter() - started, 2)
    record.classes = class_accuracies(selection, right)
    known = [each.accuracy for each in record.classes.values() if each.accuracy is not None]
    if known:
        record.accuracy, record.mean_class_accuracy = 100 * float(right.mean()), float(np.mean(known))
    return trainer.model.backbone_state()
