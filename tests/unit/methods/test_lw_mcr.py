"""LW-MCR as a whole: which maps it reads, what it weighs, what its loss is made of."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rsitr.errors import ParamsError
from rsitr.methods.base import Corpus
from rsitr.methods.lw_mcr import LWMCR, LWMCRConfig
from rsitr.methods.lw_mcr_blocks import SqueezeNet
from rsitr.nn.losses import distillation_loss, triplet_loss
from rsitr.nn.seeds import seeded
from tests.helpers.batches import batch as make_batch
from tests.helpers.batches import same

CAPTIONS = ["a red dot on white ground", "a green bar", "two trees"]
CORPUS = Corpus(CAPTIONS, np.array([0, 1, 2]))
SMALL = {"image_backbone": "test_resnet", "image_weights": "none", "image_size": 64, "width": 16, "word_size": 8}


def build(**settings):
    with seeded(0):
        return LWMCR.build(LWMCRConfig(**settings), CORPUS)


def test_the_default_is_the_released_model():
    method = build(image_weights="none").eval()
    assert isinstance(method.backbone, SqueezeNet)
    assert method.pixels.size == 256
    assert [tuple(layer.weight.shape) for layer in method.text.convolutions] == [(100, 300, k) for k in (3, 4, 5)]
    # 722,496 of SqueezeNet, its 1,000-way classifier left out.
    assert sum(p.numel() for p in method.backbone.parameters()) == 722_496
    with torch.inference_mode():
        assert method.encode_images(torch.rand(2, 3, 256, 256)).shape == (2, 512)
        assert method.encode_texts(method.tokenize(CAPTIONS)).shape == (3, 512)


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_the_low_map_is_the_one_before_the_last_two_levels(levels):
    """Further levels are packed and not read: 64 px at strides 8 and 32."""
    method = build(**SMALL, low_levels=levels).eval()
    seen = []
    method.image_head.register_forward_pre_hook(lambda module, maps: seen.append([tuple(m.shape) for m in maps]))
    with torch.inference_mode():
        found = method.encode_images(torch.rand(2, 3, 64, 64))
    assert seen == [[(2, 48, 8, 8), (2, 96, 2, 2)]]
    torch.testing.assert_close(found.norm(dim=1), torch.ones(2))


@pytest.mark.parametrize("teacher", ["", "vse"])
def test_the_loss_adds_the_divergence_from_the_teacher(teacher):
    settings = {"teacher": teacher, "distillation": 3.0, "distillation_temperature": 0.5, "margin": 0.3}
    method = build(**SMALL, **settings).eval()
    images, tokens, given = torch.rand(3, 3, 64, 64), method.tokenize(CAPTIONS), torch.rand(3, 3)
    with torch.inference_mode():
        found = method.loss(make_batch(images, tokens, torch.arange(3), torch.arange(3), 0, given))
        scores = method.encode_images(images) @ method.encode_texts(tokens).t()
    expected = triplet_loss(scores, same(torch.arange(3)), 0.3, "all")
    if teacher:
        expected = expected + 3 * distillation_loss(scores, given, 0.5)
    torch.testing.assert_close(found, expected)
    assert ("scores of the teacher instead of its hidden layers" in method.departures) is bool(teacher)
    assert ("no training with unlabelled images" in method.departures) is bool(teacher)


def test_settings_of_another_backbone_are_refused():
    with pytest.raises(
        ParamsError, match="squeezenet1_1 takes image_weights torchvision, none or a file, and no image_op"
    ):
        build(image_weights="none", image_options={"pad_type": "same"})
    with pytest.raises(ParamsError, match="vit_tiny_patch16_224 has no feature maps of 3 levels: choose a ResNet"):
        build(**SMALL | {"image_backbone": "vit_tiny_patch16_224", "image_size": 224})
