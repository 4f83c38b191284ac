"""PIR-ITR: what each of its parts changes, where its classes come from, half precision and padding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from rsitr.errors import ParamsError, Unsupported
from rsitr.methods import get_method
from rsitr.methods.base import Batch, Corpus
from rsitr.methods.configure import configure
from rsitr.methods.pir import PIR
from rsitr.methods.pir_blocks import InstructedBackbone
from rsitr.nn.affiliation import affiliation_loss
from rsitr.nn.losses import contrastive_loss
from rsitr.nn.seeds import seeded
from tests.helpers.batches import batch as make_batch
from tests.helpers.batches import same

CAPTIONS = ["a red dot", "a green bar on ground", "a red bar", "a dot"]
CORPUS = Corpus(CAPTIONS, np.arange(4), None, ("a_1.png", "a_2.png", "17.png", "b_1.png"), ("a", "b", "a", "b"))
SMALL = {
    "image_backbone": "test_resnet",
    "image_weights": "none",
    "image_size": 96,  # 3 x 3 tokens
    "instruction_backbone": "test_resnet",
    "instruction_weights": "none",
    "width": 16,
    "heads": 2,
}


@pytest.fixture
def build(tiny_bert):
    def built(name: str = "pir-itr-hard", variant: str = "", corpus: Corpus = CORPUS, **settings: Any) -> Any:
        cls = get_method(name)
        fields = {key: value for key, value in SMALL.items() if key in cls.Config.model_fields}
        config = configure(cls, variant, fields | {"text_weights": str(tiny_bert)} | settings)
        with seeded(0):
            return cls.build(config, corpus).eval()

    return built


def pixels() -> Tensor:
    return torch.rand(4, 3, 96, 96, generator=torch.Generator().manual_seed(0))


def batch_of(method: PIR) -> Batch:
    return make_batch(pixels(), method.tokenize(CAPTIONS), torch.arange(4), torch.arange(4), epoch=0)


@torch.no_grad()
def test_the_image_is_its_whole_and_what_spatial_pae_makes_of_the_believed_tokens(build) -> None:
    method = build(keep=4)
    tokens, instruction = method.backbone.unpack(method.backbone(pixels()))
    assert tokens.shape == (4, 9, 96)
    sequence = method.image_head(torch.cat([tokens.mean(1, keepdim=True), tokens], 1))
    g = method.instruction_head(instruction)
    order = torch.einsum("bnd,bd->bn", sequence, g).argsort(1, descending=True)
    chosen = torch.stack([part[places[:4]] for part, places in zip(sequence, order, strict=True)])
    expected = F.normalize(method.image_head(tokens.mean(1)) + method.spatial(chosen, g), dim=1)
    torch.testing.assert_close(method.encode_images(pixels()), expected)


@torch.no_grad()
def test_the_filter_size_counts_up_to_the_number_of_tokens(build) -> None:
    few, all_of_them, more = (build(keep=keep).encode_images(pixels()) for keep in (3, 10, 40))
    assert not torch.allclose(few, all_of_them)
    assert torch.equal(all_of_them, more)


@torch.no_grad()
def test_the_methods_differ_in_their_belief_alone(build) -> None:
    hard, soft = build(), build("pir-itr-soft")
    assert hard.state_dict().keys() == soft.state_dict().keys()
    soft.load_state_dict(hard.state_dict())
    assert not torch.allclose(hard.encode_images(pixels()), soft.encode_images(pixels()))
    assert torch.equal(hard.encode_texts(hard.tokenize(CAPTIONS)), soft.encode_texts(soft.tokenize(CAPTIONS)))


@torch.no_grad()
def test_the_baseline_is_vse(build) -> None:
    method, vse = build(variant="baseline"), build("vse")
    assert method.state_dict().keys() == vse.state_dict().keys()
    vse.load_state_dict(method.state_dict())
    assert torch.equal(method.encode_images(pixels()), vse.encode_images(pixels()))
    assert torch.equal(method.encode_texts(method.tokenize(CAPTIONS)), vse.encode_texts(vse.tokenize(CAPTIONS)))
    torch.testing.assert_close(method.loss(batch_of(method)), vse.loss(batch_of(vse)))


@pytest.mark.parametrize(
    ("variant", "parts"),
    [
        ("baseline", set()),
        ("spatial", {"spatial", "instruction_head"}),
        ("temporal", {"temporal"}),
        ("affiliation", {"centre_temperature"}),
        ("spatial-temporal", {"spatial", "instruction_head", "temporal"}),
        ("spatial-affiliation", {"spatial", "instruction_head", "centre_temperature"}),
        ("temporal-affiliation", {"temporal", "centre_temperature"}),
        ("", {"spatial", "instruction_head", "temporal", "centre_temperature"}),
    ],
)
def test_a_variant_of_the_ablation_has_its_parts_and_no_others(build, variant: str, parts: set[str]) -> None:
    method = build(variant=variant)
    found = {name.split(".")[0] for name in method.state_dict()}
    assert found - {"backbone", "text", "image_head", "text_head", "temperature"} == parts
    # Without S-PAE nothing asks for an instruction, and the cached tokens are those of ``vse``.
    assert isinstance(method.backbone, InstructedBackbone) == ("spatial" in parts)


@torch.no_grad()
def test_the_loss_adds_the_affiliation_loss_with_its_weight(build) -> None:
    method = build(affiliation=0.3)
    batch = batch_of(method)
    images, texts = method.encode_images(batch.images), method.encode_texts(batch.tokens)
    temperature = torch.tensor(0.07)
    expected = contrastive_loss(images @ texts.t(), same(batch.image_ids), temperature)
    expected = expected + 0.3 * affiliation_loss(images, texts, torch.tensor([0, 1, 0, 1]), temperature)
    torch.testing.assert_close(method.loss(batch), expected)


def test_classes_are_those_of_the_dataset_or_of_the_names(build) -> None:
    assert build().classes.tolist() == [0, 1, 0, 1]
    assert build(labels="prefix").classes.tolist() == [0, 0, 1, 2]
    assert "classes" not in build().state_dict()


def test_a_dataset_without_classes_is_not_supported_as_long_as_they_are_needed(build) -> None:
    bare = CORPUS._replace(classes=("", "", "", ""))
    with pytest.raises(Unsupported, match="no scene classes: set labels to prefix, or affiliation to 0"):
        build(corpus=bare)
    build(corpus=bare, labels="prefix")
    build(corpus=bare, affiliation=0.0)


@pytest.mark.parametrize("text_encoder", ["transformer", "gru"])
@torch.no_grad()
def test_a_text_does_not_depend_on_the_padding_of_its_batch(build, text_encoder: str) -> None:
    method = build(text_encoder=text_encoder, word_size=8, text_width=16)
    together = method.encode_texts(method.tokenize(CAPTIONS))
    alone = torch.cat([method.encode_texts(method.tokenize([caption])) for caption in CAPTIONS])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["pir-itr-hard", "pir-itr-soft"])
def test_half_precision(build, name: str) -> None:
    method = build(name)
    batch = batch_of(method)
    whole = method.loss(batch)
    with torch.autocast("cpu", torch.bfloat16):
        half = method.loss(batch)
    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(whole.item(), rel=0.05)
    half.backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in method.parameters() if parameter.grad is not None)


@torch.no_grad()
def test_saliency_is_the_belief_in_each_cell(build) -> None:
    method = build()
    found = method.saliency(pixels())
    tokens, instruction = method.instructed(pixels())
    belief = torch.einsum("bnd,bd->bn", tokens[:, 1:], instruction)
    assert found.shape == (4, 3, 3)
    assert torch.equal(found.flatten(1).argsort(1), belief.argsort(1))
    torch.testing.assert_close(found.amax((1, 2)), torch.ones(4))


def test_what_the_instruction_departs_in_is_stated(build) -> None:
    without = {*build(variant="temporal").departures}
    assert {*build().departures} - without == {
        "random instruction encoder",
        "pixel statistics of the instruction encoder's own, not CLIP's",
        "one dropout of attention weights for all places of Spatial-PAE",
        "classes as the dataset states them; the authors read them from file names",
    }
    # Stated of the paper's own encoder alone.
    wide = {*build(instruction_backbone="resnet50").departures} - {*build().departures}
    assert wide == {"instructions of 2,048 numbers; section V-C says 1,024"}
    assert "the temperature learned as a logarithm" in {*build(temperature_form="logarithm").departures} - without
    assert configure(get_method("pir-itr-soft"), "random-prior", {}).instruction_weights == "none"


def test_width_and_heads_must_fit(build) -> None:
    with pytest.raises(ParamsError, match="a width of 16 cannot be split among 3 heads"):
        build(heads=3)
