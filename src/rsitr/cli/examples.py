"""``rsitr examples``: the pictures of the papers from trained cells."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from rsitr.cli.reported import reported
from rsitr.errors import ParamsError
from rsitr.params import load_params
from rsitr.pipeline.pictures import PAPERS
from rsitr.pipeline.run import checkpoint_of, trained
from rsitr.pipeline.specs import spec_of
from rsitr.records.paths import Paths


class Paper(StrEnum):
    """A paper whose figures are drawn again."""

    amfmn = "amfmn"
    pir = "pir"
    mtgfe = "mtgfe"
    peder = "peder"


@reported
def examples(
    experiment: Annotated[str | None, typer.Argument(help="Default: the one that params.yaml chooses.")] = None,
    paper: Annotated[Paper, typer.Option(help="Whose figures.")] = Paper.amfmn,
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
    outcomes = {label: checkpoint_of(spec_of(params, cell)).outcome for label, cell in cells.items()}
    out, first, last = Paths.tables(experiment), next(iter(cells.values())), list(cells.values())[-1]
    if paper is Paper.peder:  # a model that is unavailable is a column with the reason, not an error
        from rsitr.examples import peder

        specs = {label: spec_of(params, cell) for label, cell in cells.items()}
        written = peder.build(specs, outcomes, first.dataset, out)
    else:
        specs = {label: trained(params, cell) for label, cell in cells.items()}
        if paper is Paper.amfmn:
            from rsitr.examples import amfmn

            written = amfmn.build(specs, f"{first.method} on {first.dataset}", out)
        elif paper is Paper.pir:
            from rsitr.examples import pir

            written = pir.build(specs, f"{last.method} on {last.dataset}", out)
        else:
            from rsitr.examples import mtgfe

            written = mtgfe.build(specs, first.dataset, out)
    for path in written:
        print(path)
