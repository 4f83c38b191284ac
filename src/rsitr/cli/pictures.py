"""What trained cells are asked and show: where in a scene a text is, what its words look at, pictures of the papers."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Annotated, Literal

import typer

from rsitr.cli.common import (
    BandsOption,
    DatasetOption,
    ExperimentArgument,
    ExperimentOption,
    NodataOption,
    SeedOption,
    asked,
    numbers_of,
)
from rsitr.errors import ParamsError
from rsitr.params import load_params
from rsitr.pipeline.pictures import PAPERS
from rsitr.pipeline.run import checkpoint_of, trained
from rsitr.pipeline.specs import spec_of
from rsitr.records.paths import Paths


def locate(
    image: Annotated[Path, typer.Option(help="The scene: GeoTIFF, TIFF, PNG, JPEG, of any size.")],
    text: Annotated[list[str], typer.Option(help="What to look for; may be given several times.")],
    method: Annotated[str, typer.Option(help="A trained method.")] = "amfmn-sim",
    dataset: DatasetOption = None,
    experiment: ExperimentOption = None,
    seed: SeedOption = 0,
    bands: BandsOption = "",
    nodata: NodataOption = None,
    sizes: Annotated[
        list[int] | None, typer.Option(help="Sides of the windows in pixels. Default: 256 128 512.")
    ] = None,
    median: Annotated[
        int | None, typer.Option(help="Side of the median filter in pixels, 251 by default; 0 for none.")
    ] = None,
    places: Annotated[int | None, typer.Option(help="Best places of each text, at most. Default: 10.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for what is found.")] = Path("results/located"),
) -> None:
    """Find where texts are in a scene: a georeferenced map, a picture and the best places (AMFMN, section V-H)."""
    from rsitr.localisation.heatmap import MEDIAN
    from rsitr.localisation.locate import checked, run
    from rsitr.localisation.places import PLACES
    from rsitr.localisation.scene import Scene
    from rsitr.localisation.windows import SIZES
    from rsitr.stages.model import Trained

    texts, chosen = checked(text), numbers_of(bands)
    with Scene(image, bands=chosen, nodata=nodata) as scene:
        score = Trained(trained(*asked(method, experiment, dataset, seed))).scorer(texts)
        for note in scene.notes:
            print(note)
        median = MEDIAN if median is None else median
        places = PLACES if places is None else places
        for found in run(scene, texts, score, out, sizes=sizes or SIZES, median=median, places=places):
            print(f"{found.query}: mean scores from {found.lowest:.3f} to {found.highest:.3f}")
            for place in found.places[:1]:
                where = f"at column {place.column}, row {place.row}, {place.width} x {place.height} pixels"
                print(f"  best place of {len(found.places)}: {place.score:.3f} {where}")
            if found.lost:
                print(f"  {found.lost} of {len(found.places)} places are off the Earth: the GeoJSON leaves them out")
            print("  " + ", ".join(str(path) for path in (found.geotiff, found.overlay, found.geojson) if path))


def attention(
    image: Annotated[Path, typer.Option(help="PNG, JPEG or TIFF, of the size of a retrieved image.")],
    text: Annotated[str, typer.Option(help="A caption of it.")],
    method: Annotated[list[str] | None, typer.Option(help="A trained method; may be given several times.")] = None,
    dataset: DatasetOption = None,
    experiment: ExperimentOption = None,
    seed: SeedOption = 0,
    out: Annotated[Path, typer.Option(help="The picture.")] = Path("results/attention.png"),
) -> None:
    """Draw what each word of a caption looks at in an image (MTGFE, Figs. 6 and 7)."""
    from rsitr.examples.mtgfe import read
    from rsitr.examples.panels import picture
    from rsitr.figures import word_attention
    from rsitr.stages.model import Trained

    pixels, readings = picture(image), []
    for name in method or ["mtgfe"]:
        params, cell = asked(name, experiment, dataset, seed)
        readings.append(read(Trained(trained(params, cell)), name, pixels, text))
    print(word_attention.draw(f"What words look at, trained on {cell.dataset}: {text}", readings, out))


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
