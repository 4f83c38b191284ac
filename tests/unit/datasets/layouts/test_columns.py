"""Parquet tables as annotations."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rsitr.datasets.base import Row
from rsitr.datasets.layouts import columns, read_annotation
from rsitr.errors import DatasetError


def test_a_row_is_an_image_and_its_captions(tmp_path: Path) -> None:
    rows = [
        {"file_name": "a.jpg", "captions": ["a port", "boats"], "split": "train", "box": [1, 2]},
        {"file_name": "b.jpg", "captions": ["a wood"], "split": "test", "box": [3, 4]},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "mine.parquet")
    found = read_annotation(tmp_path / "mine.parquet")
    assert (found.layout, found.lost) == ("parquet", [])
    assert found.rows == [
        Row("a.jpg", "a.jpg", "train", "", ["a port", "boats"], []),
        Row("b.jpg", "b.jpg", "test", "", ["a wood"], []),
    ]


def test_a_file_that_is_none_and_one_without_captions(tmp_path: Path) -> None:
    path = tmp_path / "mine.parquet"
    path.write_bytes(b"PAR1 half")
    with pytest.raises(DatasetError, match="parquet: is not a parquet file"):
        read_annotation(path)
    pq.write_table(pa.table({"file_name": ["a.jpg"], "words": ["a"]}), path)
    with pytest.raises(DatasetError, match=r"parquet: has no field for captions .*, only 'file_name', 'words'"):
        read_annotation(path)


def test_a_damaged_table_is_told(tmp_path: Path) -> None:
    path = tmp_path / "mine.parquet"
    pq.write_table(pa.table({"file_name": ["a.jpg"] * 1000, "caption": [str(n) for n in range(1000)]}), path)
    content = bytearray(path.read_bytes())
    content[4:200] = bytes(196)
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=r"mine\.parquet is damaged"):
        read_annotation(path)


def test_a_small_file_that_stands_for_endless_text_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names, text = pa.array([0] * 5000, pa.int8()), pa.array(["a dot " * 200])
    table = pa.table(
        {"image": [f"{n}.jpg" for n in range(5000)], "caption": pa.DictionaryArray.from_arrays(names, text)}
    )
    path = tmp_path / "bomb.parquet"
    pq.write_table(table, path)
    assert len(read_annotation(path).rows) == 5000  # 6 MB, which is not much
    monkeypatch.setattr(columns, "LARGEST", 2**20)
    monkeypatch.setattr(columns, "PACKED", 10)
    with pytest.raises(
        DatasetError, match=r"bomb.parquet has .* bytes and stands for more than 1,.* letters: do not trust it"
    ):
        read_annotation(path)
