"""What commands share."""

from __future__ import annotations

import pyarrow as pa
import pytest
import typer

from rsitr.cli.common import _reported, left_out
from rsitr.errors import Damaged
from tests.helpers.made import fill


def test_what_is_left_out_is_told_by_reason_the_most_frequent_first():
    assert left_out([]) == "0 of 0 left out"
    assert left_out(["", ""]) == "0 of 2 left out"
    assert left_out(["flat", "", "missing image", "missing image"]) == "3 of 4 left out (2 x missing image, 1 x flat)"


@pytest.mark.parametrize(
    ("cause", "stays"),
    [
        *((MemoryError(), True), (OSError(24, "Too many open files"), True), (pa.ArrowException("no thread"), True)),
        *((OSError("no thrift"), False), (pa.ArrowInvalid("no page"), False), (None, False)),
    ],
)
def test_a_file_that_may_be_whole_is_not_set_aside(cause, stays, tmp_path, capsys):
    path = fill(tmp_path / "a.parquet", b"rows")

    def read() -> None:
        try:
            raise cause or ValueError
        except (MemoryError, OSError, ValueError, pa.ArrowException):
            raise Damaged(path, "realloc failed") from None

    with pytest.raises(typer.Exit):
        _reported(read, "none", "")(context=None)
    assert path.is_file() == stays
    said = capsys.readouterr().err
    assert said.startswith(f"rsitr: {path} ")
    assert said.endswith("the file stays as it is\n" if stays else "run again, which makes it again\n")
