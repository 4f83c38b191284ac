"""What the tables say of cells whose models began as scene classifiers."""

from __future__ import annotations

import csv

import pytest

from rsitr.tables import comparison
from tests.helpers.lab import Records, params

OWN = "official-none"
"""The clean table of a dataset's own splits."""

CHOSEN = params((["ucm"], ["vse", "vse@clean"], [0]))


@pytest.fixture
def build(tmp_path):
    """``build(overlaps)``: the comparison of two cells, each with a prior, as text and as tidy rows."""
    records = Records(tmp_path)
    for method, name in (("vse", "aid"), ("vse@clean", "aid-clean")):
        config = {"instruction_weights": f"scenes://lab/{name}"}
        records.put("ucm", method, 0, 40.0, parameters={"trainable": 4}, used={"prior": "f" * 64}, config=config)

    def make(overlaps):
        comparison.build(records.view(CHOSEN, overlaps), records.out)
        with (records.out / "comparison.long.csv").open(encoding="utf-8", newline="") as file:
            rows = {row["method"] + row["variant"]: row["prior_overlap"] for row in csv.DictReader(file)}
        return (records.out / "comparison.md").read_text(encoding="utf-8"), rows

    return make


def test_a_number_is_marked_where_its_prior_saw_test_images(build):
    text, rows = build({("ucm", OWN): (0, 210), ("ucm", "lab/aid"): (7, 210), ("ucm", "lab/aid-clean"): (0, 210)})
    note = "7 of 210 test images with a near duplicate in the images of the prior lab/aid (rule copies)"
    assert text.count(f"<sup>‡1</sup> {note}\n") == 2  # below either table
    assert "lab/aid-clean" not in text
    assert "were not counted" not in text
    assert rows == {"vse": "lab/aid: 7", "vseclean": "lab/aid-clean: 0"}


def test_what_is_not_known_of_a_prior_is_said(build):
    text, rows = build({("ucm", OWN): (0, 210), ("ucm", "lab/aid"): None, ("ucm", "lab/aid-clean"): (0, 210)})
    assert "in what priors learned from were not counted for lab/aid (ucm).\n" in text
    assert "‡" not in text
    assert rows == {"vse": "", "vseclean": "lab/aid-clean: 0"}
