"""What counts as learning nothing: three epochs in a row, and which numbers."""

from __future__ import annotations

import math

import pytest

from rsitr.errors import TrainingDiverged
from rsitr.records.cell import Epoch
from rsitr.stages.alarms import check

LN_16 = math.log(16)


def history(**each):
    """Epochs that differ in one field."""
    ((name, values),) = each.items()
    facts = {"loss": 1, "val_mr": 1, "learning_rate": 1, "image_cosine": 0, "text_cosine": 0}
    return [Epoch(**facts | {"epoch": n, name: value}) for n, value in enumerate(values, 1)]


@pytest.mark.parametrize(
    ("name", "values", "sounds"),
    [
        ("image", [0.9991, 0.9991], False),
        ("image", [0.9991, 0.9991, 0.9991], True),
        ("image", [0.2, 0.9995, 0.9992, 0.9991], True),
        ("image", [0.9995, 0.9995, 0.998, 0.9995], False),
        ("text", [0.9991, 0.9991, 0.9991], False),
        ("text", [0.2, 0.99991, 0.99992, 0.99991], True),
    ],
)
def test_one_embedding_for_all(name, values, sounds):
    epochs = history(**{f"{name}_cosine": values})
    if not sounds:
        check(epochs, 16)
        return
    with pytest.raises(TrainingDiverged, match=rf"all {name}s have had one embedding for 3 epochs"):
        check(epochs, 16)


@pytest.mark.parametrize(
    ("losses", "batch", "sounds"),
    [
        ([LN_16, LN_16, LN_16], 16, True),
        ([4.0, LN_16 * 1.004, LN_16, LN_16 * 0.996], 16, True),
        ([LN_16, LN_16, LN_16 * 0.994], 16, False),
        ([4.0, 3.5, LN_16, LN_16 * 1.006], 16, False),
        ([LN_16, LN_16, LN_16], 17, False),
    ],
)
def test_a_contrastive_loss_that_stays_at_chance(losses, batch, sounds):
    epochs = history(tasks=[{"contrastive": loss, "matching": 0.5} for loss in losses])
    if not sounds:
        check(epochs, batch)
        return
    with pytest.raises(TrainingDiverged, match=r"stayed at chance for 3 epochs \(2.7.*, ln 16 is 2.7726\)"):
        check(epochs, batch)


def test_other_tasks_and_older_histories_are_silent():
    check(history(tasks=[{"matching": 9.0}] * 4), 16)
    check(history(text_cosine=[None] * 4), 16)
