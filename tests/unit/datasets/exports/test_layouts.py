"""Exports read back: by the library a layout belongs to, by its documented rules, and by our own parser."""

from __future__ import annotations

import hashlib
import json
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import webdataset
from PIL import Image

from rsitr.datasets.exports import shards as module
from rsitr.datasets.base import Row
from rsitr.datasets.canonical import data_sha, rows_to_frame
from rsitr.datasets.exports.layouts import Format, export
from rsitr.datasets.karpathy import karpathy_rows
from rsitr.datasets.table import DATASET_SCHEMA, DatasetFacts
from rsitr.errors import CorruptArchive, DatasetError
from rsitr.records.parquet import write_table

FORMATS: tuple[Format, ...] = ("huggingface", "webdataset", "clip-benchmark", "karpathy")
ROWS = [
    Row("a.1.jpg", "x/a.1.jpg", "train", "port", ["a port", "deux bateaux é ."], ["port", "boat"]),
    Row("b.tif", "x/b.tif", "train", "port", ["a port"], []),
    Row("c.png", "x/c.png", "train", "", ["green"], []),
    Row("d.png", "x/d.png", "val", "field", [], []),
    Row("e.png", "x/e.png", "test", "field", ["gone"], []),
    Row("f.webp", "x/f.webp", "test", "field", ["one", "two", "three"], []),
]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Five small images of four encodings, a missing one, a row without captions, and their canonical table."""
    root = tmp_path / "extracted"
    (root / "x").mkdir(parents=True)
    for number, row in enumerate(ROWS):
        if row.image_id != "e.png":
            Image.new("RGB", (8, 6), (40 * number, 90, 7)).save(root / row.path, lossless=True)
    frame = rows_to_frame(ROWS, root)
    facts = DatasetFacts("ucm", "UCM-Captions", "mirror", "none stated", False, root.as_posix(), data_sha(frame))
    write_table(pa.Table.from_pandas(frame, DATASET_SCHEMA, preserve_index=False), facts, tmp_path / "dataset.parquet")
    return tmp_path / "dataset.parquet"


def original(table: Path, row: Row) -> Path:
    return table.parent / "extracted" / row.path


def labels(row: Row) -> dict[str, Any]:
    fields = row._asdict()
    del fields["path"], fields["published_class"]
    return fields


def test_karpathy_is_read_back_by_our_parser(table: Path, tmp_path: Path) -> None:
    done = export(table, "karpathy", tmp_path / "out")
    assert done == (5, [("e.png", "missing image")])
    back = list(karpathy_rows(tmp_path / "out/dataset.json", image_dir="images"))
    assert back == [row._replace(path=f"images/{row.image_id}") for row in ROWS]
    for row in back:
        copy = tmp_path / "out" / row.path
        assert copy.exists() == (row.image_id != "e.png")
        assert not copy.exists() or copy.read_bytes() == (table.parent / "extracted/x" / row.image_id).read_bytes()
    content = json.loads((tmp_path / "out/dataset.json").read_text(encoding="utf-8"))
    assert content["dataset"] == "ucm"
    assert [entry["sentids"] for entry in content["images"]] == [[0, 1], [2], [3], [], [4], [5, 6, 7]]
    assert content["images"][5]["sentences"][2] == {"raw": "three", "imgid": 5, "sentid": 7}


def test_huggingface_imagefolder(table: Path, tmp_path: Path) -> None:
    """Documented: a folder for each split, and next to its images a metadata.jsonl with their relative file names."""
    assert export(table, "huggingface", tmp_path / "out").left_out == [("e.png", "missing image")]
    read: list[dict[str, Any]] = []
    for split in ("train", "validation", "test"):
        folder = tmp_path / "out" / split
        lines = [json.loads(line) for line in (folder / "metadata.jsonl").read_text(encoding="utf-8").splitlines()]
        images = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.name != "metadata.jsonl"}
        assert {line["file_name"] for line in lines} == images  # the library refuses an image without metadata
        read += [line for line in lines if Image.open(folder / line.pop("file_name")).size == (8, 6)]
    assert read == [labels(row) for row in ROWS if row.image_id != "e.png"]


def read_shards(*paths: Path) -> list[dict[str, Any]]:
    shards = [str(path) for path in paths]
    return list(webdataset.WebDataset(shards, shardshuffle=False).decode("pilrgb"))


def test_webdataset(table: Path, tmp_path: Path) -> None:
    export(table, "webdataset", tmp_path / "out")
    shards = sorted(path.name for path in (tmp_path / "out").glob("*.tar"))
    assert shards == ["test-000000.tar", "train-000000.tar", "val-000000.tar"]
    samples = read_shards(*(tmp_path / "out" / f"{split}-000000.tar" for split in ("train", "val", "test")))
    there = [row for row in ROWS if row.image_id != "e.png"]
    assert [sample["json"] for sample in samples] == [labels(row) for row in there]
    assert [sample["txt"].splitlines() for sample in samples] == [row.captions for row in there]
    for sample, row in zip(samples, there, strict=True):
        image = next(sample[kind] for kind in ("jpg", "png", "webp") if kind in sample)
        assert image.tobytes() == Image.open(original(table, row)).convert("RGB").tobytes()
    with tarfile.open(tmp_path / "out/train-000000.tar") as shard:
        names = [*("0000000.jpg", "0000000.json", "0000000.txt"), *("0000001.json", "0000001.png", "0000001.txt")]
        assert shard.getnames()[:6] == names


def test_shards_are_cut_and_equal_bytes_come_again(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SHARD", 2)
    for out in ("one", "two"):
        export(table, "webdataset", tmp_path / out)
    found = [sorted((tmp_path / out).iterdir()) for out in ("one", "two")]
    assert [path.name for path in found[0]] == [
        *("README.md", "test-000000.tar", "train-000000.tar", "train-000001.tar", "val-000000.tar")
    ]
    first, second = ([hashlib.sha256(path.read_bytes()).digest() for path in paths] for paths in found)
    assert first == second
    keys = [sample["json"]["image_id"] for sample in read_shards(*found[0][2:4])]
    assert keys == ["a.1.jpg", "b.tif", "c.png"]


@pytest.mark.parametrize(("shard", "shards"), [(1, "3"), (2, "2"), (3, "1")])
def test_clip_benchmark_reads_its_retrieval_layout(
    shard: int, shards: str, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    builder = pytest.importorskip("clip_benchmark.datasets.builder")
    monkeypatch.setattr(module, "SHARD", shard)
    done = export(table, "clip-benchmark", tmp_path / "out")
    assert done == (4, [("d.png", "no captions"), ("e.png", "missing image")])
    for split, rows in (("train", ROWS[:3]), ("test", ROWS[5:])):
        read = list(builder.build_wds_dataset("ucm", lambda image: image.convert("RGB"), split, str(tmp_path / "out")))
        assert [captions for _, captions in read] == [row.captions for row in rows]
        pictures = [Image.open(original(table, row)).convert("RGB").tobytes() for row in rows]
        assert [image.tobytes() for image, _ in read] == pictures
    assert (tmp_path / "out/train/nshards.txt").read_text().strip() == shards
    assert not (tmp_path / "out/val").exists()


@pytest.mark.parametrize("form", FORMATS)
def test_every_export_says_whose_data_it_is(form: Format, table: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    export(table, form, tmp_path / "out")
    card = (tmp_path / "out/README.md").read_text(encoding="utf-8")
    assert "- Licence: none stated\n" in card
    assert "Deep semantic understanding" in card
    assert f"rsitr data export ucm --format {form}" in card


@pytest.mark.parametrize("form", FORMATS)
def test_what_is_there_is_not_overwritten(form: Format, table: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").touch()
    with pytest.raises(DatasetError, match="out is not empty: name a new folder"):
        export(table, form, tmp_path / "out")


@pytest.mark.parametrize("form", FORMATS)
def test_an_image_that_went_leaves_no_half_export(form: Format, table: Path, tmp_path: Path) -> None:
    original(table, ROWS[2]).unlink()
    with pytest.raises(CorruptArchive, match=r"c\.png has (gone|changed) since the table was built"):
        export(table, form, tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"extracted", "dataset.parquet"}


def test_a_set_without_captions_is_no_retrieval_benchmark(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    frame = rows_to_frame([Row("a.png", "a.png", "train", "port", [], [])], tmp_path)
    facts = DatasetFacts("aid", "AID", "mirror", "none stated", False, tmp_path.as_posix(), "")
    write_table(pa.Table.from_pandas(frame, DATASET_SCHEMA, preserve_index=False), facts, tmp_path / "t.parquet")
    with pytest.raises(DatasetError, match="no image of aid can be exported as clip-benchmark: no captions"):
        export(tmp_path / "t.parquet", "clip-benchmark", tmp_path / "out")
    assert export(tmp_path / "t.parquet", "huggingface", tmp_path / "out").images == 1
