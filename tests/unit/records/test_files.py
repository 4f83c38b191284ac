"""Writing and reading of results: whole files or none, and messages that name the file and the cause."""

from __future__ import annotations

import json
import os
import stat
import threading
from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from rsitr.errors import RecordError
from rsitr.records.files import as_json, read_json, replacing, set_aside, write_csv, write_json, write_text


class Facts(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    count: int = 0


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_parent_folders_are_made(tmp_path: Path) -> None:
    write_text(tmp_path / "a/b/c.txt", "text\r\nas it is\n")
    assert (tmp_path / "a/b/c.txt").read_bytes() == b"text\r\nas it is\n"
    assert names(tmp_path / "a/b") == ["c.txt"]


def test_the_old_file_is_there_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with replacing(path) as partial:
        assert partial.parent == path.parent, "a rename within a folder is atomic"
        assert partial.name.startswith(".a.txt.")
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_exception_leaves_the_old_file_and_nothing_else(tmp_path: Path, kind: type[BaseException]) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write() -> None:
        with replacing(path) as partial:
            partial.write_text("half of the ne")
            raise kind

    with pytest.raises(kind):
        write()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_an_exception_before_there_was_a_file_leaves_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError), replacing(tmp_path / "a.txt"):
        raise ValueError
    assert names(tmp_path) == []


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_the_mode_is_that_of_any_new_file(tmp_path: Path, mask: int, mode: int) -> None:
    before = os.umask(mask)
    try:
        with replacing(tmp_path / "a.txt") as partial:
            partial.unlink()
            partial.touch(0o600)  # as a library does that makes a file of its own
        assert os.umask(mask) == mask, "the mask of the process stays as it was"
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == mode


def test_two_writers_at_once_do_not_collide(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with replacing(path) as first:
        with replacing(path) as second:
            assert first != second
            first.write_text("first")
            second.write_text("second")
        assert path.read_text() == "second"
    assert path.read_text() == "first"
    assert names(tmp_path) == ["a.txt"]


def test_many_writers_and_a_reader_never_see_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    texts = [str(number) * 20_000 for number in range(4)]
    write_text(path, texts[0])

    def write(text: str) -> None:
        for _ in range(10):
            write_text(path, text)

    writers = [threading.Thread(target=write, args=(text,)) for text in texts]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        assert path.read_text() in texts
    for writer in writers:
        writer.join()
    assert names(tmp_path) == ["a.txt"]


def test_equal_values_give_equal_text(tmp_path: Path) -> None:
    assert as_json({"b": 1, "a": [1.5, None]}) == '{\n "a": [\n  1.5,\n  null\n ],\n "b": 1\n}\n'
    assert as_json({"count": 2, "name": "x"}) == as_json(Facts(name="x", count=2))
    write_json(tmp_path / "a.json", Facts(name="x", count=2))
    assert json.loads((tmp_path / "a.json").read_text()) == {"name": "x", "count": 2}
    assert read_json(Facts, tmp_path / "a.json") == Facts(name="x", count=2)


def test_tables_have_a_line_of_names(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", ("name", "count"), [("x, y", 1), ("z", 2)])
    assert (tmp_path / "a.csv").read_bytes() == b'name,count\n"x, y",1\nz,2\n'


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b'{"name": "x", "cou', "1 validation error for Facts"),
        (b"", "1 validation error for Facts"),
        (b"\xff\xfe", "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
        (b'{"name": "x", "of_later": 1}', "1 validation error for Facts"),
        (b'{"count": "many"}', "2 validation errors for Facts"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_the_cause(tmp_path: Path, content: bytes, cause: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(RecordError) as error:
        read_json(Facts, path)
    assert str(error.value) == f"{path} cannot be read ({cause}): restore it from git, or delete it and run again"


def test_a_damaged_file_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    for content in ("first", "second"):
        path.write_text(content)
        assert set_aside(path) == tmp_path / "state.pt.damaged"
        assert names(tmp_path) == ["state.pt.damaged"]
        assert (tmp_path / "state.pt.damaged").read_text() == content
