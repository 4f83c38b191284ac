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
from rsitr.needs import example_cells, mtgfe_cells, pir_cells
from rsitr.params import CellId, load_params


class Paper(StrEnum):
    """A paper whose figures are drawn anew."""

    amfmn = "amfmn"
    pir = "pir"
    mtgfe = "mtgfe"


CELLS = {Paper.amfmn: example_cells, Paper.pir: pir_cells, Paper.mtgfe: mtgfe_cells}
SHOWN = {Paper.amfmn: "amfmn-sim", Paper.pir: "pir-itr-soft or pir-itr-hard", Paper.mtgfe: "mtgfe"}
"""Which method the pictures of a paper are of."""


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
    beliefs, ranked images and captions. mtgfe: what the words of a caption look at in its image.
    """
    params = load_params()
    experiment = experiment or params.experiment
    cells = CELLS[paper](params, experiment)
    if not cells:
        raise ParamsError(f"the pictures are of {SHOWN[paper]}: add it to the matrix of {experiment}")
    specs = {label: pipeline.trained(params, cell) for label, cell in cells.items()}
    out = Layout.tables(experiment)
    if paper is Paper.amfmn:
        from rsitr.examples.amfmn import build

        main = cells["sentence"]
    elif paper is Paper.pir:
        from rsitr.examples.pir import build

        main = list(cells.values())[-1]
    else:
        from rsitr.examples.mtgfe import build

        main = next(iter(cells.values()))
    title = main.dataset if paper is Paper.mtgfe else f"{main.method} on {main.dataset}"
    for path in build(specs, title, out):
        print(path)


@reported
def attention(
    image: Annotated[Path, typer.Option(help="PNG, JPEG or TIFF, of the size of a retrieved image.")],
    text: Annotated[str, typer.Option(help="A caption of it.")],
    method: Annotated[list[str] | None, typer.Option(help="A trained method; may be given several times.")] = None,
    dataset: Annotated[str | None, typer.Option(help="What it was trained on [the experiment's first].")] = None,
    experiment: Annotated[str | None, typer.Option(help="Of params.yaml [the chosen one].")] = None,
    seed: Annotated[int, typer.Option(help="Of the training.")] = 0,
    out: Annotated[Path, typer.Option(help="The picture.")] = Path("results/attention.png"),
) -> None:
    """Draw what each word of a caption looks at in an image (MTGFE, Figs. 6 and 7)."""
    from rsitr.examples.attention import picture, read
    from rsitr.figures import word_attention
    from rsitr.trained import Trained

    params = load_params()
    experiment = experiment or params.experiment
    place = dataset or params[experiment].datasets[0]
    pixels = picture(image)
    readings = []
    for name in method or ["mtgfe"]:
        model = Trained(pipeline.trained(params, CellId(experiment, place, name, seed)))
        readings.append(read(model, name, pixels, text))
    print(word_attention.draw(f"What words look at, trained on {place}: {text}", readings, out))
