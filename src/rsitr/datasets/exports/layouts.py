"""The canonical table and its images in the layouts that other programs read."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from rsitr.datasets.exports import mteb_tasks
from rsitr.datasets.exports.card import NAMES, Leak, Made, card
from rsitr.datasets.exports.croissant import croissant
from rsitr.datasets.exports.pictures import LABELS, Pictures, Row, labels
from rsitr.datasets.exports.shards import write_shards
from rsitr.datasets.karpathy import SPLITS, karpathy_json
from rsitr.datasets.table import DATASET_SCHEMA, DatasetFacts, read_table
from rsitr.errors import DatasetError

Format = Literal["huggingface", "webdataset", "clip-benchmark", "karpathy", "mteb"]

_LABELS = [DATASET_SCHEMA.field(name) for name in LABELS]
_METADATA = pa.schema([("file_name", pa.string()), *_LABELS, ("sha256", pa.string())])


class Exported(NamedTuple):
    """What an export holds, and what was left out of it."""

    images: int
    encoded_again: int
    """Of these, the images that are not the bytes of their file but a PNG of what the pipeline sees."""
    left_out: list[tuple[str, str]]
    """Image ids and why they were not exported."""
    blank: int = 0
    """Blank captions of the exported images, where the layout has no place for them."""

    @property
    def reasons(self) -> str:
        """How much was left out, by reason; empty if nothing was."""
        return ", ".join([*_reasons(self.left_out), *[f"{self.blank} blank captions"] * (self.blank > 0)])


def export(table: Path, form: Format, out: Path, *, lost_at_most: float = 5.0, leaks: Sequence[Leak] = ()) -> Exported:
    """Write the dataset of a canonical table to the new folder ``out``, all of it or nothing.

    ``lost_at_most`` is the percentage of the images that may be left out, and ``leaks`` what is known of near
    duplicates of test images, for the dataset card.

    Raises ``DatasetError`` if ``out`` is not empty, nothing can be exported or too much would be lost, and
    ``CorruptArchive`` for an image that has changed since the table was built.
    """
    out = out.resolve()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DatasetError(f"{out} is not empty: name a new folder")
    content, facts = read_table(table)
    rows = content.to_pylist()
    left_out = [(row["image_id"], reason) for row in rows if (reason := _obstacle(row, form))]
    _check_loss(left_out, len(rows), facts.name, form, lost_at_most)
    building = out.with_name(f".{out.name}.exporting")
    shutil.rmtree(building, ignore_errors=True)  # of an export that was killed
    building.mkdir(parents=True)
    try:
        again = _WRITERS[form](rows, facts, building)
        splits = dict(_splits(rows, form))
        blank = sum(not text for chosen in splits.values() for row in chosen for text in row["captions"])
        done = Exported(len(rows) - len(left_out), again, left_out, blank if form == "mteb" else 0)
        made = Made(form, splits, building, again, done.reasons)
        (building / "README.md").write_text(card(facts, made, leaks), encoding="utf-8")
        if out.is_dir():
            out.rmdir()
        building.rename(out)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return done


def _reasons(left_out: list[tuple[str, str]]) -> list[str]:
    """How many images were left out for each reason, the most frequent first."""
    return [f"{count} {reason}" for reason, count in Counter(why for _, why in left_out).most_common()]


def _check_loss(left_out: list[tuple[str, str]], of: int, name: str, form: Format, at_most: float) -> None:
    reasons = ", ".join(_reasons(left_out))
    if len(left_out) == of:
        raise DatasetError(f"no image of {name} can be exported as {form}: {reasons}")
    if (lost := 100 * len(left_out) / of) > at_most:
        raise DatasetError(
            f"{len(left_out)} of {of} images of {name} ({lost:.1f} %) would be lost in {form}, over {at_most:g} %: "
            f"{reasons}. Run `rsitr data verify {name}`, or accept the loss with --lost-at-most {-(-lost // 1):.0f}"
        )


def _obstacle(row: Row, form: Format) -> str:
    """Why the image of a row is not exported; empty if it is."""
    if form in ("clip-benchmark", "mteb") and not row["problem"] and not any(row["captions"]):
        return "no captions"
    return str(row["problem"])


def _splits(rows: Sequence[Row], form: Format) -> Iterator[tuple[str, list[Row]]]:
    """The rows that can be exported, by split; splits without any are left out."""
    for split in SPLITS:
        if chosen := [row for row in rows if row["split"] == split and not _obstacle(row, form)]:
            yield split, chosen


def _write_karpathy(rows: Sequence[Row], facts: DatasetFacts, out: Path) -> int:
    """``dataset.json`` as Karpathy's splits have it, and ``images/``. Rows without an image keep their captions."""
    pictures = Pictures(Path(facts.root), ("JPEG", "PNG", "WEBP", "TIFF"), [row["image_id"] for row in rows])
    named = [
        row | {"image_id": row["image_id"] if row["problem"] else _file(row, pictures, out / "images")} for row in rows
    ]
    (out / "dataset.json").write_text(karpathy_json(facts.name, named), encoding="utf-8")
    return pictures.encoded_again


