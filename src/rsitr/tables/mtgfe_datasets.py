"""MTGFE's Table 1: the size of the datasets, as printed and as they are here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from rsitr.datasets.table import read_table
from rsitr.errors import DatasetError
from rsitr.records.cell import Published
from rsitr.tables.declared import Shown, sheet
from rsitr.tables.layout import Cell, Group, Row, Table, labelled, noted
from rsitr.tables.mtgfe import DATASETS, TABLE_2
from rsitr.tables.paper_table import NOT_PRINTED
from rsitr.tables.published import lookup, places
from rsitr.tables.view import ABSENT

PRINTED = {
    **{"images": "images", "captions": "captions", "captions_per_image": "captions per image"},
    **{"classes": "classes", "image_size_px": "side (px)"},
}
COLUMNS = tuple(PRINTED.values())
CAPTION = (
    "Basic facts about the datasets. Ours: all images of the canonical table, usable or not, and their captions; "
    "captions per image: the most frequent number, with the range if images differ; side: the longer side of the "
    "images, likewise."
)
PAPER = Published(paper="mtgfe2023", table="table1", method="dataset")
REMARKS = {"sydney": "613 images of 5 captions are 3,065; 6,035 is printed"}
UNNUMBERED = "no class is stated for any image"


def _most(values: pd.Series) -> str:
    """The most frequent number, and the range if there are several; empty without any."""
    if values.empty:
        return ""
    low, high, usual = int(values.min()), int(values.max()), int(values.mode().iloc[0])
    return str(usual) if low == high else f"{usual} ({low} to {high})"


def measured(frame: pd.DataFrame) -> list[Cell]:
    """Our cells of a dataset, in the order of ``COLUMNS``."""
    counts = frame["captions"].map(len)
    sides = frame[["width", "height"]].max(axis=1).dropna()
    classes = frame.loc[frame["class_name"].fillna("").ne(""), "class_name"].nunique()
    return [
        Cell(f"{len(frame)}"),
        Cell(f"{int(counts.sum())}"),
        Cell(_most(counts)),
        Cell(str(classes)) if classes else noted("–", UNNUMBERED),
        Cell(_most(sides[sides > 0])),
    ]


def _ours(path: Path) -> tuple[list[Cell], bool]:
    """Our cells of a dataset, and whether it is synthetic."""
    try:
        table, facts = read_table(path)
    except DatasetError as error:
        return [noted("NA", str(error))] * len(COLUMNS), False
    return measured(table.to_pandas()), facts.synthetic


def _theirs(dataset: str) -> list[Cell]:
    """What the paper prints about a dataset; nothing for others."""
    if dataset not in DATASETS:
        return [noted("–", NOT_PRINTED)] * len(COLUMNS)
    values = lookup(PAPER, dataset, tuple(PRINTED))
    remarks = {"captions": REMARKS.get(dataset, "")}
    return [noted(f"{values[metric]:g}", remarks.get(metric, "")) for metric in PRINTED]


def table(tables: Mapping[str, Path]) -> Table:
    """``tables`` maps each dataset of the experiment to its canonical parquet.

    The paper's datasets come first, whether or not the experiment has them, unless it has only synthetic ones.
    """
    found = {name: _ours(path) for name, path in tables.items()}
    real = () if found and all(synthetic for _, synthetic in found.values()) else DATASETS
    rows = []
    for name in dict.fromkeys([*real, *tables]):
        ours, synthetic = found.get(name, ([ABSENT] * len(COLUMNS), False))
        rows.append(Row(labelled(name, synthetic), (*ours, *(_theirs(name) if real else []))))
    groups = [Group("ours", COLUMNS), *([Group("MTGFE", COLUMNS, "published")] if real else [])]
    caption = f"{CAPTION} Published: as printed." if real else CAPTION
    return Table("MTGFE, Table 1: datasets", caption, "dataset", tuple(groups), tuple(rows))


TABLE = sheet(
    "mtgfe-table-1",
    "Datasets of MTGFE, {.name}",
    lambda material: [table(material.canonical)],
    "Table 1 of MTGFE: the datasets as printed and as they are here.",
    made_from="canonical",
    # Only where the comparison of the paper's Table 2 is made do its datasets matter.
    concerns=lambda experiment: TABLE_2.concerns(experiment.methods),
    shows=lambda experiment: (Shown("mtgfe-table-1", places(PAPER, name, [*PRINTED]), name) for name in DATASETS),
)
