"""The optimiser of a phase of training: what learns, and at which rate."""

from __future__ import annotations

from typing import Any

import torch

from rsitr.methods.base import Method, Phase, TrainingConfig
from rsitr.stages.decay import by_decay

NESTEROV: dict[str, Any] = {"momentum": 0.9, "nesterov": True}


def make_optimizer(method: Method, config: TrainingConfig, phase: Phase) -> torch.optim.Optimizer:
    """The optimiser of a phase over what it trains, a pretrained backbone at a rate of its own where one is set."""
    for name, parameter in method.named_parameters():
        parameter.requires_grad_(not name.startswith(method.fixed) and name.startswith(phase.learns or ("",)))
    named = [(name, parameter) for name, parameter in method.named_parameters() if parameter.requires_grad]
    backbone = [parameter for name, parameter in named if name.startswith("backbone.")]
    rest = [parameter for name, parameter in named if not name.startswith("backbone.")]
    rate = phase.learning_rate
    rates = [(rest, rate), (backbone, config.backbone_learning_rate or rate)]
    apart = config.decays == "matrices"
    groups = [
        (part, base, decay)
        for some, base in rates
        for part, decay in by_decay(some, config.weight_decay, matrices_alone=apart)
    ]
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}[phase.optimizer]
    return kind(
        [{"params": part, "lr": base, "base": base, "weight_decay": decay} for part, base, decay in groups if part],
        fused=True,  # one pass over the memory of all parameters instead of ten
        **(NESTEROV if phase.optimizer == "sgd" else {"betas": config.betas}),
    )
