"""Near duplicates within and between datasets, and how many RET-2 and RET-3 lose, under either rule."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping
from functools import partial
from itertools import chain, combinations, combinations_with_replacement
from pathlib import Path

import numpy as np
import pandas as pd

from rsitr.datasets.protocols import PROTOCOLS, Protocol
from rsitr.datasets.table import read_table
from rsitr.dedup.clean import clean
from rsitr.dedup.groups import RULES, image_groups, kept_first, linked, near_pairs
from rsitr.dedup.joint import JointFacts, join, removed, shared
from rsitr.dedup.pairs import SCHEMA, current_near_duplicates
from rsitr.errors import DatasetError
from rsitr.records.files import write_csv, write_text
from rsitr.tables.declared import Declared
from rsitr.tables.layout import Cell, Group, Row, Table, labelled, noted, write_tables

Pair = tuple[str, str]
"""Two datasets in alphabetical order; the same one twice for what is within it."""

LEAVING = (("train", "test"), ("train", "val"), ("val", "test"))
JOINT = tuple(protocol for protocol in PROTOCOLS.values() if protocol.joint)
MEMBERS = tuple(dict.fromkeys(dataset for protocol in JOINT for dataset in protocol.datasets))
ALL = "all"

INSIDE = ("pairs", "groups", "images", *(f"{split} for {other}" for split, other in LEAVING))
BETWEEN = ("pairs", "groups", "images of first", "images of second")
INSIDE_GROUPS = (Group("", ("compared",)), *(Group(rule, INSIDE) for rule in RULES))
BETWEEN_GROUPS = (Group("", ("first", "second")), *(Group(rule, BETWEEN) for rule in RULES))
JOINT_GROUPS = (
    Group("", ("rule", "images of", "images", "unusable")),
    Group("removed because of test images of", MEMBERS),
    Group("", ("removed", "left", "shared")),
)
NUMBERS = sum(len(group.columns) for group in JOINT_GROUPS) - 2
RULE_TEXT = (
    "remoteclip: 64-bit perceptual hashes within Hamming distance 2, the field's rule; copies: pairs verified pixel by "
    "pixel in any orientation and crop, listed in dedup.pairs.csv. Images linked by a chain of pairs form one group. "
)
INSIDE_CAPTION = (
    f"{RULE_TEXT}Compared: readable images, without flat ones in copies. Pairs: all of them, including those of "
    "equal hashes. Images: those in any pair. Train for test: images that the rule removes from train because of a "
    "near duplicate in test, and so on; blank where a split is empty."
)
BETWEEN_CAPTION = (
    f"{RULE_TEXT}Here images are linked only by pairs of one image of the first and one of the second dataset. Images "
    "of first: those with a near duplicate in the second dataset."
)
JOINT_CAPTION = (
    "The union of the authors' train splits, and what each rule removes from it because an image is in a group with a "
    "test image of any member. An image with near duplicates in several test sets counts under each and once under "
    "removed. Unusable: without a readable image or without a caption. Images = unusable + removed + left. Shared: "
    "images that are left although a near duplicate of them is left in another member's train split; the rule covers "
    "only test images."
)

PLACES = ["first_dataset", "first", "first_split", "second_dataset", "second", "second_split"]
PAIR_COLUMNS = [*PLACES, *(name for name in SCHEMA.names if name not in PLACES)]


Found = tuple[int, ...]
"""Pairs of near duplicates, their groups, and images in any pair: of the dataset, or of the first and the second."""


class Images:
    """The datasets of an experiment, from the canonical tables that are there; others have no images."""

    def __init__(self, tables: Mapping[str, Path], near_duplicates: Mapping[Pair, Path]):
        read = {name: read_table(path) for name, path in tables.items() if path.is_file()}
        self.frames = {name: table.to_pandas() for name, (table, _) in read.items()}
        self.shas = {name: facts.data_sha for name, (_, facts) in read.items()}
        self.synthetic = {name for name, (_, facts) in read.items() if facts.synthetic}
        self.near_duplicates = near_duplicates

    def readable(self, name: str) -> int:
        """How many images of a dataset can be read."""
        return int(self.frames[name]["problem"].eq("").sum()) if name in self.frames else 0

    def present(self, *names: str) -> None:
        """Raise ``DatasetError`` if one of the datasets has no image to compare."""
        if absent := [name for name in dict.fromkeys(names) if not self.readable(name)]:
            raise DatasetError(_not_compared(absent))

    def pairs(self, pair: Pair) -> pd.DataFrame:
        """The near duplicates within a dataset or between two; ``DatasetError`` if they are unknown."""
        self.present(*pair)
        if pair not in self.near_duplicates:
            raise DatasetError(f"not compared: near duplicates of {pair[0]} in {pair[1]} were not looked for")
        frame, of = current_near_duplicates(self.near_duplicates[pair], self.shas)
        if (of.first, of.second) != pair:
            raise DatasetError(f"{self.near_duplicates[pair]} is of {of.first} in {of.second}: delete it and run again")
        return frame

    def known_pairs(self) -> Iterator[tuple[Pair, pd.DataFrame]]:
        """All known near duplicates, in alphabetical order of the datasets."""
        for pair in combinations_with_replacement(sorted(self.frames), 2):
            try:
                yield pair, self.pairs(pair)
            except DatasetError:
                continue


def hashes_inside(fingerprints: pd.Series) -> Found:
    """Near duplicates within a dataset by their hashes; an empty hash is close to nothing."""
    counts = fingerprints[fingerprints != ""].value_counts().sort_index()
    # Distinct hashes, so that every close pair is listed.
    count, near = counts.to_numpy(), near_pairs(counts.index.tolist())
    edges = [*near.tolist(), *([node, node] for node in np.flatnonzero(count > 1).tolist())]
    group = linked((one, other) for one, other in edges)
    pairs = count[near].prod(axis=1).sum() + (count * (count - 1) // 2).sum()
    return int(pairs), _number(group), int(count[np.array([*group], dtype=np.int64)].sum())


def hashes_between(first: pd.Series, second: pd.Series) -> Found:
    """Near duplicates between two datasets by their hashes, without the pairs within either."""
    hashes = sorted({*first, *second} - {""})
    counts = [side.value_counts().reindex(hashes, fill_value=0).to_numpy() for side in (first, second)]
    near, same = near_pairs(hashes), np.arange(len(hashes))
    edges = np.concatenate([near, near[:, ::-1], np.stack([same, same], axis=1)])
    pairs = counts[0][edges[:, 0]] * counts[1][edges[:, 1]]
    edges = edges[pairs > 0]
    images = (int(count[np.unique(nodes)].sum()) for count, nodes in zip(counts, edges.T, strict=True))
    return int(pairs.sum()), _number(linked(_sides(edges.tolist()))), *images


def near_duplicates_inside(frame: pd.DataFrame) -> Found:
    """Near duplicates within a dataset by the table of its near duplicates."""
    group = linked(zip(frame["first"], frame["second"], strict=True))
    return len(frame), _number(group), len(group)


def near_duplicates_between(frame: pd.DataFrame) -> Found:
    """Near duplicates between two datasets by the table of their near duplicates."""
    group = linked(_sides(frame[["first", "second"]].to_numpy().tolist()))
    return len(frame), _number(group), frame["first"].nunique(), frame["second"].nunique()


def _sides(pairs: Iterable[list[Hashable]]) -> Iterator[tuple[Hashable, Hashable]]:
    """Pairs between two datasets, which may use the same name."""
    return (((0, first), (1, second)) for first, second in pairs)


def _number(group: Mapping[Hashable, int]) -> int:
    return len(set(group.values()))


def _or_na(width: int, texts: Callable[[], Iterable[object]]) -> tuple[Cell, ...]:
    """Cells with numbers, or as many NA with the reason."""
    try:
        return tuple(Cell(str(text)) for text in texts())
    except DatasetError as error:
        return (noted("NA", str(error)),) * width


def _inside(images: Images, pair: Pair, rule: str) -> Iterator[object]:
    name, _ = pair
    images.present(name)
    pairs = images.pairs(pair) if rule == "copies" else None
    frame = images.frames[name]
    yield from hashes_inside(frame["fingerprint"]) if pairs is None else near_duplicates_inside(pairs)
    cleaned = clean(frame, rule, pairs)
    for split, other in LEAVING:
        leaving = cleaned["split"].eq(split) & cleaned["reason"].eq(f"near duplicate in {other}")
        yield leaving.sum() if {split, other} <= set(frame["split"]) else ""


def _between(images: Images, pair: Pair, rule: str) -> Found:
    if rule == "copies":
        return near_duplicates_between(images.pairs(pair))
    images.present(*pair)
    return hashes_between(*(images.frames[name]["fingerprint"] for name in pair))


def _row(images: Images, pair: Pair) -> Row:
    """Near duplicates within a dataset or between two, by each rule."""
    names = dict.fromkeys(pair)
    count, columns = (_inside, INSIDE) if len(names) == 1 else (_between, BETWEEN)
    found = (_or_na(len(columns), partial(count, images, pair, rule)) for rule in RULES)
    label = " × ".join(labelled(name, name in images.synthetic) for name in names)
    return Row(label, (*(_compared(images, name) for name in names), *chain(*found)))


def _compared(images: Images, name: str) -> Cell:
    readable, size = images.readable(name), len(images.frames.get(name, ()))
    unreadable = f"{size - readable} of the {size} images of {name} cannot be read"
    return noted(str(readable), unreadable if 0 < readable < size else "")


def _joint_rows(images: Images, tables: Mapping[str, Path], protocol: Protocol, rule: str) -> Iterator[Row]:
    """A row for each member, and one for the training set."""
    members = {name for name in protocol.datasets if images.readable(name)}
    near_duplicates = [path for pair, path in images.near_duplicates.items() if members.issuperset(pair)]
    try:
        frame, facts = join(protocol.name, rule, tables, near_duplicates)
    except DatasetError as error:
        yield Row(protocol.name, (Cell(rule), Cell(ALL), *(noted("NA", str(error)),) * NUMBERS), rule=True)
        return
    for place, name in enumerate([*facts.datasets, ALL]):
        cells = _joint_cells(frame, facts, facts.datasets if name == ALL else (name,))
        yield Row(protocol.name, (Cell(rule), Cell(name), *cells), rule=place == 0)


def _joint_cells(frame: pd.DataFrame, facts: JointFacts, names: tuple[str, ...]) -> Iterator[Cell]:
    """What the rule does to some of the members; NA if that is unknown."""
    part = frame[frame["dataset"].isin(names)]
    out, kept, also = removed(part), int(part["keep"].sum()), shared(frame)
    yield from (Cell(str(len(part))), Cell(str(len(part) - kept - out.total.total())))
    unknown = set(names) & set(facts.absent)
    for test_set in MEMBERS:
        because = sum(out.because[name, test_set] for name in names)
        known = _count(because, unknown | ({test_set} & set(facts.absent)))
        yield known if test_set in facts.datasets else Cell()
    # What the other members do to the row is a valid number, as long as it says what it lacks.
    lacking = [f"without what {name} would change: no images of it at hand" for name in facts.absent]
    for number in (out.total.total(), kept, sum(also[name] for name in names)):
        yield _count(number, unknown, *lacking)


def _count(number: int, absent: Collection[str], *remarks: str) -> Cell:
    return noted("NA", _not_compared(absent)) if absent else noted(str(number), *remarks)


def _not_compared(absent: Iterable[str]) -> str:
    return f"not compared: no images of {' and '.join(sorted(absent))} at hand"


def _write_pairs(images: Images, path: Path) -> Path:
    """Every pair of near duplicates, one line each, sorted by dataset and image."""
    found = [
        frame.sort_values(["first", "second"]).assign(first_dataset=first, second_dataset=second)
        for (first, second), frame in images.known_pairs()
        if len(frame)
    ]
    frame = pd.concat(found or [pd.DataFrame(columns=PAIR_COLUMNS)])[PAIR_COLUMNS]
    write_text(path, frame.to_csv(index=False, float_format="%.4f", lineterminator="\n"))
    return path


def _write_groups(images: Images, path: Path) -> Path:
    """Every image with a near duplicate in any of the datasets, one line each, sorted by group, the kept one first."""
    groups = image_groups("copies", {}, [images.near_duplicates[pair] for pair, _ in images.known_pairs()])
    splits = {
        (name, image_id): split
        for name, frame in images.frames.items()
        for image_id, split in zip(frame["image_id"], frame["split"], strict=True)
    }
    lines = [
        (number, *image, splits[image], image == members[0])
        for number, members in enumerate(kept_first(groups, splits))
        for image in members
    ]
    write_csv(path, ("group", "dataset", "image_id", "split", "kept"), lines)
    return path


def build(
    tables: Mapping[str, Path], near_duplicates: Mapping[Pair, Path], experiment: str, out_dir: Path
) -> list[Path]:
    """Write ``dedup.csv``, ``.md``, ``.tex`` and ``.html``, ``dedup.pairs.csv`` and ``dedup.groups.csv``.

    ``tables`` maps each dataset to its canonical parquet, ``near_duplicates`` pairs of them (names in alphabetical
    order, the same one twice for what is in it) to tables of near duplicates. What cannot be compared is NA with the
    reason. A joint protocol appears if one of its members does.
    """
    images = Images(tables, near_duplicates)
    inside = tuple(_row(images, (name, name)) for name in tables)
    between = tuple(_row(images, pair) for pair in combinations(sorted(tables), 2))
    joint = tuple(
        row
        for protocol in JOINT
        if set(protocol.datasets) & set(tables)
        for rule in RULES
        for row in _joint_rows(images, tables, protocol, rule)
    )
    found = (
        Table("Near duplicates inside a dataset", INSIDE_CAPTION, "dataset", INSIDE_GROUPS, inside),
        Table("Near duplicates between datasets", BETWEEN_CAPTION, "datasets", BETWEEN_GROUPS, between),
        Table("Joint training sets", JOINT_CAPTION, "training set", JOINT_GROUPS, joint),
    )
    shown = (table for table in found if table.rows)
    return [
        *write_tables(f"Near duplicates of {experiment}", shown, experiment, out_dir / "dedup"),
        _write_pairs(images, out_dir / "dedup.pairs.csv"),
        _write_groups(images, out_dir / "dedup.groups.csv"),
    ]


TABLE = Declared(
    "dedup",
    lambda material: build(material.compared, material.near_duplicates, material.name, material.out),
    "Near duplicates inside and between datasets, and what the joint protocols keep.",
    "near duplicates",
    others=("pairs.csv", "groups.csv"),
)
