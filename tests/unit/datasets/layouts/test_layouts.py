"""How a layout is recognised, what is refused, and what our own exports become when they are read again."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pytest
from PIL import Image

from rsitr.datasets.base import Row, Split
from rsitr.datasets.canonical import data_sha, rows_to_frame
from rsitr.datasets.exports.layouts import Format, export
from rsitr.datasets.layouts import LAYOUTS, Lost, read_annotation, reasons
from rsitr.datasets.layouts.base import split_named
from rsitr.datasets.table import DATASET_SCHEMA, DatasetFacts
from rsitr.errors import DatasetError
from rsitr.records.parquet import write_table

KARPATHY = {"images": [{"filename": "a.jpg", "split": "test", "sentences": [{"raw": "a"}]}]}
REFUSED = {
    "{": ["is in no layout that is known here (coco, karpathy, albef, ", "coco, karpathy, albef: is not valid JSON ("],
    "[" * 100_000: ["is not valid JSON (maximum recursion depth"],
    "[3]": ["albef: [0] is not an object", "coco, karpathy: holds no object at its top"],
    '[{"image": "a.jpg", "box": 1}]': ["albef: [0] has no field for captions (captions, caption, ", "'image', 'box'"],
    '{"images": {}}': ["coco, karpathy: has no list 'images'"],
    '{"images": [{"file_name": "a.jpg", "id": 1}]}': ["coco: has no list 'annotations'", "images[0] has no 'filename'"],
    '{"images": [{"file_name": "a.jpg", "id": 1}], "annotations": [{"image_id": 1, "bbox": []}]}': [
        "coco: annotations[0] has no 'caption'"
    ],
    '{"images": []}': ["(read as karpathy) lists no images"],
    "[]": ["(read as albef) lists no images"],
    '{"images": [{"filename": "", "sentences": []}]}': ["lists no images: 1 image: no image is named, e.g. mine.json"],
    "": ["jsonl: is empty"],
}


@pytest.mark.parametrize("text", REFUSED, ids=range(len(REFUSED)))
def test_what_is_no_annotation(text: str, tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text(text)
    with pytest.raises(DatasetError) as caught:
        read_annotation(tmp_path / "mine.json")
    assert str(caught.value).startswith(str(tmp_path / "mine.json"))
    assert all(part in str(caught.value) for part in REFUSED[text]), caught.value


def test_other_files_and_folders(tmp_path: Path) -> None:
    def said(path: Path, layout: str | None = None) -> str:
        with pytest.raises(DatasetError) as caught:
            read_annotation(path, layout)
        return str(caught.value)

    (tmp_path / "a.csv").write_text("name,words\nx,y\n")
    assert "csv: its first line has no field for an image (file_name, filename, " in said(tmp_path / "a.csv")
    assert "only 'name', 'words'" in said(tmp_path / "a.csv")
    assert "gone.json is missing: correct the path" in said(tmp_path / "gone.json")
    assert "no file matches" in said(tmp_path / "*.tar")
    assert "is not a pattern of files: Unbalanced braces" in said(tmp_path / "{0..3.tar")
    assert "stands for more than 1,000,000 files" in said(tmp_path / "{0..99999999}.tar")
    assert "unknown layout 'voc': the known ones are coco, karpathy," in said(tmp_path, "voc")
    assert "a.csv: csv: its first line has no field" in said(tmp_path)
    assert "is not in the layout webdataset: it has no *.tar" in said(tmp_path, "webdataset")
    assert "a layout of folders: name the folder" in said(tmp_path / "a.csv", "huggingface")
    (tmp_path / "a.csv").unlink()
    assert "it holds no file that may be one" in said(tmp_path)
    (tmp_path / "a.json").write_bytes(b"\x80\x81")
    assert "is not text in UTF-8" in said(tmp_path / "a.json")
    (tmp_path / "a.json").write_bytes(gzip.compress(b"{}"))
    assert "a.json is compressed with gzip: unpack it first" in said(tmp_path / "a.json")
    (tmp_path / "a.json").write_text(json.dumps(KARPATHY))
    assert "a.json is not in the layout named: coco: has no list 'annotations'" in said(tmp_path / "a.json", "coco")
    for number in range(100):
        (tmp_path / f"{number}.txt").touch()
    assert "holds 101 files that may be annotations: name one, or a pattern" in said(tmp_path)
    for number in range(100):
        (tmp_path / f"{number}.txt").unlink()
    (tmp_path / "b.jsonl").write_text('{"image": "b.jpg", "caption": "b"}\n')
    assert "in several layouts: a.json (karpathy), b.jsonl (jsonl): name one" in said(tmp_path)
    assert read_annotation(tmp_path, "jsonl").rows == [Row("b.jpg", "b.jpg", "test", "", ["b"], [])]
    assert "c.json is missing, which" in said(tmp_path / "{a,c}.json")


@pytest.mark.parametrize(
    ("name", "split"),
    [
        *(
            ("rs_train", "train"),
            ("RS-Valid", "val"),
            ("captions_val2017", "val"),
            ("dev", "val"),
            ("test_caps", "test"),
        ),
        *(("captions", None), ("trainval", None), ("latest", None), ("train_and_test", None), ("validation", "val")),
    ],
)
def test_the_split_that_a_name_states(name: str, split: Split | None) -> None:
    assert split_named(name) == split


def test_which_split_counts(tmp_path: Path) -> None:
    """One's own before the one asked for, that before the file's."""
    lines = ['{"image": "a.jpg", "caption": "a", "split": "Validation"}', '{"image": "b.jpg", "caption": "b"}']
    for name, asked, expected in (("train", None, "train"), ("train", "test", "test"), ("mine", None, "test")):
        path = tmp_path / f"{name}.jsonl"
        path.write_text("\n".join(lines))
        found = read_annotation(path, split=asked)  # type: ignore[arg-type]
        assert [row.split for row in found.rows] == ["val", expected]


def test_an_imagefolder(tmp_path: Path) -> None:
    """Metadata for each split, as JSON lines or as a table; in one file for all, entries state their splits."""
    for name, text in {
        "train/metadata.jsonl": '{"file_name": "a.jpg", "text": "a"}\n',
        "validation/metadata.csv": "file_name,text\nx/b.jpg,b\n",
    }.items():
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(text)
    with pytest.raises(DatasetError, match=r"metadata\.csv is not in the layout named: jsonl: "):
        read_annotation(tmp_path)
    (tmp_path / "validation/metadata.csv").unlink()
    (tmp_path / "validation/metadata.jsonl").write_text('{"file_name": "x/b.jpg", "text": "b"}\n')
    found = read_annotation(tmp_path)
    assert found.layout == "huggingface"
    assert [(row.path, row.split) for row in found.rows] == [("train/a.jpg", "train"), ("validation/x/b.jpg", "val")]


def test_an_imagefolder_with_metadata_in_one_file(tmp_path: Path) -> None:
    (tmp_path / "metadata.csv").write_text("file_name,text\ntrain/a.jpg,a\nvalidation/b.jpg,b\nc.jpg,c\n")
    assert [row.split for row in read_annotation(tmp_path).rows] == ["train", "val", "test"]
    assert [row.split for row in read_annotation(tmp_path / "metadata.csv").rows] == ["test"] * 3
    (tmp_path / "metadata.csv").write_text("file_name,text,split\ntrain/a.jpg,a,test\n")
    assert [row.split for row in read_annotation(tmp_path).rows] == ["test"]


ROWS = [
    Row("port/a.1.png", "x/port/a.1.png", "train", "port", ["a port", "deux bateaux é ."], ["port", "boat"]),
    Row("c.png", "x/c.png", "val", "", ["green"], []),
    Row("e.png", "x/e.png", "test", "field", ["one", "two", "three"], []),
]


@pytest.mark.parametrize("form", ["huggingface", "webdataset", "clip-benchmark", "karpathy"])
@pytest.mark.parametrize("named", [True, False])
def test_our_exports_are_read_as_what_they_are(form: Format, named: bool, tmp_path: Path) -> None:
    root = tmp_path / "extracted"
    for row in ROWS:
        (root / row.path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 6)).save(root / row.path)
    frame = rows_to_frame(ROWS, root)
    facts = DatasetFacts("ucm", "UCM-Captions", "mirror", "none stated", False, root.as_posix(), data_sha(frame))
    write_table(pa.Table.from_pandas(frame, DATASET_SCHEMA, preserve_index=False), facts, tmp_path / "dataset.parquet")
    export(tmp_path / "dataset.parquet", form, tmp_path / "out")
    found = read_annotation(tmp_path / "out", form if named else None)
    assert (found.layout, found.lost) == (form, [])
    # An imagefolder has a folder for each split, and no other.
    flat = ["train/port_a.1.png", "validation/c.png", "test/e.png"]
    expected = flat if form == "huggingface" else [row.image_id for row in ROWS]
    assert {row.image_id: row[2:] for row in found.rows} == {
        name: row[2:] for name, row in zip(expected, ROWS, strict=True)
    }
    for path, place in found.packed.items():
        assert place.shard.read_bytes()[place.offset :][: place.size] == (root / "x" / path).read_bytes()


def test_every_layout_is_named_in_the_documents() -> None:
    text = Path(__file__).parents[4].joinpath("docs/how-to/own-data.md").read_text(encoding="utf-8")
    assert [name for name in LAYOUTS if f"`{name}`" not in text] == []


def test_reasons() -> None:
    lost = [Lost(f"a: {n}", "blank", "caption") for n in range(4)] + [Lost("b", "gone", "image")]
    assert reasons(lost) == ["4 captions: blank, e.g. a: 0, a: 1, a: 2", "1 image: gone, e.g. b"]
    many = [Lost("a", f"split {n}", "image") for n in range(13)]
    assert reasons([*many, *lost])[0] == "4 captions: blank, e.g. a: 0, a: 1, a: 2"
    assert reasons([*many, *lost])[9:] == ["1 image: split 8, e.g. a", "and more for 5 other reasons"]
