"""The canonical table and its images in the layouts that other programs read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import Any, Literal, NamedTuple

from PIL import Image

from rsitr.datasets import get_dataset
from rsitr.datasets.images import load_rgb
from rsitr.datasets.karpathy import SPLITS, karpathy_json
from rsitr.datasets.table import DatasetFacts, read_table
from rsitr.errors import CorruptArchive, DatasetError

Format = Literal["huggingface", "webdataset", "clip-benchmark", "karpathy"]
SHARD = 1000
"""Samples per shard: about 100 MB of the field's images, small enough to shuffle and to fetch again."""
_ENCODINGS = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp"}
"""What readers of shards decode; anything else (TIFF) is re-encoded as PNG, which keeps its colours exactly."""

Row = dict[str, Any]


class Exported(NamedTuple):
    """How many images were written, and which were not and why: image id, reason."""

    images: int
    left_out: list[tuple[str, str]]


def export(table: Path, form: Format, out: Path) -> Exported:
    """Write the dataset of a canonical table to the new folder ``out``, all of it or nothing.

    Raises ``DatasetError`` if ``out`` is not empty or nothing can be exported, and ``CorruptArchive`` for an image
    that has changed since the table was built.
    """
    out = out.resolve()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DatasetError(f"{out} is not empty: name a new folder")
    content, facts = read_table(table)
    rows = content.to_pylist()
    left_out = [(row["image_id"], reason) for row in rows if (reason := _obstacle(row, form))]
    if len(left_out) == len(rows):
        raise DatasetError(f"no image of {facts.name} can be exported as {form}: {left_out[0][1]} (all {len(rows)})")
    building = out.with_name(f".{out.name}.exporting")
    shutil.rmtree(building, ignore_errors=True)  # of an export that was killed
    building.mkdir(parents=True)
    try:
        _WRITERS[form](rows, facts, building)
        (building / "README.md").write_text(_card(facts, form), encoding="utf-8")
        if out.is_dir():
            out.rmdir()
        building.rename(out)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return Exported(len(rows) - len(left_out), left_out)


def _obstacle(row: Row, form: Format) -> str:
    """Why the image of a row is not exported; empty if it is."""
    if form == "clip-benchmark" and not row["captions"]:
        return "no captions"
    return str(row["problem"])


def _splits(rows: Sequence[Row], form: Format) -> Iterator[tuple[str, list[Row]]]:
    """The rows that can be exported, by split; splits without any are left out."""
    for split in SPLITS:
        if chosen := [row for row in rows if row["split"] == split and not _obstacle(row, form)]:
            yield split, chosen


def _write_karpathy(rows: Sequence[Row], facts: DatasetFacts, out: Path) -> None:
    """``dataset.json`` as Karpathy's splits have it, and ``images/``. Rows without an image keep their captions."""
    for row in rows:
        if not row["problem"]:
            _copy(Path(facts.root, row["path"]), out / "images" / row["image_id"])
    (out / "dataset.json").write_text(karpathy_json(facts.name, rows), encoding="utf-8")


def _write_huggingface(rows: Sequence[Row], facts: DatasetFacts, out: Path) -> None:
    """``imagefolder`` of the library datasets: ``<split>/metadata.jsonl`` next to the images of the split."""
    names = {"train": "train", "val": "validation", "test": "test"}
    for split, chosen in _splits(rows, "huggingface"):
        folder = out / names[split]
        for row in chosen:
            _copy(Path(facts.root, row["path"]), folder / row["image_id"])
        lines = [json.dumps({"file_name": row["image_id"]} | _labels(row), ensure_ascii=False) for row in chosen]
        (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _write_webdataset(rows: Sequence[Row], facts: DatasetFacts, out: Path) -> None:
    """``<split>-000000.tar`` ...: an image, its captions as lines of ``txt``, and everything as ``json``."""
    for split, chosen in _splits(rows, "webdataset"):
        write_shards(chosen, Path(facts.root), out / f"{split}-%06d.tar")


def _write_clip_benchmark(rows: Sequence[Row], facts: DatasetFacts, out: Path) -> None:
    """The retrieval layout of CLIP_benchmark: ``<split>/0.tar`` ... and files that state their number and purpose."""
    for split, chosen in _splits(rows, "clip-benchmark"):
        (out / split).mkdir()
        shards = write_shards(chosen, Path(facts.root), out / split / "%d.tar")
        (out / split / "nshards.txt").write_text(f"{shards}\n")
    (out / "dataset_type.txt").write_text("retrieval\n")


_WRITERS: dict[Format, Callable[[Sequence[Row], DatasetFacts, Path], None]] = {
    "huggingface": _write_huggingface,
    "webdataset": _write_webdataset,
    "clip-benchmark": _write_clip_benchmark,
    "karpathy": _write_karpathy,
}


def write_shards(rows: Sequence[Row], root: Path, pattern: Path) -> int:
    """Write shards named by ``pattern``, which takes their number, and return how many; equal rows give equal bytes."""
    from webdataset import ShardWriter  # imports torch, which no other format needs

    with closing(ShardWriter(str(pattern), maxcount=SHARD, verbose=0, encoder=False, mtime=0)) as shards:
        for number, row in enumerate(rows):
            extension, image = _encoded(root / row["path"])
            captions = "\n".join(row["captions"])
            labels = json.dumps(_labels(row), ensure_ascii=False)
            text = {"txt": captions.encode(), "json": labels.encode()}
            # A key holds no dot, since the first dot of a member's name starts its extension.
            shards.write({"__key__": f"{number:07}", extension: image} | text)
    return -(-len(rows) // SHARD)


def _labels(row: Row) -> Row:
    return {name: row[name] for name in ("image_id", "split", "class_name", "captions", "keywords")}


def _encoded(path: Path) -> tuple[str, bytes]:
    """File extension and content of an image in an encoding that every reader of shards supports."""
    try:
        with Image.open(path) as image:
            extension = _ENCODINGS.get(image.format or "")
    except OSError as error:
        why = f"has changed since the table was built ({error})"
        raise CorruptArchive(f"{path} {why}: run `rsitr data verify`") from None
    if extension is not None:
        return extension, path.read_bytes()
    buffer = BytesIO()
    load_rgb(path).save(buffer, "PNG")
    return "png", buffer.getvalue()


def _copy(image: Path, target: Path) -> None:
    if not image.is_file():
        raise CorruptArchive(f"{image} has gone since the table was built: run `rsitr data verify`")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(image, target)


def _card(facts: DatasetFacts, form: Format) -> str:
    """README.md of an export: whose data this is and how it was made."""
    return (
        f"---\npretty_name: {facts.title}\n---\n# {facts.title}\n\n"
        f"- Licence: {facts.licence}\n"
        f"- Cite: {get_dataset(facts.name).citation}\n"
        f"- Origin: {facts.origin}; canonical table {facts.data_sha}\n"
        f"- Exported with `rsitr data export {facts.name} --format {form}`\n"
    )
