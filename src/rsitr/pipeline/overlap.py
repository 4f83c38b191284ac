"""What of the test sets of an experiment is nearly in what its cells are trained on: their data and their priors'."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rsitr.errors import DatasetError, Unsupported
from rsitr.params import Params
from rsitr.pipeline.inputs import priors
from rsitr.pipeline.specs import prior_spec
from rsitr.records.paths import Paths

if TYPE_CHECKING:
    from rsitr.tables.entries import Overlaps


def built(datasets: Sequence[str]) -> dict[str, Path]:
    """The canonical tables that are here."""
    paths = {name: Paths.dataset(name) for name in datasets}
    return {name: path for name, path in paths.items() if path.is_file()}


def found_near_duplicates(params: Params, experiment: str) -> dict[tuple[str, str], Path]:
    """The tables of near duplicates that are here."""
    paths = {pair: Paths.near_duplicates(*pair) for pair in params[experiment].compared}
    return {pair: path for pair, path in paths.items() if path.is_file()}


def training_overlaps(params: Params, experiment: str) -> Overlaps:
    """How many test images have a near duplicate in what is trained on, and of how many; None where not known.

    By dataset for its own training split, and by dataset and prior for the images that the prior learns from.
    """
    from rsitr.dedup.leakage import leaks, leaks_of
    from rsitr.dedup.prior_images import select

    datasets, near_duplicates = params[experiment].datasets, found_near_duplicates(params, experiment)
    clean = {name: Paths.clean(name, params[experiment].dedup) for name in datasets}
    clean = {name: path for name, path in clean.items() if path.is_file()}
    tables = built([*datasets, *params[experiment].sources]) | clean
    trained = leaks(tables, near_duplicates, "copies")
    found: dict[str | tuple[str, str], tuple[int, int] | None] = {
        name: trained.get(name) if name in clean else None for name in datasets
    }
    for prior in priors(params, experiment):
        try:
            images = [image[:2] for image in select(prior_spec(params, prior)).train]
            seen = leaks_of(images, tables, near_duplicates, "copies")
        except (DatasetError, Unsupported):
            seen = {}  # a prior that cannot be trained has seen nothing, and what it would see is not known
        found |= {(name, prior.path): seen.get(name) for name in datasets}
    return found
