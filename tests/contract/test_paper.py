"""The experiment `paper` of params.yaml: nothing that was published is left out of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rsitr.examples.peder import PRINTED
from rsitr.methods import get_method, registry
from rsitr.methods.configure import changed_settings, configure
from rsitr.nn.instructed_vit import InstructedViT
from rsitr.nn.modified_resnet import ModifiedResNet
from rsitr.params import Params, load_params
from rsitr.params.ids import NamedId
from rsitr.pipeline.inputs import study_cells
from rsitr.pipeline.specs import pretraining_spec
from rsitr.records.pretraining import Instruction
from rsitr.stages.stand_ins import clip_of
from rsitr.tables.published import lookup

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def params() -> Params:
    return load_params(ROOT / "params.yaml")


@pytest.mark.parametrize("name", sorted(registry()))
def test_every_published_configuration_is_in_the_matrix(name, params):
    matrix = {(cell.dataset, cell.method) for cell in params.cells("paper")}
    wanted = {
        (dataset, f"{name}@{variant}" if variant else name)
        for variant, row in get_method(name).published.items()
        for dataset in params["paper"].datasets
        if lookup(row, dataset)
    }
    assert wanted <= matrix


@pytest.mark.parametrize(
    ("dataset", "method", "field", "value"),
    [
        ("rsitmd", "hvsa", "learning_rate", 5e-4),
        ("rsicd", "hvsa", "learning_rate", 1e-3),
        ("rsitmd", "galr", "epochs", 20),
        ("rsicd", "galr", "epochs", 70),
        ("rsitmd", "galr@released", "epochs", 20),
        ("rsitmd", "georsclip-ft", "warmup", 0.4),
        ("rsicd", "georsclip-ft", "warmup", 0.2),
        ("rsitmd", "amfmn-sim", "learning_rate", 1e-4),
    ],
)
def test_a_cell_has_the_settings_that_its_authors_have_for_the_dataset(dataset, method, field, value, params):
    cell = next(cell for cell in params.cells("paper") if (cell.dataset, cell.method) == (dataset, method))
    cls = get_method(cell.method_name)
    overlay = params.overlay(cell, cls.Config.model_fields)
    config = configure(cls, cell.variant, overlay, dataset)
    assert getattr(config, field) == value
    assert changed_settings(cls, cell.variant, config, dataset) == []


def test_the_study_of_clip_asks_both_families_that_its_models_may_be_of(params):
    """Its Fig. 4.1 has ViT-L-14, RN50 and ViT-B-32, without saying whose weights."""
    models = {}
    for cell in study_cells(params, "paper"):
        cls = get_method(cell.method_name)
        if not cls.trainable:
            config = configure(cls, cell.variant, {}, cell.dataset)
            models.setdefault((cell.dataset, cell.method_name), set()).add(config.model)
    architectures = {f"{name}-quickgelu" for name in PRINTED}
    assert models == {(data, name): architectures for data in ("rsitmd", "rsicd") for name in ("clip", "remoteclip")}


def test_stage_one_of_pir_clip_is_as_published(params):
    """Section V-C: 20 epochs of 1,000,000 samples, batch 256. The authors' code: betas, a warm-up of 10,000 steps."""
    for name, belief in (("pir-clip", "paper"), ("pir-clip-released", "released")):
        spec = pretraining_spec(params, NamedId("paper", name))
        settings = spec.settings
        assert (settings.epochs, settings.samples_per_epoch, settings.batch_size) == (20, 1_000_000, 256)
        steps = settings.epochs * (settings.samples_per_epoch // settings.batch_size)
        assert int(settings.warmup * steps) == pytest.approx(10_000, rel=1e-3)
        assert (settings.betas, settings.clip_norm, settings.belief) == ((0.9, 0.999), None, belief)
        assert spec.shards == ("data/raw/rs5m/*-train-*.tar",)
        assert spec.prior is not None
        assert spec.prior.place == "paper/modified-resnet50-aid"


def test_the_prior_of_pir_clip_has_the_names_and_shapes_of_its_instruction_encoder(params):
    """And the whole model the 189 M parameters that PIR's Table II prints."""
    settings = params.prior(NamedId("paper", "modified-resnet50-aid")).settings
    with torch.device("meta"):
        prior = ModifiedResNet(settings.image_size, **settings.image_options)
        clip = clip_of("ViT-B-32")
        clip.visual = InstructedViT(clip.visual, Instruction())
    ours = {name: value.shape for name, value in prior.state_dict().items()}
    assert ours == {name: value.shape for name, value in clip.visual.instruction.state_dict().items()}
    assert round(sum(parameter.numel() for parameter in clip.parameters()) / 1e6) == 189
