"""``rsitr examples``: the pictures of the papers from trained cells."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from rsitr import pipeline
from rsitr.cells import Layout
from rsitr.cli.reported import reported
from rsitr.errors import ParamsError
from rsitr.needs import example_cells, mtgfe_cells, peder_shown, pir_cells
from rsitr.params import load_params


class Paper(StrEnum):
    """A paper whose figures are drawn anew."""

    amfmn = "amfmn"
    pir = "pir"
    mtgfe = "mtgfe"
    peder = "peder"


# Of each paper: the cells that its pictures are of, and the method that the matrix has to have for them.
DRAWN = {
    Paper.amfmn: (example_cells, "amfmn-sim"),
    Paper.pir: (pir_cells, "pir-itr-soft or pir-itr-hard"),
    Paper.mtgfe: (mtgfe_cells, "mtgfe"),
    Paper.peder: (peder_shown, "clip or clip-ft"),
}


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
    find, needed = DRAWN[paper]
    cells = find(params, experiment)
    if not cells:
        raise ParamsError(f"the pictures are of {needed}: add it to the matrix of {experiment}")
    for cell in cells.values():
        pipeline.check_checkpoint(pipeline.spec_of(params, cell))
    out, first, last = Layout.tables(experiment), next(iter(cells.values())), list(cells.values())[-1]
    if paper is Paper.peder:  # a model that is not to be had is a column with the reason, not an error
        from rsitr.examples import peder

        outcomes = {label: pipeline.read_report(cell).outcome for label, cell in cells.items()}
        written = peder.build(
            {label: pipeline.spec_of(params, cell) for label, cell in cells.items()}, outcomes, first.dataset, out
        )
    else:
        specs = {label: pipeline.trained(params, cell) for label, cell in cells.items()}
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
