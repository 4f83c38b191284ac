"""Steps of a training: losses that are read late and in order, the arithmetic of a device, and what is continued."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from rsitr.errors import ParamsError, TrainingDiverged
from rsitr.stages import steps
from rsitr.stages.course import cosine
from rsitr.stages.steps import Steps


class Line(nn.Module):
    """A model of one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(1.0))
        self.fixed = nn.Parameter(torch.tensor(1.0), requires_grad=False)


def begun(device: str = "cpu", **settings: Any) -> tuple[Line, Steps, torch.optim.Optimizer]:
    model = Line()
    optimizer = torch.optim.SGD([{"params": [model.weight], "base": 0.5}], lr=9.0)
    return model, Steps(model, device, "do less", **settings), optimizer


def test_a_step_is_down_the_gradient_at_a_share_of_the_base_rate() -> None:
    model, taken, optimizer = begun()
    loss = taken.take(3 * model.weight, optimizer, 0.1)
    assert (loss.item(), loss.requires_grad) == (3.0, False)
    assert model.weight.item() == pytest.approx(1 - 0.5 * 0.1 * 3)
    taken.take(3 * model.weight, optimizer, 0.1, clip_norm=1.0)
    assert model.weight.item() == pytest.approx(0.85 - 0.5 * 0.1 * 1)


def test_what_no_longer_learns_does_not_count_in_the_norm() -> None:
    model, taken, optimizer = begun()
    model.fixed.grad = torch.tensor(100.0)
    taken.take(3 * model.weight, optimizer, 1.0, clip_norm=3.0)
    assert model.weight.item() == pytest.approx(1 - 0.5 * 3, abs=1e-5)


def test_losses_gather_until_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(steps.time, "monotonic", lambda: now)
    model, taken, optimizer = begun()
    for seconds in (0, 0.3, 0.9, 1.1, 2.0):
        now = seconds
        taken.take(0 * model.weight + seconds, optimizer, 1.0)
        if seconds < 1:
            assert taken.losses == [0], "the first is read at once, others after a second"
    assert taken.losses == pytest.approx([0, 0.3, 0.9, 1.1])
    assert taken.mean(3) == pytest.approx((0.9 + 1.1 + 2.0) / 3)
    assert len(taken.losses) == 5


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_is_found_with_its_step(bad: float) -> None:
    model, taken, optimizer = begun()
    for value in (1.0, 2.0, bad, bad, 3.0):
        taken.take(0 * model.weight + value, optimizer, 1.0)
    with pytest.raises(TrainingDiverged, match=f"^the loss became {bad} at step 2: do less$"):
        taken.read()
    assert taken.losses == [1.0, 2.0]


def test_what_was_saved_is_continued() -> None:
    model, taken, optimizer = begun()
    for value in (1.0, 2.0):
        taken.take(0 * model.weight + value, optimizer, 1.0)
    state = taken.state()
    drawn = torch.rand(3)
    state["seconds"] += 100
    continued = begun()[1]
    continued.load(state)
    assert torch.equal(torch.rand(3), drawn)
    assert continued.losses == [1.0, 2.0]
    assert 100 < continued.seconds < 110


def test_a_state_is_due_a_minute_after_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(steps.time, "monotonic", lambda: now)
    taken = begun()[1]
    due = []
    for now in (59, 61, 62):  # noqa: B007 - the clock reads it
        due.append(taken.unsaved)
        if taken.unsaved:
            taken.state()
    assert due == [False, True, False]


@pytest.mark.parametrize(
    ("device", "autocast", "arithmetic"),
    [
        ("cpu", True, "float32 on cpu"),
        ("cpu", False, "float32 on cpu"),
        ("cuda:0", True, "bfloat16 on cuda"),
        ("cuda:1", False, "float32 on cuda"),
    ],
)
def test_the_arithmetic_of_a_device(
    device: str, autocast: bool, arithmetic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda including_emulation: not including_emulation)
    assert begun(device, autocast=autocast)[1].arithmetic == arithmetic


def test_a_gpu_without_bfloat16_is_refused_unless_it_trains_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Emulated, it would be slower than float32: torch calls that supported."""
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda including_emulation=True: including_emulation)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda device: "Tesla T4")
    with pytest.raises(ParamsError, match="Tesla T4 does not compute in bfloat16: train in float32"):
        begun("cuda:0")
    assert begun("cuda:0", autocast=False)[1].arithmetic == "float32 on cuda"


def test_the_cosine_rises_and_falls() -> None:
    assert [cosine(step, 20, 0.1) for step in (0, 1, 2)] == [0.5, 1.0, 1.0]  # a tenth of 20 steps
    assert cosine(11, 20, 0.1) == pytest.approx(0.5)  # half of the 18 steps that are left
    assert cosine(0, 4, 0.1) == 1.0  # too few steps to rise
    factors = [cosine(step, 10, 0.2) for step in range(10)]
    assert factors[:4] == pytest.approx([0.5, 1, 1, 0.9619397662556434])
    assert factors[9] == pytest.approx(0.03806023374435663)
