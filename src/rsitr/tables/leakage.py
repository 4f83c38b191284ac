"""Leakage: how many test images have a near duplicate in what a model may be trained on, by source and test set.

Written for the appendix of a paper: both rules are side by side, and every test image that leaks is listed with the
evidence.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd

from rsitr.datasets.table import read_facts
from rsitr.dedup.groups import RULES
from rsitr.dedup.leakage import EVIDENCE, WHOLE, Overlap, Pair, evidence, overlaps
from rsitr.dedup.pairs import read_near_duplicates
from rsitr.figures.near_duplicates import Pairs, draw_notice, draw_pairs
from rsitr.records.files import read_csv, seal_text, write_csv, write_text
from rsitr.tables.declared import Declared
from rsitr.tables.entries import Overlaps
from rsitr.tables.layout import Cell, Group, Row, Table, labelled, noted, write_tables

CAPTION = (
    "Number and share of the test images with a near duplicate in a source. Sources: what a model may be trained on "
    "(train), selected on (val) or pretrained on (a set without its own test split, as a whole). Unreadable images "
    "are left out, and so is what backbones were pretrained on elsewhere (ImageNet, pictures from the web). Rule "
    "remoteclip, the field's: the 64-bit perceptual hashes of two images differ in at most 2 bits. It finds images "
    "that were re-encoded or resized, but neither crops nor mirrored or rotated images. Rule copies, this "
    "benchmark's: one image shows a part of the other, or all of it, at least about three quarters as wide and as "
    "high, and the details of both agree; it may be mirrored, rotated by quarter turns, re-encoded, resized, or "
    "differ in colour. The same place on another date therefore counts as a near duplicate, and rarely another place "
    "that looks the same, such as a stretch of runway. Overlapping tiles do not count unless one is almost entirely "
    "inside the other, nor do stronger crops. Both rules follow chains of near duplicates through all the sets of "
    "this table: two pictures that are inside a third are near duplicates of each other."
)
EXAMPLES = 9
"""Pairs of two datasets that are drawn."""
LONG_COLUMNS = ("source", "source_split", "test", "rule", "images", "of", "percent", "status", "reason")
IMAGE_COLUMNS = ["test", "test_image", "source", "source_split", "source_image", "link", *EVIDENCE]


def _label(source: str, split: str) -> str:
    return source if split == WHOLE else f"{source} {split}"


def _cell(overlap: Overlap) -> Cell:
    if overlap.images is None:
        return noted("NA", overlap.reason)
    return Cell(f"{len(overlap.images)} ({overlap.share:.1f} %)")


def _finding(found: Sequence[Overlap]) -> str:
    """The largest overlap by the rule ``copies`` in one sentence; empty if there is none."""
    known = [overlap for overlap in found if overlap.rule == "copies" and overlap.images]
    if not known:
        return ""
    most = max(known, key=lambda overlap: overlap.share)
    (other,) = (each for each in found if each[:3] == most[:3] and each.rule == "remoteclip")
    by_copies, by_hash = (f"{len(each.images or ()):,}" for each in (most, other))
    return (
        f" The largest overlap: of the {most.of:,} test images of {most.test}, {by_copies} ({most.share:.1f} %) have a "
        f"near duplicate in {_label(*most[:2])} by copies, {by_hash} by remoteclip."
    )


def _rows(found: Sequence[Overlap], synthetic: set[str]) -> Iterator[Row]:
    before = None
    for source, split in dict.fromkeys(overlap[:2] for overlap in found):
        overlaps_of = [overlap for overlap in found if overlap[:2] == (source, split)]
        cells = (Cell(str(overlaps_of[0].among)), *map(_cell, overlaps_of))
        yield Row(labelled(_label(source, split), source in synthetic), cells, rule=before not in (None, source))
        before = source


def _groups(found: Sequence[Overlap], synthetic: set[str]) -> Iterator[Group]:
    yield Group("", ("images at hand",))
    for test, of in {overlap.test: overlap.of for overlap in found}.items():
        yield Group(f"{labelled(test, test in synthetic)}: {of or 'no'} test images{'' if of else ' at hand'}", RULES)


def long_rows(found: Iterable[Overlap]) -> Iterator[tuple[object, ...]]:
    """Tidy rows: one for each source, test set and rule."""
    for overlap in found:
        if overlap.images is None:
            yield (*overlap[:4], "", overlap.of, "", "unknown", overlap.reason)
        else:
            yield (*overlap[:4], len(overlap.images), overlap.of, round(overlap.share, 6), "ok", "")


def write_images(found: Iterable[Overlap], near_duplicates: Mapping[Pair, Path], path: Path) -> Path:
    """Write every test image that leaks by the rule ``copies``, once for each source, with its ``evidence``."""
    frames = [
        evidence(each, near_duplicates).assign(test=each.test, source=each.source, source_split=each.source_split)
        for each in found
        if each.rule == "copies" and each.images
    ]
    frame = pd.concat(frames or [pd.DataFrame(columns=IMAGE_COLUMNS)])[IMAGE_COLUMNS]
    write_text(path, seal_text(frame.to_csv(index=False, float_format="%.3f", lineterminator="\n")))
    return path


def build(
    tables: Mapping[str, Path], near_duplicates: Mapping[Pair, Path], experiment: str, out_dir: Path
) -> list[Path]:
    """Write ``leakage.csv``, ``.md``, ``.tex``, ``.html``, ``.long.csv``, ``.images.csv``, ``.png`` into ``out_dir``.

    ``tables`` maps each dataset, priors included, to its canonical parquet; ``near_duplicates`` maps each two of
    them, in alphabetical order, and each with itself, to their table of near duplicates. What was not compared is NA
    with the reason.
    """
    by_rule = zip(*(overlaps(tables, near_duplicates, rule) for rule in RULES), strict=True)
    found = [*chain(*by_rule)]
    synthetic = {name for name, path in tables.items() if read_facts(path).synthetic}
    groups, rows = tuple(_groups(found, synthetic)), tuple(_rows(found, synthetic))
    table = Table("Leakage", CAPTION + _finding(found), "source", groups, rows)
    long = out_dir / "leakage.long.csv"
    write_csv(long, LONG_COLUMNS, [*long_rows(found)], sealed=True)
    return [
        *write_tables(f"Leakage of {experiment}", [table], experiment, out_dir / "leakage"),
        long,
        write_images(found, near_duplicates, out_dir / "leakage.images.csv"),
        draw_examples(found, tables, near_duplicates, out_dir / "leakage.png"),
    ]


def write_training(overlaps: Overlaps, path: Path) -> Path:
    """Write how many test images have a near duplicate in what is trained on, and out of how many.

    One row for each dataset and clean table of it, and one for each dataset and prior. Blank if unknown.
    """
    rows = [(dataset, *(overlap or ("", "")), learned) for (dataset, learned), overlap in overlaps.items()]
    write_csv(path, ("dataset", "images", "of", "training"), rows, sealed=True)
    return path


def read_training(path: Path) -> Overlaps:
    """What ``write_training`` wrote."""
    return {
        (row["dataset"], row["training"]): (int(row["images"]), int(row["of"])) if row["of"] else None
        for row in read_csv(path, sealed=True)
    }


def read_images(folder: Path) -> dict[tuple[str, str], set[str] | None]:
    """By (test set, source), the test images with a near duplicate in the source's training data, by ``copies``.

    As ``build`` wrote it into ``folder``, so that a clone without data has it; None if unknown, and no pairs at all if
    the table was not built.
    """
    long, images = folder / "leakage.long.csv", folder / "leakage.images.csv"
    if not (long.is_file() and images.is_file()):
        return {}

    found: dict[tuple[str, str], set[str] | None] = {}
    for row in read_csv(long, sealed=True):
        if row["source_split"] in ("train", WHOLE) and row["rule"] == "copies":
            found[row["test"], row["source"]] = set() if row["status"] == "ok" else None
    for row in read_csv(images, sealed=True):
        same = found.get((row["test"], row["source"])) if row["source_split"] in ("train", WHOLE) else None
        if same is not None:
            same.add(row["test_image"])
    return found


def draw_examples(
    found: Iterable[Overlap], tables: Mapping[str, Path], near_duplicates: Mapping[Pair, Path], path: Path
) -> Path:
    """Draw some test images that leak by the rule ``copies`` next to their near duplicates, for each two datasets.

    The examples run from the pair that agrees best to the one that agrees least.
    """
    leaking = {(each.source, each.test) for each in found if each.rule == "copies" and each.images}
    chosen = []
    for pair in sorted({(min(both), max(both)) for both in leaking}):
        rows = read_near_duplicates(near_duplicates[pair])[0].sort_values("detail", ascending=False)
        rows = rows[rows["first_split"].eq("test") ^ rows["second_split"].eq("test")]
        places = np.unique(np.linspace(0, len(rows) - 1, min(EXAMPLES, len(rows))).round().astype(int))
        chosen.append(Pairs(rows.iloc[places], *(tables[name] for name in pair)))
    if any(len(pairs.rows) for pairs in chosen):
        draw_pairs(chosen, path, title="Test images and their near duplicates in a source")
    else:
        draw_notice("No test image has a near duplicate in a source.", path)
    return path


TABLE = Declared(
    "leakage",
    lambda material: [
        *build(material.compared, material.near_duplicates, material.name, material.out),
        material.write_overlaps(),
    ],
    "Test images that have a near duplicate in what models are trained or pretrained on, with examples.",
    "near duplicates",
    others=("long.csv", "images.csv", "training.csv", "png"),
)
