"""The triplet loss as a method configures it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rsitr.captions import margin, similarity
from rsitr.captions.similarity import CaptionSet, write_matrix
from rsitr.methods.base import Corpus
from rsitr.methods.triplet import TripletConfig, TripletLoss
from rsitr.nn.losses import triplet_loss
from tests.helpers.batches import batch as make_batch
from tests.helpers.batches import same

CORPUS = Corpus(["a", "b", "c", "a"], np.array([0, 1, 2, 2]))
SIMILARITY = np.array([[1.0, 0.25, 0.5], [0.0, 1.0, 0.0], [0.5, 0.0, 1.0]])
SCORES = torch.tensor([[0.9, 0.8, 0.5], [0.3, 0.6, 0.7], [0.2, 0.1, 0.4]])


@pytest.fixture(autouse=True)
def measures(monkeypatch):
    def fake(name, captions, threads=1):
        return lambda texts, images: SIMILARITY[texts[:, None], images[None, :]]

    monkeypatch.setattr(similarity, "measure", fake)
    monkeypatch.setattr(margin, "measure", fake)


def batch(captions, epoch=0):
    places = torch.tensor(captions)
    return make_batch(torch.empty(0), torch.empty(0), torch.from_numpy(CORPUS.image_of)[places], places, epoch)


def test_margins_follow_the_similarity_of_the_caption_to_the_image():
    config = TripletConfig(margin=0.4, margin_type="dynamic", beta=0.0)
    found = TripletLoss(config, CORPUS).margins(batch([0, 1, 2]))
    # beta = 0: .4 (1 - S(caption j, image i)); row i is the image.
    torch.testing.assert_close(found, torch.from_numpy(0.4 * (1 - SIMILARITY.T)).float())


def test_beta_bends_the_margin():
    config = TripletConfig(margin=0.4, margin_type="dynamic", beta=5.0)
    found = TripletLoss(config, CORPUS).margins(batch([0, 1, 2]))
    e = np.exp
    assert found[1, 0].item() == pytest.approx(0.4 * (e(5) - e(1.25)) / (e(5) - 1), rel=1e-5)
    assert (found[1, 2].item(), found[1, 1].item()) == pytest.approx((0.4, 0.0))


@pytest.mark.parametrize("negatives", ["hardest", "most-similar", "all"])
def test_the_loss_has_these_margins_and_negatives(negatives):
    config = TripletConfig(margin=0.4, margin_type="dynamic", negatives=negatives)
    loss, pairs = TripletLoss(config, CORPUS), batch([0, 1, 2])
    expected = triplet_loss(SCORES, pairs.positives, loss.margins(pairs), negatives)
    assert loss(SCORES, pairs) == expected
    fixed = TripletLoss(TripletConfig(margin=0.4, negatives=negatives), CORPUS)
    assert fixed(SCORES, pairs) == triplet_loss(SCORES, pairs.positives, 0.4, negatives) > expected


def test_all_negatives_come_first():
    loss = TripletLoss(TripletConfig(all_negatives_epochs=2), CORPUS)
    found = [loss(SCORES, batch([0, 1, 2], epoch)).item() for epoch in (0, 1, 2)]
    kinds = [triplet_loss(SCORES, same(torch.arange(3)), 0.2, kind).item() for kind in ("all", "all", "hardest")]
    assert found == kinds
    assert kinds[0] != kinds[2]


def test_stored_and_computed_similarity_train_alike(tmp_path):
    captions = CaptionSet.of(CORPUS.captions, CORPUS.image_of)
    for name in ("bleu-4", "meteor"):
        write_matrix(name, captions, tmp_path / f"{name}.npy")
    config = TripletConfig(margin=0.4, margin_type="dynamic", beta=3.0)
    computed, stored = (TripletLoss(config, CORPUS._replace(similarity=folder)) for folder in (None, tmp_path))
    for captions_of_batch in ([0, 1, 2], [3, 1, 0]):
        assert torch.equal(*(loss.margins(batch(captions_of_batch)) for loss in (computed, stored)))


def test_a_fixed_margin_asks_for_no_similarity(monkeypatch):
    monkeypatch.setattr(margin, "measure", lambda *_, **__: pytest.fail("a fixed margin has no similarity"))
    assert torch.isfinite(TripletLoss(TripletConfig(), CORPUS)(SCORES, batch([0, 1, 2])))
