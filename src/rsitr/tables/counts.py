"""How many images, captions and keywords the papers count in a dataset, outside the tables of ``mtgfe_datasets`` and
``statistics``: AMFMN, Table I and section IV; MTGFE, section 4.5; PIR, section V.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from rsitr.datasets.protocols import PAPER_SPLITS, get_protocol
from rsitr.datasets.table import read_table
from rsitr.errors import DatasetError
from rsitr.params import Experiment
from rsitr.tables.declared import Shown, sheet
from rsitr.tables.layout import Cell, Group, Row, Table, noted
from rsitr.tables.published import load
from rsitr.tables.view import ABSENT

PLACES = {
    ("amfmn2022", "table1"): "AMFMN, Table I",
    ("amfmn2022", "sec4-prose"): "AMFMN, section IV",
    ("mtgfe2023", "sec4.5-prose"): "MTGFE, section 4.5",
    ("pir2024", "sec5-prose"): "PIR, section V",
}
"""Paper and table, as in ``published.csv`` -> what a reader calls them."""
DATASETS = ("rsitmd", "rsicd")
CAPTION = (
    "What the papers count of the datasets outside their tables of all datasets. Ours: all images of the canonical "
    "table, usable or not; a split is that of the paper's protocol (table splits). Text-image ratio: captions that "
    "differ in any character, per image. Published: as printed."
)
REMARKS = {
    "class=airport": "six images are of a class plane, which the paper counts here",
    "class=storagetanks": "50 fewer than in the annotation, and intersection 50 more",
    "class=intersection": "50 more than in the annotation, and storagetanks 50 fewer",
    "class=pond": "40 fewer than in the annotation, and boat 40 more",
    "class=boat": "40 more than in the annotation, and pond 40 fewer",
    "text_image_ratio": "cut after three decimals",
}
"""By variant in ``published.csv``, or by metric where that is empty."""
NO_KEYWORDS = "the annotation that is here states no keywords"


class Count(NamedTuple):
    """A printed count."""

    row: int
    """Place of its row in ``published.csv``."""
    paper: str
    table: str
    dataset: str
    variant: str
    """``class=...``, ``split=...``, or empty for the whole dataset."""
    metric: str
    value: float

    @property
    def text(self) -> str:
        """What is counted."""
        kind, _, name = self.variant.partition("=")
        what = self.metric.replace("text_image", "text-image").replace("_", " ")
        return {"class": f"{what} of class {name}", "split": f"{name} {what}"}.get(kind, what)

    @property
    def form(self) -> str:
        """How it is written."""
        return ".3f" if self.metric == "text_image_ratio" else ".0f"


@cache
def printed() -> list[Count]:
    """Every count of ``PLACES``, in the order of the file."""
    frame = load().reset_index(names="row")
    chosen = [pair in PLACES for pair in zip(frame["paper"], frame["table"], strict=True)]
    return [Count(*values) for values in frame.loc[chosen, list(Count._fields)].itertuples(index=False)]


def measured(count: Count, frame: pd.DataFrame, root: Path) -> float:
    """Ours, from a canonical table; ``root`` holds the files of the dataset."""
    kind, _, name = count.variant.partition("=")
    if kind == "class":
        frame = frame[frame["class_name"].eq(name)]
    elif kind == "split":
        official = dict(zip(frame["image_id"], frame["split"], strict=True))
        splits = get_protocol(PAPER_SPLITS[count.paper]).splits(count.dataset, official, root=root)
        frame = frame[frame["image_id"].map(splits).eq(name)]
    if count.metric == "images":
        return len(frame)
    if count.metric == "text_image_ratio":
        return frame["captions"].explode().nunique() / len(frame)
    return int(frame[count.metric].map(len).sum())


def _cells(count: Count, read: tuple[pd.DataFrame, Path] | DatasetError | None) -> list[Cell]:
    """Ours, the printed count, the difference."""
    published = noted(format(count.value, count.form), REMARKS.get(count.variant or count.metric, ""))
    if read is None:
        return [ABSENT, published, Cell()]
    if isinstance(read, DatasetError):
        return [noted("NA", str(read)), published, Cell()]
    ours = measured(count, *read)
    if count.metric == "keywords" and not ours:
        return [noted("NA", NO_KEYWORDS), published, Cell()]
    difference = format(ours - count.value, f"+{count.form}")
    return [Cell(format(ours, count.form)), published, Cell(difference if float(difference) else difference[1:])]


def _read(path: Path) -> tuple[pd.DataFrame, Path] | DatasetError:
    try:
        table, facts = read_table(path)
    except DatasetError as error:
        return error
    return table.to_pandas(), Path(facts.root)


def table(tables: Mapping[str, Path]) -> Table:
    """``tables`` maps each dataset to its canonical parquet."""
    read = {name: _read(path) for name, path in tables.items() if name in DATASETS}
    rows: list[Row] = []
    for count in printed():
        label = PLACES[count.paper, count.table]
        cells = (Cell(count.dataset), Cell(count.text), *_cells(count, read.get(count.dataset)))
        rows.append(Row(label, cells, rule=not rows or rows[-1].label != label))
    groups = (Group("", ("dataset", "what", "ours", "published", "Δ")),)
    return Table("Counts", CAPTION, "place", groups, tuple(rows))


def shows(experiment: Experiment) -> Iterator[Shown]:
    """Every count."""
    return (Shown("counts", [(count.row, count.metric)], count.dataset) for count in printed())


TABLE = sheet(
    "counts",
    "Counts of the datasets of {.name}",
    lambda material: [table(material.canonical)],
    "Images by class and by split, captions and keywords as the papers print them and as they are here.",
    made_from="canonical",
    concerns=lambda experiment: {*DATASETS} & {*experiment.datasets},
    shows=shows,
)
