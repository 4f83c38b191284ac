"""Names of images stay inside the folder of the images, however they are spelt."""

from __future__ import annotations

import os.path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsitr.datasets.names import relative_name
from tests.helpers.examples import examples


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.jpg", "a.jpg"), ("x\\y\\a.jpg", "x/y/a.jpg"), ("./x//a.jpg", "x/a.jpg"), ("a..b.jpg", "a..b.jpg")],
)
def test_a_name_has_slashes_and_no_detours(name: str, expected: str) -> None:
    assert relative_name(name) == expected


@pytest.mark.parametrize(
    "name", ["", ".", "/a", "\\a", "\\\\server\\a", "c:a", "C:/a", ".\\C:", "..", "x/../../a", "a\0", "\udcff"]
)
def test_a_path_outside_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="a path outside the image folder"):
        relative_name(name)


@examples(100)
@given(st.text("a./\\:C", max_size=12))
def test_any_name_stays_inside_or_is_refused(name: str) -> None:
    try:
        found = relative_name(name)
    except ValueError:
        return
    assert os.path.normpath(f"/images/{found}") == f"/images/{found}"
    assert relative_name(found) == found
