"""Annotations in shards: which samples there are, which captions they have, and what is lost and why."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rsitr.datasets.base import Row
from rsitr.datasets.layouts import Lost, Place, read_annotation, reasons
from rsitr.errors import CorruptArchive, DatasetError
from tests.helpers.shards_of_colours import picture, write_tar

RED = picture("red", "blue")


def pair(name: str, caption: str) -> list[tuple[str, bytes]]:
    return [(f"{name}.png", RED), (f"{name}.txt", caption.encode())]


def rows(path: Path, **options: object) -> dict[str, list[str]]:
    return {row.path: row.captions for row in read_annotation(path, **options).rows}  # type: ignore[arg-type]


def test_samples_and_where_their_images_are(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "train-0.tar", [*pair("a/1", "one"), *pair("a/2", "two"), ("README", b"")])
    found = read_annotation(path)
    assert found.layout == "webdataset"
    assert found.rows == [
        Row("train-0/a/1.png", "train-0/a/1.png", "train", "", ["one"], []),
        Row("train-0/a/2.png", "train-0/a/2.png", "train", "", ["two"], []),
    ]
    assert found.lost == [Lost("train-0.tar: README", "without an extension, it belongs to no sample", "file")]
    # Each header and each content take blocks of 512 bytes; the picture is smaller than one.
    assert found.packed == {
        "train-0/a/1.png": Place(path, 512, len(RED)),
        "train-0/a/2.png": Place(path, 512 + 4 * 512, len(RED)),
    }


@pytest.mark.parametrize(("cut", "said"), [(100, "cut off or damaged"), (2048, "after 2,048 bytes"), (2100, "cut off")])
@pytest.mark.parametrize("number", [1, 6])
def test_shards_that_are_cut_off_are_named(tmp_path: Path, cut: int, said: str, number: int) -> None:
    """In the first header, between two members, in a header."""
    whole = write_tar(tmp_path / "s-9.tar", [*pair("1", "one"), *pair("2", "two")]).read_bytes()
    for each in range(number):
        (tmp_path / f"s-{each}.tar").write_bytes(whole[:cut])
    with pytest.raises(CorruptArchive) as caught:
        read_annotation(tmp_path)
    assert f"{number} of {number + 1} shards cannot be used: {tmp_path}/s-0.tar: it is cut off" in str(caught.value)
    assert said in str(caught.value)
    assert (" and 1 more: fetch them again" in str(caught.value)) == (number == 6)


def test_names_with_dots_are_counted_by_the_rule_of_webdataset(tmp_path: Path) -> None:
    some = [member for n in range(2) for member in pair(f"tile_{n}", "a") + pair(f"tile_v1.{n}", "b")]
    found = read_annotation(write_tar(tmp_path / "some.tar", sorted(some)))
    assert [row.path for row in found.rows] == ["some/tile_0.png", "some/tile_1.png"]
    rule = "webdataset's key ends at the first dot of a name: rename the files, with one dot each"
    assert found.lost == [Lost(f"some.tar: tile_v1.{n}.png", rule, "image") for n in range(2)]
    every = [member for n in range(3) for member in pair(f"S2A_2021.05.0{n}_tile", "a")]
    with pytest.raises(DatasetError, match=r"lists no images: 3 images: webdataset's key ends at the first dot"):
        read_annotation(write_tar(tmp_path / "all.tar", every))


def test_a_second_picture_next_to_the_image_is_no_loss_unless_it_has_captions(tmp_path: Path) -> None:
    members = [*pair("1", "one"), ("1.seg.png", RED)]
    found = read_annotation(write_tar(tmp_path / "a.tar", members))
    assert (len(found.rows), found.lost) == (1, [])
    found = read_annotation(write_tar(tmp_path / "b.tar", [*members, *pair("1.0", "two")]))
    assert rows(tmp_path / "b.tar") == {"b/1.png": ["one"]}
    assert [lost.what for lost in found.lost] == ["b.tar: 1.0.png"]


def test_shards_of_one_name_and_names_that_come_again(tmp_path: Path) -> None:
    for folder in ("train", "test"):
        write_tar(tmp_path / folder / "0.tar", [*pair("1", folder), *pair("2", "b"), *pair("1", "again")])
    found = read_annotation(tmp_path / "t*/0.tar")
    assert {row.path: (row.split, row.captions) for row in found.rows} == {
        f"{split}/0/{n}.png": (split, [split if n == 1 else "b"]) for split in ("test", "train") for n in (1, 2)
    }
    assert [lost[:2] for lost in found.lost] == [
        (f"{split}/0.tar: 1", "another sample has an image of this name") for split in ("test", "train")
    ]


def test_one_caption_with_a_line_break_is_one(tmp_path: Path) -> None:
    members = [*pair("1", "a port\nwith cranes,\n2021"), ("1.json", b'{"caption": "a port with cranes"}')]
    members += pair("2", "a quay\nwith boats\n")
    path = write_tar(tmp_path / "a.tar", members)
    assert rows(path) == {"a/1.png": ["a port with cranes"], "a/2.png": ["a quay with boats"]}
    assert rows(path, captions="lines") == {"a/1.png": ["a port with cranes"], "a/2.png": ["a quay", "with boats"]}


@pytest.mark.parametrize(
    ("fields", "captions", "lost"),
    [
        ({"captions": ["b", "c"]}, ["b", "c"], []),
        ({"caption": "b", "split": "val", "class_name": "Port"}, ["b"], []),
        ({"caption": "b", "split": "2014", "image_id": 7}, ["b"], []),
        ({"url": "x"}, ["a"], []),
        ({"caption": None}, ["a"], []),
        ({"caption": 7}, [], [("the captions are not a list", "caption")]),
        ([], ["a"], []),
    ],
)
def test_json_comes_before_txt(tmp_path: Path, fields: object, captions: list[str], lost: list[object]) -> None:
    path = write_tar(tmp_path / "a.tar", [*pair("1", "a"), ("1.json", json.dumps(fields).encode())])
    found = read_annotation(path)
    assert found.rows[0].captions == captions
    assert found.rows[0].split == ("val" if "class_name" in fields else "test")  # type: ignore[operator]
    assert [each[1:] for each in found.lost] == lost


def test_samples_that_lack_something(tmp_path: Path) -> None:
    members = [*pair("1", "a"), ("2.txt", b"b"), ("3.png", RED), ("3.json", b"{"), ("4.png", RED), ("4.png", RED)]
    found = read_annotation(write_tar(tmp_path / "a.tar", [*members, ("5.png", RED), ("5.txt", b"\xff")]))
    assert {row.path: row.captions for row in found.rows} == {
        **{"a/1.png": ["a"], "a/3.png": [], "a/4.png": [], "a/5.png": []}
    }
    assert [each[1:] for each in found.lost] == [
        ("the sample has no image", "image"),
        ("its json is not valid", "caption"),
        ("the shard has this name twice", "image"),
        ("the caption is not valid Unicode", "caption"),
    ]


def test_patterns_and_gaps(tmp_path: Path) -> None:
    for number in (0, 1, 4):
        write_tar(tmp_path / f"s-{number:03}.tar", pair(str(number), "a"))
    expected = {f"s-{number:03}/{number}.png": ["a"] for number in (0, 1, 4)}
    gone = [Lost(f"s-{number:03}.tar", "the shard is missing", "shard") for number in (2, 3, 5)]
    assert rows(tmp_path / "s-{000..004}.tar") == rows(tmp_path / "s-*.tar") == rows(tmp_path) == expected
    assert rows(tmp_path / "s-{000,004}.tar") == {name: expected[name] for name in ("s-000/0.png", "s-004/4.png")}
    assert read_annotation(tmp_path).lost == read_annotation(tmp_path / "s-*.tar").lost == gone[:2]
    assert read_annotation(tmp_path / "s-{000..005}.tar").lost == gone
    assert reasons(gone) == ["3 shards: the shard is missing, e.g. s-002.tar, s-003.tar, s-005.tar"]
    write_tar(tmp_path / "s-20240101.tar", pair("x", "a"))  # a date counts no shards
    assert [each.what for each in read_annotation(tmp_path).lost] == []
    (tmp_path / "s-1.txt").touch()
    with pytest.raises(DatasetError, match=r"names other files than shards, such as .*s-1\.txt"):
        read_annotation(tmp_path / "s-*")


def test_folders_of_clip_benchmark(tmp_path: Path) -> None:
    """A txt holds a caption a line there; a shard that should be there is named."""
    write_tar(tmp_path / "train/0.tar", pair("0", "a\nb"))
    write_tar(tmp_path / "test/0.tar", pair("0", "c\n\nd\n"))
    for split, count in (("train", "1"), ("test", "2\n")):
        (tmp_path / split / "nshards.txt").write_text(count)
    found = read_annotation(tmp_path)
    assert found.layout == "clip-benchmark"
    assert {row.path: (row.split, row.captions) for row in found.rows} == {
        "test/0/0.png": ("test", ["c", "d"]),
        "train/0/0.png": ("train", ["a", "b"]),
    }
    assert found.lost == [Lost("test/1.tar", "the shard is missing", "shard")]
    assert rows(tmp_path, captions="whole") == {"test/0/0.png": ["c d"], "train/0/0.png": ["a b"]}
    (tmp_path / "test/nshards.txt").write_text("many")
    with pytest.raises(DatasetError, match=r"test/nshards\.txt holds 'many' and not the number of shards"):
        read_annotation(tmp_path)


@pytest.mark.parametrize("name", ["../1", "/1"])
def test_members_that_lead_outside_are_refused(tmp_path: Path, name: str) -> None:
    fields = json.dumps({"image_id": f"{name}.png", "captions": ["a"]}).encode()
    with pytest.raises(DatasetError, match="a path outside the image folder"):
        read_annotation(write_tar(tmp_path / "a.tar", [("1.png", RED), ("1.json", fields)]))
