"""Karpathy's, COCO's and ALBEF's JSON: what becomes of every entry, and what is lost."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsitr.datasets.base import Row
from rsitr.datasets.layouts import Annotation, Lost, read_annotation
from rsitr.errors import DatasetError
from tests.helpers.examples import examples


def read(folder: Path, content: object, name: str = "mine.json", encoding: str = "utf-8") -> Annotation:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding=encoding)
    return read_annotation(path)


def row(name: str, split: str, *captions: str, class_name: str = "", keywords: tuple[str, ...] = ()) -> Row:
    return Row(name, name, split, class_name, [*captions], [*keywords])  # type: ignore[arg-type]


class TestKarpathy:
    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
    def test_rows(self, tmp_path: Path, encoding: str) -> None:
        """A byte order mark, COCO's folder and fourth split, Windows' separators, no ids, a split by another name."""
        images = [
            {"filepath": "val2014", "filename": "1.jpg", "split": "restval", "sentences": [{"raw": " A  dog ."}]},
            {"filename": "port\\2.jpg", "split": "dev", "sentences": [{"raw": "é"}, {"raw": "b"}], "classname": "Port"},
            {"filename": "3.jpg", "split": "test", "sentences": [], "keywords": [" sea "]},
        ]
        found = read(tmp_path, {"images": images}, encoding=encoding)
        assert found.layout == "karpathy"
        assert found.rows == [
            row("val2014/1.jpg", "train", "A dog ."),
            row("port/2.jpg", "val", "é", "b", class_name="port"),
            row("3.jpg", "test", keywords=("sea",)),
        ]
        assert found.lost == []
        assert found.captions == 3

    def test_what_cannot_be_used_is_listed(self, tmp_path: Path) -> None:
        images = [
            {"filename": "1.jpg", "split": "train", "sentences": [{"raw": "a"}, {"raw": " "}, {"raw": None}, {}]},
            {"filename": "2.jpg", "split": "holdout", "sentences": [{"raw": "b"}]},
            {"split": "train", "sentences": [{"raw": "c"}]},
            3,
            {"filename": "1.jpg", "split": "test", "sentences": [{"raw": "d"}]},
            {"filename": "4.jpg", "split": "test", "sentences": "e", "classname": 7, "keywords": "sea"},
            {"filename": "5.jpg", "split": "test", "sentences": {"raw": "f"}},
            {"filename": "6.jpg", "split": "test", "sentences": [{"raw": "\ud800"}]},
        ]
        found = read(tmp_path, {"images": images})
        assert [(each.image_id, each.captions) for each in found.rows] == [
            *(("1.jpg", ["a"]), ("4.jpg", ["e"]), ("5.jpg", []), ("6.jpg", []))
        ]
        assert found.lost == [
            Lost("mine.json: images[0], caption 2", "the caption is blank", "caption"),
            Lost("mine.json: images[0], caption 3", "the caption is not a text", "caption"),
            Lost("mine.json: images[0], caption 4", "the caption is not a text", "caption"),
            Lost("mine.json: images[1]", "the split 'holdout' is unknown", "image"),
            Lost("mine.json: images[2]", "no image is named", "image"),
            Lost("mine.json: images[3]", "it is not an object", "image"),
            Lost("mine.json: images[4]", "its image is in another split as well, train", "caption"),
            Lost("mine.json: images[5]", "the class is not a name, or not the one before", "label"),
            Lost("mine.json: images[5]", "the keywords are not a list of texts", "label"),
            Lost("mine.json: images[6]", "the captions are not a list", "caption"),
            Lost("mine.json: images[7], caption 1", "the caption is not valid Unicode", "caption"),
        ]

    @pytest.mark.parametrize("name", ["../a.jpg", "/a.jpg", "C:\\a.jpg", "x\\..\\..\\a.jpg", "a\0.jpg", "\ud800.jpg"])
    def test_paths_outside_are_refused(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(DatasetError, match=r"mine\.json: images\[0\] names .*, a path outside the image folder"):
            read(tmp_path, {"images": [{"filename": name, "split": "test", "sentences": []}]})


class TestCoco:
    def test_rows(self, tmp_path: Path) -> None:
        images = [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg"}, {"id": 1, "file_name": "c.jpg"}]
        captions = [
            {"id": 5, "image_id": 2, "caption": "boats\n"},
            {"id": 6, "image_id": 1, "caption": "a quay"},
            {"id": 7, "image_id": 2, "caption": "two boats"},
            {"id": 8, "image_id": 9, "caption": "lost"},
            {"id": 9, "image_id": 1},
        ]
        content = {"images": [*images, {"file_name": "d.jpg"}], "annotations": captions}
        found = read(tmp_path, content, "captions_val2017.json")
        assert found.layout == "coco"
        assert found.rows == [row("a.jpg", "val", "a quay"), row("b.jpg", "val", "boats", "two boats")]
        assert [(lost.what.partition(": ")[2], lost.reason, lost.kind) for lost in found.lost] == [
            ("images[2]", "its id is that of another image as well", "image"),
            ("images[3]", "it has no id", "image"),
            ("annotations[3]", "its image is not listed", "caption"),
            ("annotations[4]", "it has no caption", "caption"),
        ]


class TestAlbef:
    def test_one_entry_a_caption_and_one_an_image(self, tmp_path: Path) -> None:
        train = [
            {"caption": "boats", "image": "train/port_7.tif", "image_id": 0, "label_name": "Port", "label": 3},
            {"caption": "a quay", "image": "train/port_7.tif", "image_id": 0, "label_name": "Port", "label": 3},
        ]
        test = [{"image": "test/wood_2.tif", "caption": ["a wood", "dense trees"]}]
        assert read(tmp_path, train, "rs_train.json").rows == [
            row("train/port_7.tif", "train", "boats", "a quay", class_name="port")
        ]
        assert read(tmp_path, test, "rs_test.json").rows == [row("test/wood_2.tif", "test", "a wood", "dense trees")]
        (tmp_path / "mine.json").unlink(missing_ok=True)
        both = read_annotation(tmp_path)
        assert both == read_annotation(tmp_path / "rs_*.json") == read_annotation(tmp_path / "rs_{test,train}.json")
        assert (both.layout, len(both.rows), both.captions) == ("albef", 2, 4)


anything = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                ["filename", "file_name", "image", "id", "image_id", "caption", "sentences", "raw", "split"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)


@examples(60)
@given(st.one_of(anything, st.fixed_dictionaries({"images": st.lists(anything)}, optional={"annotations": anything})))
def test_any_json_gives_rows_or_a_message(content: object) -> None:
    with TemporaryDirectory() as folder:
        try:
            found = read(Path(folder), content)
        except DatasetError:
            return
    assert found.rows
    for each in found.rows:
        assert all(caption and caption == " ".join(caption.split()) for caption in each.captions)
