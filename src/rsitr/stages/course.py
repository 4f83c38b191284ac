"""The course of a training: which phase an epoch is in, which epochs compete, and the learning rate at every step."""

from __future__ import annotations

import math

from rsitr.methods.base import Phase, TrainingConfig


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


def learning_rate_factor(config: TrainingConfig, epochs: int, step: int, steps_per_epoch: int) -> float:
    """What the base rate of a phase of ``epochs`` is multiplied by at its optimiser step ``step`` (0-based)."""
    total = epochs * steps_per_epoch
    warmup = int(config.warmup * total) if config.warmup_steps is None else config.warmup_steps
    if step < warmup:
        return (step + 1) / warmup
    if config.schedule == "step":
        return config.step_factor ** (step // steps_per_epoch // config.step_epochs)
    done = (step - warmup) / max(total - warmup, 1)
    return 1 - done if config.schedule == "linear" else (1 + math.cos(math.pi * done)) / 2