def _file(row: Row, pictures: Pictures, folder: Path) -> str:
    """Write the image of a row and return its name in ``folder``."""
    picture = pictures.of(row)
    name = pictures.named(row["image_id"], picture)
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(picture.content)
    return name


def _write_huggingface(rows: Sequence[Row], facts: DatasetFacts, out: Path) -> int:
    """``imagefolder`` of the library datasets: ``<split>/metadata.parquet`` next to the images of the split.

    The other kinds of metadata file have no types: a split in which no image has a keyword would not fit the others.
    No folders inside a split, since Croissant joins images and metadata by the bare name of the file.
    """
    pictures = Pictures(Path(facts.root), ("JPEG", "PNG"), [row["image_id"] for row in rows])
    splits = dict(_splits(rows, "huggingface"))
    for split, chosen in splits.items():
        folder = out / NAMES[split]
        folder.mkdir()
        records = []
        for row in chosen:
            picture = pictures.of(row)
            name = pictures.named(row["image_id"], picture, flat=True)
            (folder / name).write_bytes(picture.content)
            records.append({"file_name": name} | labels(row) | {"sha256": picture.sha256})
        pq.write_table(pa.Table.from_pylist(records, _METADATA), folder / "metadata.parquet")
    described = croissant(facts, [NAMES[split] for split in splits], out)
    (out / "croissant.json").write_text(json.dumps(described, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return pictures.encoded_again


def _write_webdataset(rows: Sequence[Row], facts: DatasetFacts, out: Path) -> int:
    """``<split>-000000.tar`` ...: an image, its captions as lines of ``txt``, and everything as ``json``."""
    pictures = Pictures(Path(facts.root))
    for split, chosen in _splits(rows, "webdataset"):
        write_shards(chosen, pictures, out / f"{split}-%06d.tar")
    return pictures.encoded_again


def _write_clip_benchmark(rows: Sequence[Row], facts: DatasetFacts, out: Path) -> int:
    """The retrieval layout of CLIP_benchmark: ``<split>/0.tar`` ... and files that state their number and purpose."""
    pictures = Pictures(Path(facts.root))
    for split, chosen in _splits(rows, "clip-benchmark"):
        (out / split).mkdir()
        shards = write_shards(chosen, pictures, out / split / "%d.tar")
        (out / split / "nshards.txt").write_text(f"{shards}\n")
    (out / "dataset_type.txt").write_text("retrieval\n")
    return pictures.encoded_again


def _write_mteb(rows: Sequence[Row], facts: DatasetFacts, out: Path) -> int:
    """Corpus, queries and relevance of both directions as MTEB reads them, and the two tasks."""
    pictures = Pictures(Path(facts.root))
    splits = {NAMES[split]: chosen for split, chosen in _splits(rows, "mteb")}
    mteb_tasks.write(splits, pictures, facts, out)
    return pictures.encoded_again


_WRITERS: dict[Format, Callable[[Sequence[Row], DatasetFacts, Path], int]] = {
    "huggingface": _write_huggingface,
    "webdataset": _write_webdataset,
    "clip-benchmark": _write_clip_benchmark,
    "karpathy": _write_karpathy,
    "mteb": _write_mteb,
}
"""They return how many images were encoded again."""
