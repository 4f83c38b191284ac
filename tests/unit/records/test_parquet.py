"""Tables on disk: every damaged byte that could change a row or a fact is noticed, and the file is named."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsitr.errors import Damaged, DatasetError
from rsitr.records.parquet import read_batches, read_facts, read_rows, streamed, write_table


class Facts(NamedTuple):
    name: str
    count: int


FACTS = Facts("scenes", 3)
TABLE = pa.table({"image": [f"{number}.png" for number in range(200)], "rank": list(range(200))})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_table(TABLE, FACTS, tmp_path / "deep" / "table.parquet")
    return tmp_path / "deep" / "table.parquet"


def test_rows_and_facts_come_back(path: Path) -> None:
    assert read_rows(path).equals(TABLE)
    assert read_facts(path) == FACTS._asdict()
    assert [file.name for file in path.parent.iterdir()] == ["table.parquet"]


def test_lists_come_back(tmp_path: Path) -> None:
    table = pa.table({"captions": [["a dot", "a bar"], []], "scores": pa.array([[0.5], None], pa.list_(pa.float32()))})
    write_table(table, None, tmp_path / "lists.parquet")
    assert read_rows(tmp_path / "lists.parquet").equals(table)


def streamed_in_parts(path: Path) -> Path:
    with streamed(path, TABLE.schema) as table:
        for start in (0, 90, 180):
            table.write(TABLE.slice(start, 90))
        table.facts = FACTS  # known at the end
    return path


def test_a_table_that_was_written_in_parts_is_like_any_other(path: Path, tmp_path: Path) -> None:
    parts = streamed_in_parts(tmp_path / "parts.parquet")
    assert (read_rows(parts).equals(TABLE), read_facts(parts)) == (True, FACTS._asdict())
    assert pq.read_metadata(parts).num_row_groups == 3
    for file in (path, parts):
        batches = list(read_batches(file, ["rank"], 50))
        assert max(map(len, batches)) == 50
        assert pa.concat_tables(batches).equals(TABLE.select(["rank"]))


def test_a_table_that_is_not_finished_takes_no_ones_place(path: Path) -> None:
    def interrupted() -> None:
        with streamed(path, TABLE.schema) as table:
            table.write(TABLE.slice(0, 9))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        interrupted()
    assert read_rows(path).equals(TABLE)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_no_damaged_part_comes_back_as_other_rows(tmp_path: Path) -> None:
    """A few bytes are of what nobody reads, such as the smallest and the largest value."""
    path, unnoticed = streamed_in_parts(tmp_path / "parts.parquet"), 0
    content = path.read_bytes()
    for place in range(0, len(content), len(content) // 40):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with suppress(Damaged):
            facts, rows = read_facts(path), pa.concat_tables(read_batches(path))
            assert (facts, rows.equals(TABLE)) == (FACTS._asdict(), True)
            unnoticed += 1
    assert unnoticed < 20


def test_a_missing_table_is_named_with_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"t\.parquet is missing: build it with `snakemake --cores 2 .*t\.parquet`"):
        read_facts(tmp_path / "t.parquet")


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "rows zeroed", "facts edited", "no facts"])
def test_a_damaged_table_is_named_with_the_cause(path: Path, damage: str) -> None:
    content = path.read_bytes()
    if damage == "no facts":
        pq.write_table(TABLE, path)
    elif damage == "facts edited":
        header = pq.read_schema(path).metadata
        edited = header | {b"rsitr": header[b"rsitr"].replace(b"3", b"4")}
        pq.write_table(TABLE.replace_schema_metadata(edited), path)
    else:
        changed = {
            "cut": content[: len(content) // 2],
            "empty": b"",
            "text": b"<!DOCTYPE html>",
            "rows zeroed": content[:300] + bytes(64) + content[364:],
        }[damage]
        assert changed != content
        path.write_bytes(changed)
    with pytest.raises(Damaged, match=r"table\.parquet is damaged \(.+\)$") as caught:
        _ = read_facts(path), read_rows(path)
    assert caught.value.path == path
    assert path.is_file(), "reading moves nothing"


def test_a_table_of_before_checksums_is_read(path: Path) -> None:
    header = {b"rsitr": json.dumps(FACTS._asdict()).encode()}
    pq.write_table(TABLE.replace_schema_metadata(header), path)
    assert (read_facts(path), read_rows(path).num_rows) == (FACTS._asdict(), 200)


def test_a_column_of_another_name_is_noticed(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"image", b"imagf"))
    with pytest.raises(Damaged, match="its columns or the number of its rows do not agree with their hash"):
        read_rows(path)


def test_rows_that_the_footer_no_longer_counts_are_noticed(path: Path) -> None:
    content, found = path.read_bytes(), []
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    for place in range(footer, len(content) - 8):
        path.write_bytes(content[:place] + bytes([content[place] ^ 16]) + content[place + 1 :])
        try:
            assert read_rows(path).to_pydict() == TABLE.to_pydict(), place
        except Damaged as error:
            found.append(error.what)
    assert any("the number of its rows" in what for what in found)


@given(data=st.data())
def test_no_changed_byte_changes_a_row_unnoticed(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("bytes") / "table.parquet"
    write_table(TABLE, FACTS, path)
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    try:
        facts, rows = read_facts(path), read_rows(path)
    except Damaged:
        return
    # What is left is the footer's statistics and padding, which nobody reads.
    assert (facts, rows.to_pydict()) == (FACTS._asdict(), TABLE.to_pydict())
