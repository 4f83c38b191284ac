"""The table of re-ranking: two rows a method, what lies between them, and what is said where nothing is stated."""

from __future__ import annotations

import csv

import numpy as np
import pandas as pd
import pytest

from rsitr.errors import RecordError
from rsitr.params import parse_params
from rsitr.records.artefact import Outcome
from rsitr.records.cell import Record
from rsitr.records.files import write_json
from rsitr.tables import reranking
from rsitr.tables.published import METRICS
from tests.helpers.lab import view, written

METHODS = ["chance", "vse", "vse++"]
# Two images of two captions each.
IMAGES = pd.DataFrame({"direction": "i2t", "image_id": ["x", "y"], "caption": -1})
TEXTS = pd.DataFrame({"direction": "t2i", "image_id": ["x", "x", "y", "y"], "caption": range(4)})


def mr(rank: int) -> float:
    """Of a method whose queries all have this rank, 1 or 30."""
    return 100.0 if rank == 1 else 0.0


@pytest.fixture
def build(tmp_path):
    """``build({(method, seed): (rank, rank after re-ranking or None)})`` writes records and table, returns its rows."""

    def built(found, failed=(), columns=("rank", "rr_rank")):
        matrix = [{"datasets": ["ucm"], "methods": METHODS, "seeds": sorted({seed for _, seed in found})}]
        params = parse_params({"experiment": "lab", "experiments": {"lab": {"title": "Lab", "matrix": matrix}}})
        for cell in params.cells("lab"):
            if (cell.method, cell.seed) not in found:
                continue
            plain, after = found[cell.method, cell.seed]
            bad = (cell.method, cell.seed) in failed
            metrics = dict.fromkeys(METRICS, mr(plain))
            if after is not None:
                metrics |= dict.fromkeys((f"rr_{name}" for name in METRICS), mr(after))
            outcome = Outcome(status="failed", reason="diverged") if bad else Outcome()
            record = Record(**cell._asdict(), outcome=outcome, metrics={} if bad else metrics)
            write_json(tmp_path / "cells" / cell.path / "cell.json", record)
            rows = pd.concat([IMAGES, TEXTS]).assign(rank=np.int32(plain), rr_rank=np.int32(after or 0))
            kept = columns if after is not None else columns[:1]
            rows[[*IMAGES, *kept]].to_parquet(tmp_path / "cells" / cell.path / "ranks.parquet")
        paths = written(reranking.TABLE, tmp_path / "out", view=view(params, tmp_path / "cells"))
        assert [path.name for path in paths] == [f"reranking.{kind}" for kind in ("csv", "md", "tex", "html")]
        text = (tmp_path / "out" / "reranking.csv").read_text(encoding="utf-8")
        lines = text.splitlines()
        notes = "\n".join(line for line in lines if line.startswith("#"))
        return {row["method"]: row for row in csv.DictReader(x for x in lines if not x.startswith("#"))}, notes

    return built


def test_two_rows_a_method(build):
    rows, _ = build({(method, 0): (30, 1) for method in METHODS})
    assert list(rows) == [label for method in METHODS for label in (method, f"{method}, re-ranked")]
    assert [rows["vse"][f"ucm {name}"] for name in ("i2t R@1", "t2i R@10", "mR")] == ["0.00"] * 3
    assert [rows["vse, re-ranked"][f"ucm {name}"] for name in ("i2t R@1", "t2i R@10", "mR")] == ["100.00"] * 3


def test_the_difference_and_its_significance(build):
    rows, _ = build({("chance", 0): (30, 30), ("vse", 0): (30, 1), ("vse++", 0): (1, 30)})
    columns = ("ucm Δ mR", "ucm 95 % interval", "ucm p")
    assert [rows["vse"][column] for column in columns] == ["", "", ""]
    # Every draw is on one side: 2 / 2001, three times that for three comparisons, and twice for the second.
    assert [rows["vse, re-ranked"][column] for column in columns] == ["+100.00", "+100.00 to +100.00", "0.003"]
    assert [rows["vse++, re-ranked"][column] for column in columns] == ["-100.00", "-100.00 to -100.00", "0.003"]
    assert [rows["chance, re-ranked"][column] for column in columns] == ["+0.00", "+0.00 to +0.00", "1.000"]


def test_seeds_are_averaged(build):
    rows, _ = build({("vse", 0): (30, 1), ("vse", 1): (30, 30)})
    assert rows["vse, re-ranked"]["ucm mR"] == "50.00 ± 70.71"
    assert (rows["vse, re-ranked"]["ucm seeds"], rows["vse, re-ranked"]["ucm Δ mR"]) == ("2", "+50.00")


def test_records_without_re_ranking_say_so(build):
    rows, notes = build({("vse", 0): (1, None), ("vse++", 0): (30, 1)})
    assert rows["vse"]["ucm mR"] == "100.00"
    assert rows["vse, re-ranked"]["ucm mR"].startswith("NA [")
    assert rows["vse, re-ranked"]["ucm Δ mR"] == ""
    assert rows["chance"]["ucm mR"].startswith("NA [")
    assert "not stated in the records" in notes
    assert "not run yet" in notes
    # Nothing but vse++ is compared, so its p is that of one test: 2 / 2001.
    assert rows["vse++, re-ranked"]["ucm p"] == "0.001"


def test_an_incomplete_set_of_seeds_is_not_compared(build):
    rows, notes = build({("vse", 0): (30, 1), ("vse", 1): (30, 1)}, failed=[("vse", 1)])
    assert rows["vse, re-ranked"]["ucm seeds"] == "1/2"
    assert rows["vse, re-ranked"]["ucm mR"].startswith("NA [")
    assert rows["vse, re-ranked"]["ucm p"] == ""
    assert "seed 1: failed: diverged" in notes


def test_ranks_that_lack_what_the_record_states_are_an_error(build):
    with pytest.raises(RecordError, match=r"no column rr_rank, .* evaluate lab/ucm/vse/0 again"):
        build({("vse", 0): (30, 1)}, columns=("rank",))
