"""The pictures and the probability table of the study of CLIP alone, from the cells of an experiment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rsitr.datasets.splits import SplitData, caption_name
from rsitr.errors import WeightsUnavailable
from rsitr.examples.panels import caption_of, different, draw_embeddings, encoded_test, first_caption, pixels_of
from rsitr.records.artefact import Outcome
from rsitr.records.cell import Spec
from rsitr.records.study import CLIP_ONLY, TWO_ENCODERS
from rsitr.stages.clip_probabilities import Asked, probabilities, ready
from rsitr.stages.encode import Encoded
from rsitr.stages.model import Trained
from rsitr.stages.setup import load_data, prepare
from rsitr.tables.layout import Cell, Group, Row, Table, labelled, noted, write_tables
from rsitr.tables.peder import PROBABILITIES_KEY, WHOSE
from rsitr.tables.published import lookup

IMAGES = 5
"""Images of different classes; all of them are shown with the first caption of each."""
CAPTIONS = (
    "A busy airport with many aeroplanes.",
    "Satellite view of Hohai University.",
    "Satellite view of Sydney.",
    "A building next to a lake.",
    "Many people in a stadium.",
)
"""Those of the study's Fig. 4.1, whose image shows an airport and is not public."""
AIRPORTS = ("airport", "airplane")
"""Classes whose images may be shown with the study's captions."""
PRINTED = ("ViT-L-14", "RN50", "ViT-B-32")
"""The study's columns."""
ABOUT = (
    "Probability in percent that each CLIP gives each of five captions for an image: softmax over the cosines divided "
    "by the model's temperature (A. Radford et al., 2021, section 3.1.2). Images: the first of their class among the "
    "test images; captions: the first of each of these images, IMAGE#1, with its class. Bold: the most probable one. "
    "✓: the image's own."
)
ABOUT_PRINTED = (
    "The study's captions, with its probabilities of an image that it does not name, and ours of the first test image "
    "of class {name}: another image, so that the numbers show whether models agree and are not to be compared. "
    f"{WHOSE} That notebook builds them with GELU; RemoteCLIP is built here with QuickGELU, as it was trained."
)
ONLY_PRINTED = (
    "The study's captions, with its probabilities of an image that it does not name. No test image of this dataset is "
    "of an airport."
)

Column = tuple[str, Asked | str]
"""A CLIP of the table: its head, ``clip@rn50 (RN50)``, and the model or why there is none."""


def build(specs: Mapping[str, Spec], outcomes: Mapping[str, Outcome], title: str, out: Path) -> list[Path]:
    """Write ``peder-probabilities`` in every format, ``peder-embeddings.png`` and ``.csv``.

    ``specs`` are cells of one dataset and seed by method, with how their training ended: one without a model has the
    reason in its column, and no panel.
    """
    first = next(iter(specs.values()))
    device, data = prepare(first), load_data(first)
    shown = data.splits["test"]
    clips = [(name, spec) for name, spec in specs.items() if spec.cell.method_name in CLIP_ONLY]
    columns = [_column(spec, outcomes[name], device) for name, spec in clips]
    tables = [_own_table(columns, shown, labelled(title, data.facts.synthetic))]
    if not data.facts.synthetic:
        tables.append(_printed_table(columns, shown))
    encoded = dict(_encoded(specs, outcomes, device))
    return [
        *write_tables(f"Probabilities of CLIP, {title}", tables, first.experiment, out / "peder-probabilities"),
        *draw_embeddings(encoded, shown, title, out / "peder-embeddings"),
    ]


def _column(spec: Spec, outcome: Outcome, device: str) -> Column:
    if outcome.status != "ok":
        return spec.method, f"{outcome.status}: {outcome.reason}"
    try:
        asked = ready(spec, device)
    except WeightsUnavailable as error:
        return spec.method, f"skipped: {error}"
    return f"{spec.method} ({asked.architecture})", asked


def _encoded(specs: Mapping[str, Spec], outcomes: Mapping[str, Outcome], device: str) -> Iterator[tuple[str, Encoded]]:
    """The test split as each model encodes it, the two encoders first."""
    for name in sorted(specs, key=lambda name: name != TWO_ENCODERS):
        if outcomes[name].status == "ok":
            try:
                yield name, encoded_test(Trained(specs[name], device))
            except WeightsUnavailable:
                continue


def _percentages(asked: Asked | str, image: npt.NDArray[np.uint8], captions: list[str]) -> list[Cell]:
    """A column's cells for one image."""
    if isinstance(asked, str):
        return [noted("NA", asked)] * len(captions)
    values = 100 * probabilities(asked, [image], captions).of_captions[0]
    return [Cell(f"{value:.1f}", place == int(values.argmax())) for place, value in enumerate(values)]


def _own_table(columns: list[Column], shown: SplitData, title: str) -> Table:
    """Images of the dataset, each with the captions of all of them."""
    places = different(shown, IMAGES)
    captions = [caption_of(shown, place) for place in places]
    names = [_named(shown, place) for place in places]
    rows = []
    for number, place in enumerate(places):
        cells = [_percentages(asked, pixels_of(shown, place), captions) for _, asked in columns]
        image = Cell(shown.image_ids[place])
        for other, name in enumerate(names):
            own = Cell("✓" if other == number else "")
            rows.append(Row(name, (image, own, *(column[other] for column in cells)), rule=other == 0))
    groups = (Group("", ("image", "own", *(head for head, _ in columns))),)
    return Table(f"Probabilities, {title}", ABOUT, "caption", groups, tuple(rows))


def _named(shown: SplitData, place: int) -> str:
    """The name of an image's first caption, with the class of the image if it has one: words stay with the data."""
    scene = shown.classes[place]
    return caption_name(shown, first_caption(shown, place)) + (f" ({scene})" if scene else "")


def _printed_table(columns: list[Column], shown: SplitData) -> Table:
    """The study's captions and probabilities, and ours for an image of an airport if the dataset has one."""
    classes = [name.lower() for name in shown.classes]
    place = next((classes.index(name) for name in AIRPORTS if name in classes), None)
    about, groups, cells = ONLY_PRINTED, [Group("the study", PRINTED, "published")], []
    if place is not None:
        about = ABOUT_PRINTED.format(name=shown.classes[place])
        groups.insert(0, Group(shown.image_ids[place], tuple(head for head, _ in columns)))
        cells = [_percentages(asked, pixels_of(shown, place), list(CAPTIONS)) for _, asked in columns]
    metric, key = "i2t_probability_pct", PROBABILITIES_KEY
    rows = []
    for number, caption in enumerate(CAPTIONS):
        keys = [key.model_copy(update={"variant": f"caption={caption}", "backbone": name}) for name in PRINTED]
        printed = [Cell(f"{lookup(key, '', (metric,))[metric]:.1f}") for key in keys]
        rows.append(Row(caption, (*(column[number] for column in cells), *printed)))
    return Table("Probabilities of the study's captions", about, "caption", tuple(groups), tuple(rows))
