"""The table of baselines: what stands in it, what is compared, and what params.yaml may not ask of it."""

from __future__ import annotations

import csv

import numpy as np
import pandas as pd
import pytest

from rsitr.errors import ParamsError
from rsitr.params import parse_params
from rsitr.records.artefact import Outcome
from rsitr.records.cell import Record
from rsitr.records.files import write_json
from rsitr.tables import baselines
from tests.helpers.lab import view, written

METHODS = ["chance", "vse", "vse++", "amfmn-sim"]
# Two images of two captions each.
IMAGES = pd.DataFrame({"direction": "i2t", "image_id": ["x", "y"], "caption": -1})
TEXTS = pd.DataFrame({"direction": "t2i", "image_id": ["x", "x", "y", "y"], "caption": range(4)})
FIELDS = ("ucm mR", "ucm Δ mR", "ucm 95 % interval", "ucm p")


def experiment(wanted, seeds=(0,)):
    matrix = [{"datasets": ["ucm"], "methods": METHODS, "seeds": list(seeds)}]
    lab = {"title": "Lab", "matrix": matrix, "baselines": wanted}
    return parse_params({"experiment": "lab", "experiments": {"lab": lab}})


def mr(rank: int) -> float:
    """Of a method whose queries all have this rank, 1 or 30."""
    return 100.0 if rank == 1 else 0.0


def write(params, folder):
    return written(baselines.TABLE, folder / "out", view=view(params, folder / "cells"))


@pytest.fixture
def build(tmp_path):
    """``build(wanted, {(method, seed): (rank, duplicate-aware rank), or None if it failed})``: the tables' rows."""

    def built(wanted, found):
        params = experiment(wanted, sorted({seed for _, seed in found}))
        for cell in params.cells("lab"):
            if (cell.method, cell.seed) not in found:
                continue
            ranks = found[cell.method, cell.seed]
            outcome = Outcome() if ranks else Outcome(status="failed", reason="diverged")
            plain, aware = ranks or (0, 0)
            metrics = {"mr": mr(plain), "dup_mr": mr(aware)} if ranks else {}
            record = Record(**cell._asdict(), outcome=outcome, metrics=metrics)
            write_json(tmp_path / "cells" / cell.path / "cell.json", record)
            rows = pd.concat([IMAGES, TEXTS]).assign(rank=np.int32(plain), dup_rank=np.int32(aware))
            rows.to_parquet(tmp_path / "cells" / cell.path / "ranks.parquet")
        paths = write(params, tmp_path)
        assert [path.name for path in paths] == [f"baselines.{kind}" for kind in ("csv", "md", "tex", "html")]
        text = (tmp_path / "out" / "baselines.csv").read_text(encoding="utf-8")
        return list(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))

    return built


def test_a_table_for_each_baseline_and_one_that_counts_identical_captions(build):
    rows = build({"vse": ["vse++"]}, {("vse", 0): (30, 1), ("vse++", 0): (1, 1)})
    plain, counted = rows[:2], rows[-2:]
    assert [row["method"] for row in plain] == ["vse", "vse++"]
    assert [plain[0][field] for field in FIELDS] == ["0.00", "", "", ""]
    # Every draw is on one side: 2 / 2001.
    assert [plain[1][field] for field in FIELDS] == ["100.00", "+100.00", "+100.00 to +100.00", "0.001"]
    assert [counted[1][field] for field in FIELDS] == ["100.00", "+0.00", "+0.00 to +0.00", "1.000"]


def test_seeds_are_averaged_and_p_is_corrected_for_the_table(build):
    found = {("chance", seed): (30, 30) for seed in (0, 1)}
    found |= {("vse", 0): (1, 1), ("vse", 1): (30, 30)} | {("vse++", seed): (1, 1) for seed in (0, 1)}
    rows = build({"chance": ["vse", "vse++"]}, found)
    assert [rows[1][field] for field in FIELDS] == ["50.00 ± 70.71", "+50.00", "+50.00 to +50.00", "0.002"]
    assert [rows[2][field] for field in FIELDS] == ["100.00 ± 0.00", "+100.00", "+100.00 to +100.00", "0.002"]


def test_an_incomplete_method_is_not_compared(build):
    rows = build({"chance": ["vse", "vse++"]}, {("chance", 0): (30, 30), ("vse", 0): None})
    assert [rows[1][field].split()[0] if rows[1][field] else "" for field in FIELDS] == ["NA", "", "", ""]
    assert rows[2]["ucm Δ mR"] == ""


def test_without_baselines_there_is_no_table(tmp_path):
    assert write(experiment({}), tmp_path) == []
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"vsee": ["vse"]}, "baselines: vsee is not a method of the matrix: add it there, or correct it"),
        ({"vse": ["clip"]}, "baselines: clip is not a method of the matrix"),
        ({"vse": ["vse++", "vse"]}, "baselines: vse cannot be compared with itself"),
        ({"vse": []}, "baselines.vse: List should have at least 1 item"),
    ],
)
def test_what_params_yaml_may_not_ask(wanted, message):
    with pytest.raises(ParamsError) as error:
        experiment(wanted)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("dataset", "method", "baseline", "printed", "notes"),
    [
        # 45.68 - 36.93 and 15.53 - 10.43 of AMFMN's Table II.
        ("ucm", "amfmn-sim", "vse++", "+8.75", ["amfmn2022 table2"]),
        ("rsicd", "amfmn-sim", "vse++", "+5.10", ["amfmn2022 table2"]),
        # PIR's Table III is of RSITMD alone.
        ("ucm", "pir-itr-hard@spatial", "pir-itr-hard@baseline", "+0.28", ["pir2024 table3, on rsitmd"]),
        ("ucm", "lw-mcr", "vse++", "", []),
        ("ucm", "chance", "vse++", "", []),
    ],
)
def test_what_a_paper_prints_of_a_pair(dataset, method, baseline, printed, notes):
    cell = baselines.claim(dataset, method, baseline)
    assert (cell.text, [note.text for note in cell.notes]) == (printed, notes)


def test_a_difference_of_a_doubtful_number_says_so():
    notes = [note.text for note in baselines.claim("rsicd", "amfmn-soft", "vse++").notes]
    assert notes[1].startswith("printed mR ")


def test_published_differences_stand_next_to_ours_where_nothing_else_is_counted(build):
    rows = build({"vse++": ["vse", "amfmn-sim"]}, {("vse++", 0): (30, 30), ("vse", 0): (1, 1)})
    assert [row.get("ucm published Δ mR") for row in rows[:3]] == ["", "", "+8.75 [2]"]
    assert not rows[-1]["ucm published Δ mR"]
