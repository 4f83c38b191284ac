"""JSON lines, tables and ``*_precomp`` pairs."""

from __future__ import annotations

from pathlib import Path

import pytest

from rsitr.datasets.layouts import Annotation, Lost, read_annotation
from rsitr.errors import DatasetError


def read(path: Path, text: str) -> Annotation:
    path.write_text(text, encoding="utf-8", newline="")
    return read_annotation(path)


def captions(found: Annotation) -> dict[str, list[str]]:
    return {row.image_id: row.captions for row in found.rows}


def test_json_lines(tmp_path: Path) -> None:
    """A line separator of Unicode inside a caption ends no line."""
    lines = [
        '{"filename": "rs/0.jpg", "captions": ["boats", "a\u2028quay"]}',
        "",
        '{"filename": "rs/1.jpg", "captions": "wood", "class_name": "Forest"}',
        "{broken",
        '["rs/2.jpg"]',
    ]
    found = read(tmp_path / "rs_valid.jsonl", "\r\n".join(lines))
    assert (found.layout, {row.split for row in found.rows}) == ("jsonl", {"val"})
    assert captions(found) == {"rs/0.jpg": ["boats", "a quay"], "rs/1.jpg": ["wood"]}
    assert [row.class_name for row in found.rows] == ["", "forest"]
    assert found.lost == [
        Lost("rs_valid.jsonl: line 4", "it is not a JSON object", "image"),
        Lost("rs_valid.jsonl: line 5", "it is not a JSON object", "image"),
    ]


@pytest.mark.parametrize("separator", ["\t", ",", ";", "|", " | "])
@pytest.mark.parametrize("header", [("filepath", "title"), ("Image", "Caption"), ('"filename"', "text")])
def test_tables(tmp_path: Path, separator: str, header: tuple[str, str]) -> None:
    lines = (header, ("a.jpg", "boats"), ("b.jpg", '"a quay"'), ("a.jpg", "two boats"))
    found = read(tmp_path / "train.csv", "\n".join(map(separator.join, lines)) + "\n")
    assert found.layout == "csv"
    assert captions(found) == {"a.jpg": ["boats", "two boats"], "b.jpg": ["a quay"]}
    assert {row.split for row in found.rows} == {"train"}


def test_a_table_with_quotes_line_breaks_and_a_split(tmp_path: Path) -> None:
    text = 'split,filename,title\nval,a.jpg,"one, ""two""\nthree"\ntrain,b.jpg,four, five\n\ntest,c.jpg,six\n'
    found = read(tmp_path / "mine.csv", text)
    assert captions(found) == {"a.jpg": ['one, "two" three'], "c.jpg": ["six"]}
    assert [row.split for row in found.rows] == ["val", "test"]
    assert found.lost == [Lost("mine.csv: line 4", "it has 4 fields, the header 3: quote captions", "caption")]


@pytest.mark.parametrize("line", ['a.jpg\t"never closed', 'a.jpg\t"closed" too early'])
def test_broken_quotes_swallow_no_lines(tmp_path: Path, line: str) -> None:
    with pytest.raises(DatasetError, match=r"mine\.tsv, line 3: .* correct the quotes of this line"):
        read(tmp_path / "mine.tsv", f"filepath\ttitle\nb.jpg\tfirst\n{line}\nc.jpg\tlast\n")


@pytest.mark.parametrize("names", ["_filename.txt", "_filename_verify.txt", "_ids.txt"])
@pytest.mark.parametrize("each", [1, 2])
def test_precomp_pairs(tmp_path: Path, names: str, each: int) -> None:
    """A name a caption, or a name for two; the files of all splits together. U+0085 ends no line."""
    for split, images in (("train", ["1.tif", "2.tif"]), ("dev", ["3.tif"]), ("test", ["4.tif"])):
        texts = [text for image in images for text in (f"a\u0085of {image}", f"b of {image}")]
        (tmp_path / f"{split}_caps.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
        repeated = [image for image in images for _ in range(2 if each == 1 else 1)]
        (tmp_path / f"{split}{names}").write_text("\n".join(repeated) + "\n", encoding="utf-8")
    found = read_annotation(tmp_path)
    assert found.layout == "precomp"
    assert captions(found) == {f"{n}.tif": [f"a of {n}.tif", f"b of {n}.tif"] for n in (3, 4, 1, 2)}
    assert {row.image_id: row.split for row in found.rows} == {
        **{"1.tif": "train", "2.tif": "train", "3.tif": "val", "4.tif": "test"}
    }
    assert read_annotation(tmp_path / "test_caps.txt").captions == 2


def test_precomp_pairs_of_unequal_length(tmp_path: Path) -> None:
    (tmp_path / "test_filename.txt").write_text("1.tif\n2.tif\n")
    with pytest.raises(DatasetError, match=r"test_caps\.txt has 3 captions and test_filename\.txt 2 images"):
        read(tmp_path / "test_caps.txt", "a\nb\nc\n")


def test_a_blank_line_keeps_pairs_in_step(tmp_path: Path) -> None:
    (tmp_path / "test_filename.txt").write_text("1.tif\n2.tif\n3.tif\n")
    found = read(tmp_path / "test_caps.txt", "a\n\nc\n")
    assert captions(found) == {"1.tif": ["a"], "2.tif": [], "3.tif": ["c"]}
    assert found.lost == [Lost("test_caps.txt: line 2, caption 1", "the caption is blank", "caption")]
