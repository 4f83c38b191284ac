"""The file of first items: what is in it, that it is read as it was written, and what is said of a damaged one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.testing import assert_array_equal

from rsitr.datasets.splits import SplitData
from rsitr.errors import RecordError
from rsitr.retrieval.top_files import SCHEMA, SplitTop, Top, read_top, write_top

IDS = ["a.png", "b.png"]
SPLIT = SplitData(IDS, [Path(name) for name in IDS], ["x", "y"], ["one", "two", "three"], np.array([0, 0, 1]), ("", ""))
TOP = SplitTop(
    Top(np.array([[1, 0, 2], [2, 1, 0]]), np.array([[0.5, 0.25, 0.1], [1, 0, -1]], np.float32)),
    Top(np.array([[0, 1], [0, 1], [1, 0]]), np.array([[0.25, -1], [0.5, 0], [1, 0.1]], np.float32)),
)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "cell" / "top.parquet"
    write_top(path, SPLIT, TOP)
    return path


def test_one_row_a_query(path):
    table = pq.read_table(path)
    assert table.schema.equals(SCHEMA)
    columns = ("direction", "image_id", "caption", "items")
    assert [tuple(row[name] for name in columns) for row in table.to_pylist()] == [
        ("i2t", "a.png", -1, [1, 0, 2]),
        ("i2t", "b.png", -1, [2, 1, 0]),
        ("t2i", "a.png", 0, [0, 1]),
        ("t2i", "a.png", 1, [0, 1]),
        ("t2i", "b.png", 2, [1, 0]),
    ]


def test_it_is_read_as_it_was_written(path):
    found = read_top(path)
    assert found.image_ids.tolist() == ["a.png", "b.png"]
    assert found.image_of.tolist() == [0, 0, 1]
    for side, written in zip((found.i2t, found.t2i), TOP, strict=True):
        assert_array_equal(side.items, written.items)
        assert_array_equal(side.scores, written.scores)
        assert (side.items.dtype, side.scores.dtype) == (np.int32, np.float32)


def test_a_cell_without_numbers_has_an_empty_one(tmp_path):
    write_top(tmp_path / "top.parquet", None, None)
    found = read_top(tmp_path / "top.parquet")
    assert [side.items.shape for side in (found.i2t, found.t2i)] == [(0, 0), (0, 0)]
    assert (len(found.image_of), len(found.image_ids)) == (0, 0)


UNREADABLE = r"top\.parquet cannot be read \(.+\): evaluate the cell again, or restore the file from git"


@pytest.mark.parametrize("content", [None, b"", b"PAR1 and no more"])
def test_what_cannot_be_read_is_named(content, tmp_path):
    path = tmp_path / "top.parquet"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RecordError, match=UNREADABLE):
        read_top(path)


def test_a_flipped_bit_is_found(path):
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 1
    path.write_bytes(whole)
    with pytest.raises(RecordError, match=UNREADABLE):
        read_top(path)


@pytest.mark.parametrize("missing", ["direction", "image_id", "items", "scores"])
def test_a_missing_column_is_named(missing, path):
    pq.write_table(pq.read_table(path).drop_columns([missing]).replace_schema_metadata({}), path)
    with pytest.raises(RecordError, match=f"cannot be read .*{missing}"):
        read_top(path)


@pytest.mark.parametrize("first", [[1, 0], [], None])
def test_lists_of_different_lengths_are_refused(first, path):
    table = pq.read_table(path)
    items = [first, *table["items"].to_pylist()[1:]]
    place = table.column_names.index("items")
    pq.write_table(table.set_column(place, "items", pa.array(items, pa.list_(pa.int32()))), path)
    with pytest.raises(RecordError, match=UNREADABLE):
        read_top(path)
