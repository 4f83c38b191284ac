"""Split protocols: how each one splits each dataset of an experiment, and which papers used it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd

from rsitr.datasets.karpathy import SPLITS
from rsitr.datasets.protocols import PROTOCOLS, Protocol
from rsitr.datasets.table import DatasetFacts, read_table
from rsitr.errors import DatasetError
from rsitr.tables.declared import sheet
from rsitr.tables.layout import Cell, Group, Row, Table, noted

GROUPS = (
    Group("", ("dataset",)),
    Group("images", SPLITS),
    Group("captions", SPLITS),
    Group("origin", ("list", "used by")),
)
CAPTION = (
    "Images and captions by split under each protocol, as annotated, before any image is left out. All keep the "
    "official test split. List: authors', or drawn here where their draws are not public. ret-2 and ret-3 train one "
    "model on all their datasets; their last line is that training set."
)
WIDTH = sum(len(group.columns) for group in GROUPS)


def _dataset_row(protocol: Protocol, dataset: str, frame: pd.DataFrame, facts: DatasetFacts) -> Row:
    official, root = dict(zip(frame["image_id"], frame["split"], strict=True)), Path(facts.root)
    split = frame["image_id"].map(protocol.splits(dataset, official, root=root))
    sizes = frame["captions"].map(len).groupby(split).agg(["size", "sum"]).reindex(SPLITS, fill_value=0)
    source = "generated" if facts.synthetic else "authors'" if protocol.is_exact(root) else "drawn"
    origin = (noted(source, "" if facts.synthetic else protocol.definition), Cell(protocol.used_by.get(dataset, "")))
    counts = map(Cell, (dataset, *map(str, sizes["size"]), *map(str, sizes["sum"])))
    return Row(protocol.name, (*counts, *origin))


def _joint_row(protocol: Protocol, frames: Mapping[str, pd.DataFrame]) -> Row:
    """The single training set of a joint protocol; NA if a member is unavailable."""
    label = " + ".join(protocol.datasets)
    try:
        official = {name: dict(zip(frame["image_id"], frame["split"], strict=True)) for name, frame in frames.items()}
        chosen = pd.Series(protocol.training_set(official))
    except DatasetError as error:
        return Row(protocol.name, (Cell(label), *(noted("NA", str(error)),) * (WIDTH - 1)))
    counts = {
        (name, image_id): len(captions)
        for name, frame in frames.items()
        for image_id, captions in zip(frame["image_id"], frame["captions"], strict=True)
    }
    texts = (label, str(len(chosen)), "", "", str(chosen.map(counts).sum()), "", "", "", "")
    return Row(protocol.name, tuple(map(Cell, texts)))


def _rows(frames: Mapping[str, pd.DataFrame], facts: Mapping[str, DatasetFacts]) -> Iterator[Row]:
    for protocol in PROTOCOLS.values():
        datasets = [name for name in frames if protocol.defined_on(name)]
        rows = [_dataset_row(protocol, name, frames[name], facts[name]) for name in datasets]
        if protocol.joint and rows:
            rows.append(_joint_row(protocol, frames))
        yield from (replace(row, rule=place == 0) for place, row in enumerate(rows))


def table(tables: Mapping[str, Path]) -> Table:
    """``tables`` maps each dataset to its canonical parquet. A protocol appears with the datasets it is defined on."""
    read = {name: read_table(path) for name, path in tables.items()}
    frames = {name: table.to_pandas() for name, (table, _) in read.items()}
    facts = {name: fact for name, (_, fact) in read.items()}
    return Table("Split protocols", CAPTION, "protocol", GROUPS, tuple(_rows(frames, facts)))


TABLE = sheet(
    "splits",
    "Split protocols of {.name}",
    lambda material: [table(material.canonical)],
    "How many images and captions each split protocol gives to each split.",
    made_from="canonical",
)
