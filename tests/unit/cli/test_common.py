"""What commands share."""

from __future__ import annotations

from rsitr.cli.common import left_out


def test_what_is_left_out_is_told_by_reason_the_most_frequent_first():
    assert left_out([]) == "0 of 0 left out"
    assert left_out(["", ""]) == "0 of 2 left out"
    assert left_out(["flat", "", "missing image", "missing image"]) == "3 of 4 left out (2 x missing image, 1 x flat)"
