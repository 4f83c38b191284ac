"""``rsitr peder``: the study of CLIP alone, of cells and of images and captions of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from rsitr.cli.common import CellArgument, Commands, DatasetOption, SeedOption, asked, cell_id, show
from rsitr.errors import ParamsError, RecordError, WeightsUnavailable
from rsitr.params import load_params
from rsitr.pipeline.specs import check_cell, spec_of
from rsitr.records.paths import Paths

peder = Commands(help="CLIP alone for both directions (S. Dinesh Krishnan et al., 2025).", no_args_is_help=True)


@peder.command("failures")
def peder_failures(cell: CellArgument) -> None:
    """The queries that a measured cell answers worst, with the words of their captions."""
    from rsitr.retrieval.failures import FIELDS, in_words, read_failures
    from rsitr.stages.setup import load_data

    wanted, params = cell_id(cell), load_params()
    check_cell(params, wanted)
    listed = Paths.study(wanted) / "failures.csv"
    if not listed.is_file():
        raise RecordError(f"{wanted.path} has not been measured: run `snakemake --cores 2 {listed}` first")
    split = load_data(spec_of(params, wanted)).splits["test"]
    table = Table(*FIELDS, title=wanted.path)
    for failure in read_failures(listed):
        table.add_row(*(escape(in_words(failure, split)[field]) for field in FIELDS))
    show(table)


@peder.command("probabilities")
def peder_probabilities(
    image: Annotated[list[Path], typer.Option(help="An image of any size; may be given several times.")],
    text: Annotated[list[str], typer.Option(help="A caption; may be given several times.")],
    method: Annotated[
        list[str] | None, typer.Option(help="A CLIP; several times. Default: clip@rn50, clip, clip@vit-l-14.")
    ] = None,
    experiment: Annotated[
        str | None, typer.Option(help="Whose settings, of params.yaml. Default: the chosen one.")
    ] = None,
    dataset: DatasetOption = None,
    seed: SeedOption = 0,
) -> None:
    """How probable each CLIP takes each caption for each image, and each image for each caption, in percent.

    A CLIP that is not trained needs its weights alone, any other a trained cell.
    """
    from rsitr.examples.panels import picture
    from rsitr.stages.clip_probabilities import Asked, Probabilities, probabilities, ready

    pictures = [picture(path) for path in image]
    found: dict[str, Probabilities] = {}
    clip: Asked | None = None
    for name in method or ("clip@rn50", "clip", "clip@vit-l-14"):
        params, cell = asked(name, experiment, dataset, seed)
        check_cell(params, cell)
        try:
            clip = ready(spec_of(params, cell), clip and clip.device)
        except WeightsUnavailable as error:
            print(f"{name}: {error}")
            continue
        found[f"{name} ({clip.architecture})"] = probabilities(clip, pictures, text)
    if not found:
        raise ParamsError("no CLIP can be asked: see what each of them misses")
    for title, side in (("captions for an image", "of_captions"), ("images for a caption", "of_images")):
        table = Table("image", "caption", *found, title=f"Probability of {title}, in percent")
        for place, path in enumerate(image):
            for other, caption in enumerate(text):
                values = (f"{100 * getattr(each, side)[place, other]:.1f}" for each in found.values())
                table.add_row(escape(path.name), escape(caption), *values)
        show(table)
