"""``rsitr examples``: the pictures of the papers from trained cells."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated, Literal

import typer

from rsitr.cli.common import ExperimentArgument
from rsitr.errors import ParamsError
from rsitr.params import load_params
from rsitr.pipeline.pictures import PAPERS
from rsitr.pipeline.run import checkpoint_of, trained
from rsitr.pipeline.specs import spec_of
from rsitr.records.paths import Paths


def examples(
    experiment: ExperimentArgument = None,
    paper: Annotated[Literal["amfmn", "pir", "mtgfe", "peder"], typer.Option(help="Whose figures.")] = "amfmn",
) -> None:
    """Draw the pictures of a paper from trained cells.

    amfmn: salient masks, ranked images, captions located in a scene. pir: the common space of images and texts,
    beliefs, ranked images and captions. mtgfe: what the words of a caption look at in its image. peder: the common
    space of CLIP, probabilities of captions.
    """
    params = load_params()
    experiment = experiment or params.experiment
    pictures = PAPERS[paper]
    cells = pictures.cells(params, experiment)
    if not cells:
        raise ParamsError(f"the pictures are of {pictures.needed}: add it to the matrix of {experiment}")
    first, last = next(iter(cells.values())), list(cells.values())[-1]
    module = import_module(f"rsitr.examples.{paper}")
    if paper == "peder":  # a model that is unavailable is a column with the reason, not an error
        specs = {label: spec_of(params, cell) for label, cell in cells.items()}
        outcomes = {label: checkpoint_of(spec).outcome for label, spec in specs.items()}
        written = module.build(specs, outcomes, first.dataset, Paths.tables(experiment))
    else:
        titles = {"amfmn": f"{first.method} on {first.dataset}", "pir": f"{last.method} on {last.dataset}"}
        specs = {label: trained(params, cell) for label, cell in cells.items()}
        written = module.build(specs, titles.get(paper, first.dataset), Paths.tables(experiment))
    for path in written:
        print(path)
