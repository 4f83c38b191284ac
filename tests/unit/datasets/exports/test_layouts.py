"""Exports read back: by the library a layout belongs to, by its documented rules, and by our own parser."""

from __future__ import annotations

import hashlib
import json
import tarfile
from pathlib import Path
from typing import Any, get_args

import pyarrow.parquet as pq
import pytest
import webdataset
from PIL import Image

from rsitr.datasets.base import Row
from rsitr.datasets.exports import shards as module
from rsitr.datasets.exports.layouts import Format, export
from rsitr.datasets.images import load_rgb
from rsitr.datasets.karpathy import karpathy_rows
from rsitr.errors import CorruptArchive, DatasetError
from tests.helpers.small_table import LOST, MISSING, ROWS, draw, put_table, small_table

FORMATS = get_args(Format)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return small_table(tmp_path)


def original(table: Path, row: Row) -> Path:
    return table.parent / "extracted" / row.path


def labels(row: Row) -> dict[str, Any]:
    fields = row._asdict()
    del fields["path"], fields["published_class"]
    return fields


def test_karpathy_is_read_back_by_our_parser(table: Path, tmp_path: Path) -> None:
    done = export(table, "karpathy", tmp_path / "out", lost_at_most=LOST)
    assert done == (5, 0, [("e.png", "missing image")], 0)
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
    """Documented: a folder for each split, and next to its images metadata with their relative file names."""
    done = export(table, "huggingface", tmp_path / "out", lost_at_most=LOST)
    assert done == (5, 2, [("e.png", "missing image")], 0)
    read: list[dict[str, Any]] = []
    for split in ("train", "validation", "test"):
        folder = tmp_path / "out" / split
        records = pq.read_table(folder / "metadata.parquet").to_pylist()
        images = {path.name for path in folder.iterdir() if path.name != "metadata.parquet"}
        assert {record["file_name"] for record in records} == images  # the library refuses an image without metadata
        for record in records:
            image = folder / record["file_name"]
            assert record.pop("sha256") == hashlib.sha256(image.read_bytes()).hexdigest()
        read += records
    there = [row for row in ROWS if row.image_id != MISSING]
    names = ["a.1.jpg", "b.png", "c.png", "d.png", "f.png"]
    assert read == [{"file_name": name} | labels(row) for name, row in zip(names, there, strict=True)]


@pytest.mark.slow
def test_the_library_datasets_loads_the_imagefolder(table: Path, tmp_path: Path) -> None:
    """Its loader reads configurations from the card, checks the counts there and decodes as our pipeline does."""
    datasets = pytest.importorskip("datasets", reason="the library datasets is not installed")
    export(table, "huggingface", tmp_path / "out", lost_at_most=LOST)
    loaded = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    there = {row.image_id: row for row in ROWS if row.image_id != MISSING}
    read = [record for split in ("train", "validation", "test") for record in loaded[split]]
    assert [record["image_id"] for record in read] == list(there)
    for record in read:
        row = there[record["image_id"]]
        assert record["image"].tobytes() == load_rgb(original(table, row)).tobytes()
        assert {name: record[name] for name in labels(row)} == labels(row)
    card = tmp_path / "out/README.md"
    card.write_text(card.read_text(encoding="utf-8").replace("num_examples: 3", "num_examples: 4"), encoding="utf-8")
    with pytest.raises(datasets.exceptions.NonMatchingSplitsSizesError):
        datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "other"))


def read_shards(*paths: Path) -> list[dict[str, Any]]:
    shards = [str(path) for path in paths]
    return list(webdataset.WebDataset(shards, shardshuffle=False).decode("pilrgb"))


def test_webdataset(table: Path, tmp_path: Path) -> None:
    export(table, "webdataset", tmp_path / "out", lost_at_most=LOST)
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
        export(table, "webdataset", tmp_path / out, lost_at_most=LOST)
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
    done = export(table, "clip-benchmark", tmp_path / "out", lost_at_most=LOST)
    assert done == (4, 1, [("d.png", "no captions"), ("e.png", "missing image")], 0)
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
    export(table, form, tmp_path / "out", lost_at_most=LOST)
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
        export(table, form, tmp_path / "out", lost_at_most=LOST)
    assert {path.name for path in tmp_path.iterdir()} == {"extracted", "dataset.parquet"}


@pytest.mark.parametrize("form", ["clip-benchmark", "mteb"])
def test_a_set_without_captions_is_no_retrieval_benchmark(form: Format, tmp_path: Path) -> None:
    rows = [Row("a.png", "a.png", "train", "port", [], [])]
    draw(rows, tmp_path / "extracted")
    table = put_table(rows, tmp_path, "aid")
    with pytest.raises(DatasetError, match=f"no image of aid can be exported as {form}: 1 no captions"):
        export(table, form, tmp_path / "out", lost_at_most=100)
    assert export(table, "huggingface", tmp_path / "out").images == 1


def test_a_greater_loss_than_stated_is_an_error_before_anything_is_written(table: Path, tmp_path: Path) -> None:
    message = (
        r"2 of 6 images of ucm \(33\.3 %\) would be lost in mteb, over 33 %: 1 no captions, 1 missing image\. "
        r"Run `rsitr data verify ucm`, or accept the loss with --lost-at-most 34"
    )
    with pytest.raises(DatasetError, match=message):
        export(table, "mteb", tmp_path / "out", lost_at_most=33)
    assert {path.name for path in tmp_path.iterdir()} == {"extracted", "dataset.parquet"}
    assert export(table, "mteb", tmp_path / "out", lost_at_most=34).reasons == "1 no captions, 1 missing image"


def test_by_default_one_image_of_twenty_may_be_lost(tmp_path: Path) -> None:
    rows = [Row(f"{n}.png", f"{n}.png", "train", "port", ["a port"], []) for n in range(20)]
    draw(rows, tmp_path / "extracted")
    Path(tmp_path, "extracted/7.png").unlink()
    assert export(put_table(rows, tmp_path), "karpathy", tmp_path / "out").left_out == [("7.png", "missing image")]
    Path(tmp_path, "extracted/8.png").write_bytes(b"not an image")
    with pytest.raises(DatasetError, match=r"\(10\.0 %\) would be lost in karpathy, over 5 %"):
        export(put_table(rows, tmp_path), "karpathy", tmp_path / "again")


def test_names_in_folders_are_flat_for_croissant_and_kept_for_karpathy(tmp_path: Path) -> None:
    rows = [Row(name, name, "train", "port", ["a port"], []) for name in ("x/a.png", "x_a.png", "y/a.bmp")]
    draw(rows, tmp_path / "extracted")
    table = put_table(rows, tmp_path)
    export(table, "huggingface", tmp_path / "hub")
    assert {path.name for path in (tmp_path / "hub/train").glob("*.png")} == {"x_a.png", "x_a.png.png", "y_a.png"}
    export(table, "karpathy", tmp_path / "karpathy")
    names = [entry["filename"] for entry in json.loads((tmp_path / "karpathy/dataset.json").read_text())["images"]]
    assert names == ["x/a.png", "x_a.png", "y/a.png"]
    assert all((tmp_path / "karpathy/images" / name).is_file() for name in names)
