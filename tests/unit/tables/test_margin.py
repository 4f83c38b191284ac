"""The table of margins: which methods stand next to which, and what is compared."""

from __future__ import annotations

import csv

import numpy as np
import pandas as pd
import pytest

from rsitr.params import parse_params
from rsitr.records.artefact import Outcome
from rsitr.records.cell import Record
from rsitr.records.files import write_json
from rsitr.tables import margin
from tests.helpers.lab import view

FIXED = {
    "margin": 0.2,
    "margin_type": "fixed",
    "beta": 5.0,
    "prior": "paper",
    "prior_bleu": 0.5,
    "negatives": "hardest",
}
DYNAMIC = FIXED | {"margin_type": "dynamic"}
METHODS = ["chance", "vse++", "vse++@dynamic", "vse++@similar", "vse++@wide", "vse"]
CONFIGS = {
    "chance": {},
    "vse++": FIXED | {"epochs": 5},
    "vse++@dynamic": DYNAMIC | {"epochs": 5},
    "vse++@similar": DYNAMIC | {"epochs": 5, "negatives": "most-similar", "prior": "released"},
    "vse++@wide": DYNAMIC | {"epochs": 9},
    "vse": FIXED | {"epochs": 5},
}
# Two images of two captions; the queries of a perfect method have rank 1, those of a blind one rank 30.
IMAGES = pd.DataFrame({"direction": "i2t", "image_id": ["x", "y"], "caption": -1})
TEXTS = pd.DataFrame({"direction": "t2i", "image_id": ["x", "x", "y", "y"], "caption": range(4)})


@pytest.fixture
def build(tmp_path):
    """``build(ranks by method and seed)`` writes the records and the table and returns its rows."""

    def built(found, missing=()):
        seeds = sorted({seed for _, seed in found})
        matrix = [{"datasets": ["ucm"], "methods": METHODS, "seeds": seeds}]
        params = parse_params({"experiment": "lab", "experiments": {"lab": {"title": "Lab", "matrix": matrix}}})
        for cell in params.cells("lab"):
            rank = found.get((cell.method, cell.seed), 30)
            if cell.method in missing:
                continue
            folder = tmp_path / "cells" / cell.path
            outcome = Outcome() if rank else Outcome(status="failed", reason="diverged")
            metrics = {"mr": 100.0 if rank == 1 else 0.0} if rank else {}
            facts = {"outcome": outcome, "metrics": metrics, "config": CONFIGS[cell.method]}
            write_json(folder / "cell.json", Record(**cell._asdict(), **facts))
            rows = pd.concat([IMAGES, TEXTS]).assign(rank=np.int32(rank or 0), dup_rank=np.int32(rank or 0))
            rows.to_parquet(folder / "ranks.parquet")
        paths = margin.build(view(params, tmp_path / "cells"), tmp_path / "out")
        assert [path.name for path in paths] == [f"margin.{kind}" for kind in ("csv", "md", "tex", "html", "png")]
        text = (tmp_path / "out" / "margin.csv").read_text(encoding="utf-8")
        return {row["method"]: row for row in csv.DictReader(x for x in text.splitlines() if not x.startswith("#"))}

    return built


def test_methods_that_differ_in_the_margin_only_stand_together(build):
    rows = build({("vse++@dynamic", 0): 1, ("vse++", 0): 30})
    # vse has no dynamic margin next to it; vse++@wide is trained longer and is compared with nothing.
    assert list(rows) == ["vse++", "vse++@dynamic", "vse++@similar", "vse++@wide"]
    assert rows["vse++"]["margin"] == "fixed 0.2"
    assert rows["vse++@dynamic"]["margin"] == "γ 0.2, β 5, S 0.5 BLEU-4 + 0.5 METEOR"
    assert rows["vse++@similar"]["margin"] == "γ 0.2, β 5, S released"
    assert [rows[name]["negative"] for name in rows] == ["largest violation"] * 2 + [
        "highest score",
        "largest violation",
    ]
    assert rows["vse++@wide"]["ucm Δ mR"] == rows["vse++"]["ucm Δ mR"] == ""


def test_the_difference_and_its_significance(build):
    rows = build({("vse++@dynamic", 0): 1, ("vse++", 0): 30})
    better, same = rows["vse++@dynamic"], rows["vse++@similar"]
    assert (better["ucm mR"], better["ucm Δ mR"], better["ucm 95 % interval"]) == (
        "100.00",
        "+100.00",
        "+100.00 to +100.00",
    )
    # Every draw is on one side: 2 / 2001, twice that for two comparisons.
    assert better["ucm p"] == "0.002"
    assert (same["ucm Δ mR"], same["ucm p"]) == ("+0.00", "1.000")


def test_seeds_are_averaged(build):
    rows = build({("vse++@dynamic", 0): 1, ("vse++@dynamic", 1): 30, ("vse++", 1): 30})
    assert (rows["vse++@dynamic"]["ucm seeds"], rows["vse++@dynamic"]["ucm Δ mR"]) == ("2", "+50.00")
    assert rows["vse++@dynamic"]["ucm mR"] == "50.00 ± 70.71"


def test_an_incomplete_set_of_seeds_is_compared_with_nothing(build):
    rows = build({("vse++@dynamic", 0): 1, ("vse++@dynamic", 1): None, ("vse++", 0): 30})
    assert (rows["vse++@dynamic"]["ucm mR"][:2], rows["vse++@dynamic"]["ucm Δ mR"]) == ("NA", "")


def test_before_the_first_record_there_is_no_row(build):
    assert build({("chance", 0): 30}, missing=METHODS[1:]) == {}
