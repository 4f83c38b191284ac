"""Every parser of files from strangers reads any bytes, or says in a message of ours why not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.faults.fuzz import TARGETS, changed, check, examples

WORDS = [
    b"\0",
    b"\xff" * 4,
    b"\xff\xff\xff\x7f",
    b"9" * 5000,
    b"[" * 3000,
    b'{"a":' * 500,
    b"../",
    b"/etc/x",
    b'"',
    b"\n",
]
EDIT = st.tuples(
    st.sampled_from(["replace", "replace", "replace", "insert", "cut", "repeat"]),
    st.floats(0, 1, exclude_max=True),
    st.sampled_from(WORDS) | st.binary(min_size=1, max_size=4),
)


def property_of(name: str, count: int) -> Callable[[], None]:
    """That a target reads its examples after any edits, or refuses them."""

    @settings(max_examples=count, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(st.sampled_from(examples(name)), st.lists(EDIT, max_size=4))
    def holds(content: bytes, edits: list[tuple[str, float, bytes]]) -> None:
        check(name, changed(content, edits))

    return holds  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", TARGETS)
def test_any_bytes_are_read_or_refused(name: str) -> None:
    property_of(name, max(settings().max_examples * 2 // 5, 5))()


@pytest.mark.parametrize("name", TARGETS)
def test_random_bytes_are_refused(name: str) -> None:
    for content in (b"", b"\0", bytes(range(256)) * 5, b"\xff" * 600):
        check(name, content)
