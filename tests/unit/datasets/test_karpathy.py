"""The JSON layout of Karpathy's splits: rows or a message, whatever the file holds."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsitr.datasets.base import Row
from rsitr.datasets.karpathy import karpathy_rows
from rsitr.errors import DatasetError

GOOD = {
    "filename": "airport_1.jpg",
    "split": "train",
    "sentences": [{"raw": "Many  planes\t are parked ."}, {"raw": " A runway."}],
    "classname": "Airport",
    "keywords": ["planes"],
}


def rows(folder: Path, content, **options):
    path = folder / "dataset.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return list(karpathy_rows(path, image_dir="images", **options))


def test_a_row(tmp_path):
    expected = Row(
        "airport_1.jpg",
        "images/airport_1.jpg",
        "train",
        "airport",
        ["Many planes are parked .", "A runway."],
        ["planes"],
    )
    assert rows(tmp_path, {"images": [GOOD]}) == [expected]


def test_class_and_keywords_are_optional_and_the_class_may_come_from_elsewhere(tmp_path):
    entry = {name: GOOD[name] for name in ("filename", "split", "sentences")}
    (row,) = rows(tmp_path, {"images": [entry]})
    assert (row.class_name, row.keywords) == ("", [])
    (row,) = rows(tmp_path, {"images": [entry]}, class_of=lambda entry: entry["filename"].split("_")[0].upper())
    assert row.class_name == "airport"


@pytest.mark.parametrize("sentences", [{}, {"sentences": []}])
def test_an_image_without_captions_is_kept_and_says_so(tmp_path, sentences):
    entry = {"filename": "a.jpg", "split": "val"} | sentences
    assert rows(tmp_path, {"images": [entry]}) == [Row("a.jpg", "images/a.jpg", "val", "", [], [])]


def test_a_blank_caption_is_an_empty_one(tmp_path):
    (row,) = rows(tmp_path, {"images": [GOOD | {"sentences": [{"raw": " \t"}, {"raw": "sea"}]}]})
    assert row.captions == ["", "sea"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not valid JSON"),
        ("[]", "the key 'images' must hold a list"),
        ({"images": {}}, "the key 'images' must hold a list"),
        ({"images": [GOOD, 3]}, r"images\[1\] is not in the expected layout"),
        ({"images": [GOOD | {"sentences": None}]}, r"images\[0\] is not in the expected layout"),
        ({"images": [GOOD | {"sentences": ["a runway"]}]}, r"images\[0\] is not in the expected layout"),
        ({"images": [GOOD | {"sentences": [{"raw": None}]}]}, r"images\[0\] is not in the expected layout"),
        ({"images": [{"split": "train"}]}, r"images\[0\] is not in the expected layout \(KeyError\('filename'\)\)"),
        ({"images": [GOOD | {"split": "restval"}]}, r"images\[0\] \(airport_1.jpg\) has the unknown split 'restval'"),
        ({"images": [GOOD | {"filename": "../../etc/passwd"}]}, "a path outside the image folder"),
        ({"images": [GOOD | {"filename": "/etc/passwd"}]}, "a path outside the image folder"),
        ({"images": [GOOD | {"filename": "C:\\a.jpg"}]}, "a path outside the image folder"),
        ({"images": [GOOD | {"filename": "a\\..\\..\\b.jpg"}]}, "a path outside the image folder"),
        ("[" * 100_000, "is not valid JSON"),
        ({"images": [GOOD | {"filename": 7}]}, r"images\[0\] is not in the expected layout"),
        ({"images": [GOOD | {"classname": None}]}, r"images\[0\] is not in the expected layout"),
        ({"images": [GOOD | {"keywords": None}]}, r"images\[0\] is not in the expected layout"),
    ],
)
def test_other_layouts(content, message, tmp_path):
    with pytest.raises(DatasetError, match=message) as caught:
        rows(tmp_path, content)
    assert "dataset.json" in str(caught.value)


def test_a_byte_order_mark_and_names_as_windows_has_them(tmp_path):
    path = tmp_path / "dataset.json"
    path.write_text(json.dumps({"images": [GOOD | {"filename": "port\\.\\a.jpg"}]}), encoding="utf-8-sig")
    (row,) = karpathy_rows(path, image_dir="images")
    assert (row.image_id, row.path) == ("port/a.jpg", "images/port/a.jpg")


def test_missing_and_binary_files(tmp_path):
    with pytest.raises(DatasetError, match=r"is missing: fetch the dataset again \(`rsitr data fetch`\)"):
        list(karpathy_rows(tmp_path / "dataset.json", image_dir="images"))
    (tmp_path / "dataset.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DatasetError, match="is not valid JSON"):
        list(karpathy_rows(tmp_path / "dataset.json", image_dir="images"))


anything = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from([*GOOD, "raw"]), inner, max_size=2),
    max_leaves=4,
)
spoilt = st.builds(lambda key, value: GOOD | {key: value}, st.sampled_from(list(GOOD)), anything)


@given(st.lists(spoilt | anything, max_size=2))
def test_any_entry_gives_a_row_or_a_message(images):
    with TemporaryDirectory() as folder:
        try:
            found = rows(Path(folder), {"images": images})
        except DatasetError:
            return
    for row in found:
        assert isinstance(row.image_id, str)
        assert all(isinstance(text, str) for text in [*row.captions, *row.keywords, row.class_name])
