"""CAMP's stages: which score each trains and evaluates, and what it may change."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from rsitr.methods import get_method
from rsitr.methods.base import Corpus
from rsitr.methods.configure import configure
from rsitr.nn.losses import matching_loss, triplet_loss
from rsitr.nn.seeds import seeded
from rsitr.params import REPLACED_BY_PHASES
from tests.helpers.batches import batch as make_batch

CAPTIONS = ["a red dot on white ground", "a green bar", "two trees", "a red dot"]
CORPUS = Corpus(CAPTIONS, np.array([0, 1, 2, 2]))
STAGED = {
    "phases": [
        {"epochs": 2, "learning_rate": 0.01},
        {"epochs": 1, "learning_rate": 0.01, "learns": ["passing.fusion."], "from_best": True},
    ]
}


@pytest.fixture
def build(tiny_settings):
    small = {name: value for name, value in tiny_settings.items() if name not in REPLACED_BY_PHASES}
    small["image_size"] = 64

    def make(name="camp-bce", variant="", **settings):
        cls = get_method(name)
        with seeded(0):
            # 64 pixels are four regions.
            return cls.build(configure(cls, variant, small | settings), CORPUS)

    return make


def batch(method, epoch):
    with seeded(1):
        images = torch.rand(4, 3, method.pixels.size, method.pixels.size)
    return make_batch(images, method.tokenize(CAPTIONS), torch.from_numpy(CORPUS.image_of), torch.arange(4), epoch)


def test_the_first_of_several_phases_scores_by_cosine_and_the_others_by_the_fused_match(build):
    method = build(**STAGED).eval()
    for epoch, fuse in ((0, False), (1, False), (2, True)):
        pairs = batch(method, epoch)
        matches = method.matches(pairs)
        images, texts = method.encode_images(pairs.images), method.encode_texts(pairs.tokens)
        scores = method.passing(images, texts, fuse=fuse)
        torch.testing.assert_close(method.score(images, texts), scores)
        torch.testing.assert_close(matches, scores.sigmoid() if fuse else scores)


def test_without_phases_the_fused_match_is_all_there_is(build):
    method = build(phases=[])
    assert method.fuses
    method.loss(batch(method, 0)).backward()
    assert method.fuses
    assert method.passing.fusion.perceptron[2].weight.grad.any()
    assert method.passing.cosine.words.project.weight.grad is None


def test_the_checkpoint_knows_its_stage(build):
    trained, other = build(**STAGED), build(**STAGED)
    trained.loss(batch(trained, 2))
    other.load_learned_state(trained.learned_state())
    assert other.fuses


def test_each_stage_learns_what_it_should(build):
    """The attention does without the fusion; the gates are all of ``passing.fusion.`` and nothing else is."""
    method = build(**STAGED)
    names = {}
    for epoch in (0, 2):
        method.zero_grad()
        method.loss(batch(method, epoch)).backward()
        names[epoch] = {name for name, p in method.named_parameters() if p.grad is not None and p.grad.any()}
    assert {name.rsplit(".", 2)[0] for name in names[0] if name.startswith("passing.")} == {
        "passing.attention",
        "passing.cosine.regions",
        "passing.cosine.words",
    }
    fusion = {name for name, _ in method.named_parameters() if name.startswith("passing.fusion.")}
    assert fusion <= names[2]
    assert not any("cosine" in name for name in names[2])


def test_losses(build):
    """The same match, under binary cross-entropy and under a hinge."""
    bce, triplet = build("camp-bce", phases=[]).eval(), build("camp-triplet", phases=[], margin=0.3).eval()
    pairs = batch(bce, 0)
    matches = bce.matches(pairs)
    assert torch.equal(matches, triplet.matches(pairs))
    assert ((matches > 0) & (matches < 1)).all()
    assert bce.loss(pairs) == matching_loss(matches, pairs.positives, "hardest")
    assert triplet.loss(pairs) == triplet_loss(matches, pairs.positives, 0.3, "hardest")


@pytest.mark.parametrize("name", ["camp-bce", "camp-triplet"])
def test_single_tokens_are_the_pooled_features(name, build):
    method = build(name, "single-token").eval()
    pairs = batch(method, 0)
    regions, words = method.encode_images(pairs.images), method.encode_texts(pairs.tokens)
    grid, states = method.backbone(pairs.images), method.text(pairs.tokens)
    assert regions.shape == words.shape == (4, 1, 16)
    torch.testing.assert_close(regions[:, 0], F.linear(grid.mean(1), method.image_head.weight, method.image_head.bias))
    # "a green bar" has three words, of six places.
    torch.testing.assert_close(words[1, 0], states[1, :3].mean(0))
