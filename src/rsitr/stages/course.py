"""The course of a training: which phase an epoch is in, which epochs compete, the learning rate at every step, and when
a training that goes by plateaus lowers its rate and ends.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rsitr.methods.base import Phase, TrainingConfig

CONVERGED, CAPPED, COMPLETED = "converged", "cap", "course"
"""How a training ended: val had stopped improving, or had not yet when the most epochs were over; or it was of a fixed
number of epochs."""


def with_epochs(config: TrainingConfig, steps_per_epoch: int) -> TrainingConfig:
    """The configuration with ``max_steps`` as a number of epochs, the last one whole."""
    if config.max_steps is None:
        return config
    return config.model_copy(update={"epochs": math.ceil(config.max_steps / steps_per_epoch), "max_steps": None})


def capped(config: TrainingConfig, most: int, steps_per_epoch: int) -> dict[str, Any]:
    """Settings by which a training ends after ``most`` steps, its last epoch whole; none where it ends before that."""
    if config.max_steps is not None:
        return {"max_steps": min(config.max_steps, most)}
    left = math.ceil(most / steps_per_epoch)
    if sum(phase.epochs for phase in config.course) <= left:
        return {}
    if not config.phases:
        return {"max_steps": most}
    phases = []
    for phase in config.phases:
        phases.append(phase.model_dump(mode="json") | {"epochs": min(phase.epochs, left)})
        left -= phase.epochs
        if left <= 0:
            break
    return {"phases": phases}


def phase_at(config: TrainingConfig, epoch: int) -> tuple[Phase, int]:
    """The phase that an epoch (0-based) belongs to, and its first epoch."""
    first = 0
    for phase in config.course:
        if epoch < first + phase.epochs:
            return phase, first
        first += phase.epochs
    raise ValueError(f"training ends after {first} epochs")


def choice_start(config: TrainingConfig, epochs: int) -> int:
    """Of so many epochs, the first (0-based) that the best one is chosen among: a phase may start the choice again."""
    start = first = 0
    for phase in config.course:
        if phase.from_best and first < epochs:
            start = first
        first += phase.epochs
    return start


def cosine(step: int, total: int, warmup: float) -> float:
    """What a base rate is multiplied by at a step (0-based) of ``total``: a linear rise over the share ``warmup`` of
    them, then half a cosine to zero."""
    rising = int(warmup * total)
    if step < rising:
        return (step + 1) / rising
    return (1 + math.cos(math.pi * (step - rising) / max(total - rising, 1))) / 2


def plateaus(config: TrainingConfig, merits: Sequence[float], steps_per_epoch: int) -> list[int]:
    """After how many epochs val had stopped improving, of a training whose epochs so far have ``merits``.

    That is when ``patience`` epochs in a row were no better than the best of all before. Those in which the rate still
    rises, or which a method trains by another loss (``all_negatives_epochs``), do not count.
    """
    warm = warmup_steps(config, config.epochs * steps_per_epoch)
    first = max(math.ceil(warm / steps_per_epoch), getattr(config, "all_negatives_epochs", 0))
    found: list[int] = []
    best, waited = -math.inf, 0
    for epoch, merit in enumerate(merits):
        waited = 0 if merit > best or epoch < first else waited + 1
        best = max(best, merit)
        if waited == config.patience:
            found.append(epoch + 1)
            waited = 0
    return found


def warmup_steps(config: TrainingConfig, total: int) -> int:
    """During how many of ``total`` steps the rate rises."""
    return int(config.warmup * total) if config.warmup_steps is None else config.warmup_steps


def learning_rate_factor(
    config: TrainingConfig, epochs: int, step: int, steps_per_epoch: int, lowered: int = 0
) -> float:
    """What the base rate of a phase of ``epochs`` is multiplied by at its optimiser step ``step`` (0-based).

    ``lowered``: how many plateaus there were before it.
    """
    total = epochs * steps_per_epoch
    warmup = warmup_steps(config, total)
    if step < warmup:
        return (step + 1) / warmup
    if config.schedule == "plateau":
        return config.step_factor**lowered
    if config.schedule == "step":
        return config.step_factor ** (step // steps_per_epoch // config.step_epochs)
    done = (step - warmup) / max(total - warmup, 1)
    return 1 - done if config.schedule == "linear" else (1 + math.cos(math.pi * done)) / 2
