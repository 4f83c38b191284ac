"""Which samples of a batch are positives of each other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from rsitr.datasets.splits import SplitData
from rsitr.methods.base import Batch
from rsitr.methods.vse import VSE
from rsitr.stages.positives import Positives
from rsitr.stages.train import train

# Images a, b, c and d; b and d are the same file. The second caption of a is the only one of c but for case and period.
CAPTIONS = ["two trees", "a red roof", "a pond", "A red roof.", "a lake"]
SPLIT = SplitData(
    list("abcd"), [Path(name) for name in "abcd"], list("1232"), CAPTIONS, np.array([0, 0, 1, 2, 3]), ("",) * 4
)


@pytest.mark.parametrize(
    ("kind", "pairs"),
    [
        ("image", {(0, 1)}),
        # Caption 0 and caption 3 are positives of caption 1, and not of each other.
        ("caption", {(0, 1), (1, 3), (2, 4)}),
    ],
)
def test_captions_of_an_image_or_also_identical_ones(kind, pairs):
    found = Positives(SPLIT, kind, "cpu").of(torch.arange(5))
    assert found.dtype == torch.bool
    assert {(i, j) for i, j in found.nonzero().tolist() if i < j} == pairs
    assert torch.equal(found, found.t())
    assert found.diagonal().all()


def test_a_batch_is_a_part_in_its_own_order():
    found = Positives(SPLIT, "caption", "cpu").of(torch.tensor([3, 2, 1]))
    assert found.tolist() == [[True, False, True], [False, True, False], [True, False, True]]


def test_pictures_that_nothing_is_known_of_are_not_identical():
    split = SPLIT._replace(hashes=[""] * 4, captions=list("vwxyz"))
    found = Positives(split, "caption", "cpu").of(torch.arange(5))
    assert torch.equal(found, Positives(split, "image", "cpu").of(torch.arange(5)))


@pytest.mark.parametrize("kind", ["image", "caption"])
def test_the_trainer_gives_them_to_the_loss(kind, project, make_spec, monkeypatch):
    """As if all captions were identical."""
    monkeypatch.setattr("rsitr.stages.positives.text_groups", lambda captions: np.zeros(len(captions), np.int64))
    seen: list[Batch] = []
    loss = VSE.loss
    monkeypatch.setattr(VSE, "loss", lambda self, batch: seen.append(batch) or loss(self, batch))
    report = train(make_spec("vse", positives=kind, epochs=1))
    assert report.outcome.status == "ok", report.outcome
    for batch in seen:
        expected = batch.image_ids[:, None] == batch.image_ids
        assert torch.equal(batch.positives, expected if kind == "image" else torch.ones(8, 8, dtype=torch.bool))
