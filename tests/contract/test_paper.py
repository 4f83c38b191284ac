"""The experiment `paper` of params.yaml: nothing that was published is left out of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from rsitr.methods import get_method, registry
from rsitr.params import Params, load_params
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
