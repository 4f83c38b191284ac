"""What trained cells are asked: where in a large scene a text is, and the pictures of the papers."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from rsitr import pipeline
from rsitr.cells import Layout
from rsitr.cli.reported import reported
from rsitr.errors import ParamsError
from rsitr.needs import example_cells, peder_shown, pir_cells
from rsitr.params import CellId, load_params


class Paper(StrEnum):
    """A paper whose figures are drawn anew."""

    amfmn = "amfmn"
    pir = "pir"
    peder = "peder"


# Of each paper: the cells that its pictures are of, and the method that the matrix has to have for them.
DRAWN = {
    Paper.amfmn: (example_cells, "amfmn-sim"),
    Paper.pir: (pir_cells, "pir-itr-soft or pir-itr-hard"),
    Paper.peder: (peder_shown, "clip or clip-ft"),
}


@reported
def locate(
    image: Annotated[Path, typer.Option(help="The scene: GeoTIFF, TIFF, PNG, JPEG, of any size.")],
    text: Annotated[list[str], typer.Option(help="What to look for; may be given several times.")],
    method: Annotated[str, typer.Option(help="A trained method.")] = "amfmn-sim",
    dataset: Annotated[str | None, typer.Option(help="What it was trained on [the experiment's first].")] = None,
    experiment: Annotated[str | None, typer.Option(help="Of params.yaml [the chosen one].")] = None,
    seed: Annotated[int, typer.Option(help="Of the training.")] = 0,
    sizes: Annotated[list[int] | None, typer.Option(help="Sides of the windows in pixels [256 128 512].")] = None,
    median: Annotated[int | None, typer.Option(help="Side of the median filter in pixels [251]; 1 for none.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for what is found.")] = Path("results/located"),
) -> None:
    """Find where texts are in a scene: a georeferenced map of scores and a picture for each (AMFMN, section V-H)."""
    from rsitr.localisation.heatmap import MEDIAN
    from rsitr.localisation.locate import run
    from rsitr.localisation.windows import SIZES
    from rsitr.trained import Trained

    params = load_params()
    experiment = experiment or params.experiment
    cell = CellId(experiment, dataset or params[experiment].datasets[0], method, seed)
    score = Trained(pipeline.trained(params, cell)).scorer(text)
    for found in run(image, text, score, out, sizes=sizes or SIZES, median=median or MEDIAN):
        print(f"{found.query}: {found.lowest:.3f} to {found.highest:.3f}, {found.geotiff}, {found.overlay}")


@reported
def examples(
    experiment: Annotated[str | None, typer.Argument(help="Default: the one that params.yaml chooses.")] = None,
    paper: Annotated[Paper, typer.Option(help="Whose figures.")] = Paper.amfmn,
) -> None:
    """Draw the pictures of a paper from trained cells.

    amfmn: salient masks, ranked images, captions located in a scene. pir: the common space of images and texts,
    beliefs, ranked images and captions. peder: the common space of CLIP, probabilities of captions.
    """
    params = load_params()
    experiment = experiment or params.experiment
    find, needed = DRAWN[paper]
    cells = find(params, experiment)
    if not cells:
        raise ParamsError(f"the pictures are of {needed}: add it to the matrix of {experiment}")
    out, last = Layout.tables(experiment), list(cells.values())[-1]
    if paper is Paper.peder:
        from rsitr.examples import peder

        outcomes = {label: pipeline.read_report(cell).outcome for label, cell in cells.items()}
        of_cells = {label: pipeline.spec_of(params, cell) for label, cell in cells.items()}
        written = peder.build(of_cells, outcomes, last.dataset, out)
    else:
        specs = {label: pipeline.trained(params, cell) for label, cell in cells.items()}
        if paper is Paper.amfmn:
            from rsitr.examples import amfmn

            title = f"{cells['sentence'].method} on {cells['sentence'].dataset}"
            written = amfmn.build(specs, title, out)
        else:
            from rsitr.examples import pir

            written = pir.build(specs, f"{last.method} on {last.dataset}", out)
    for path in written:
        print(path)
