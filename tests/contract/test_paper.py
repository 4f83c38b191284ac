"""The experiment `paper` of params.yaml: nothing that was published is left out of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from rsitr.examples.peder import PRINTED
from rsitr.methods import get_method, registry
from rsitr.methods.configure import changed_settings, configure
from rsitr.params import Params, load_params
from rsitr.pipeline.inputs import study_cells
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
