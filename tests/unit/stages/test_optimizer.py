"""The optimiser of a phase: rates, decays and momentum by hand, and its steps next to those of torch's plain loops."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch

from rsitr.methods.base import TrainingConfig
from rsitr.stages.optimizer import make_optimizer
from rsitr.stages.setup import build_method, load_data


def build(make_spec):
    """The method of the tiny project."""
    spec = make_spec("vse")
    return build_method(spec, load_data(spec))


def test_the_backbone_has_a_rate_of_its_own_or_none(project, make_spec):
    method = build(make_spec)
    plain = method.config

    def rates(**settings):
        config = method.config = plain.model_copy(update=settings)
        found: dict[float, int] = {}
        for group in make_optimizer(method, config, config.course[0]).param_groups:
            found[group["lr"]] = found.get(group["lr"], 0) + sum(p.numel() for p in group["params"])
        return found

    backbone = sum(p.numel() for p in method.backbone.parameters())
    total = sum(p.numel() for p in method.parameters())
    assert rates(backbone_learning_rate=1e-5) == {0.01: total - backbone, 1e-5: backbone}
    assert rates(freeze_backbone=True) == {0.01: total - backbone}
    assert not any(p.requires_grad for p in method.backbone.parameters())


def test_weight_decay_spares_biases_and_gains_where_it_is_told_to(project, make_spec):
    method = build(make_spec)
    matrices = sum(p.numel() for p in method.parameters() if p.ndim > 1)
    total = sum(p.numel() for p in method.parameters())

    def decays(**settings):
        config = method.config.model_copy(update={"weight_decay": 0.25, **settings})
        found: dict[float, int] = {}
        for group in make_optimizer(method, config, config.course[0]).param_groups:
            found[group["weight_decay"]] = found.get(group["weight_decay"], 0) + sum(p.numel() for p in group["params"])
        return found

    assert decays(decays="all") == {0.25: total}
    assert decays(decays="matrices") == {0.25: matrices, 0.0: total - matrices}


def test_adam_has_the_betas_of_the_configuration(project, make_spec):
    method = build(make_spec)
    config = method.config.model_copy(update={"betas": (0.9, 0.98)})
    groups = make_optimizer(method, config, config.course[0]).param_groups
    assert {group["betas"] for group in groups} == {(0.9, 0.98)}


def test_sgd_has_momentum(project, make_spec):
    method = build(make_spec)
    config = method.config.model_copy(update={"optimizer": "sgd"})
    groups = make_optimizer(method, config, config.course[0]).param_groups
    assert {(group["momentum"], group["nesterov"]) for group in groups} == {(0.9, True)}


def plain_optimizer(kind, parameters, config):
    """Torch's plain loop over the parameters."""
    if kind == "sgd":
        return torch.optim.SGD(parameters, lr=0.01, momentum=0.9, nesterov=True, foreach=False)
    cls = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[kind]
    return cls(parameters, lr=0.01, betas=config.betas, weight_decay=0.1, foreach=False, fused=False)


@pytest.mark.parametrize("kind", ["adam", "adamw", "sgd"])
def test_optimizers_step_as_torchs_plain_ones(kind):
    config = TrainingConfig(optimizer=kind, learning_rate=0.01, weight_decay=0.1 * (kind != "sgd"))
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.Linear(16, 2))
    model.to(memory_format=torch.channels_last)  # as backbones are
    model.fixed = ("nothing",)
    peer = deepcopy(model)
    steps = [make_optimizer(model, config, config.course[0]), plain_optimizer(kind, peer.parameters(), config)]
    for pictures in torch.randn(4, 5, 3, 4, 4):
        for each, optimizer in zip((model, peer), steps, strict=True):
            optimizer.zero_grad()
            each(pictures).square().sum().backward()
            optimizer.step()
    torch.testing.assert_close(model.state_dict(), peer.state_dict())
