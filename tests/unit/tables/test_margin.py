"""The table of margins: which methods stand next to which, and what is compared."""

from __future__ import annotations

import csv

import numpy as np
import pandas as pd
import pytest

from rsitr.params import load_params, parse_params
from rsitr.params.ids import CellId
from rsitr.pipeline.inputs import setting
from rsitr.records.artefact import Outcome
from rsitr.records.cell import Record
from rsitr.records.files import write_json
from rsitr.tables import margin
from tests.helpers.lab import Records, params, view

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
LATE = "all_negatives_epochs"
EPOCHS = {"ucm": 10, "rsicd": 6}
# Two images of two captions; the queries of a perfect method have rank 1, those of a blind one rank 30.
IMAGES = pd.DataFrame({"direction": "i2t", "image_id": ["x", "y"], "caption": -1})
TEXTS = pd.DataFrame({"direction": "t2i", "image_id": ["x", "x", "y", "y"], "caption": range(4)})


@pytest.fixture
def build(tmp_path):
    """``build(ranks by method and seed)`` writes the records and the table and returns its rows."""

    def built(found, missing=(), configs=CONFIGS):
        seeds = sorted({seed for _, seed in found})
        matrix = [{"datasets": ["ucm"], "methods": METHODS, "seeds": seeds}]
        chosen = parse_params({"experiment": "lab", "experiments": {"lab": {"title": "Lab", "matrix": matrix}}})
        for cell in chosen.cells("lab"):
            rank = found.get((cell.method, cell.seed), 30)
            if cell.method in missing:
                continue
            folder = tmp_path / "cells" / cell.path
            outcome = Outcome() if rank else Outcome(status="failed", reason="diverged")
            metrics = {"mr": 100.0 if rank == 1 else 0.0} if rank else {}
            facts = {"outcome": outcome, "metrics": metrics, "config": configs[cell.method]}
            facts["selection"] = {"epochs": 10}
            write_json(folder / "cell.json", Record(**cell._asdict(), **facts))
            rows = pd.concat([IMAGES, TEXTS]).assign(rank=np.int32(rank or 0), dup_rank=np.int32(rank or 0))
            rows.to_parquet(folder / "ranks.parquet")
        paths = margin.build(view(chosen, tmp_path / "cells"), tmp_path / "out")
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
    assert [rows[name]["negatives"] for name in rows] == ["largest violation"] * 2 + [
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


@pytest.mark.parametrize(
    ("late", "kind", "expected"),
    [
        (0, "hardest", "largest violation"),
        (5, "hardest", "all for 5 of 10 epochs, then largest violation"),
        (9, "most-similar", "all for 9 of 10 epochs, then highest score"),
        (10, "hardest", "all"),
        (5, "all", "all"),
    ],
)
def test_the_negatives_are_those_that_training_used(late, kind, expected, build):
    # A record says how many epochs there were (here ten), whatever is configured.
    configs = CONFIGS | {name: CONFIGS[name] | {LATE: late, "negatives": kind} for name in ("vse++", "vse++@dynamic")}
    rows = build({("vse++", 0): 30}, configs=configs)
    assert [rows[name]["negatives"] for name in ("vse++", "vse++@dynamic")] == [expected] * 2


def test_without_a_result_the_number_of_epochs_is_not_known(build):
    configs = CONFIGS | {name: CONFIGS[name] | {LATE: 5} for name in ("vse++", "vse++@dynamic", "vse++@similar")}
    rows = build({("vse++@dynamic", 0): None}, configs=configs)
    assert rows["vse++@dynamic"]["negatives"] == "all for 5 epochs, then largest violation"


def test_other_negatives_on_another_dataset_are_in_a_footnote(tmp_path):
    records = Records(tmp_path)
    for dataset, epochs in EPOCHS.items():
        for method, config in (("vse++", FIXED), ("vse++@dynamic", DYNAMIC)):
            records.put(dataset, method, 0, config=config | {LATE: 5}, selection={"epochs": epochs})
    # Without its second seed, nothing is compared with vse++.
    blocks = (["ucm", "rsicd"], ["vse++@dynamic"], [0], "ablation"), (["ucm", "rsicd"], ["vse++"], [0, 1])
    margin.build(records.view(params(*blocks)), tmp_path)
    text = (tmp_path / "margin.md").read_text(encoding="utf-8")
    # The fixed margin comes first, whatever the order of the matrix.
    assert text.index("| vse++ | main | fixed 0.2 | all for 5 of 10 epochs, then largest violation<sup>1</sup> |") < (
        text.index("| vse++@dynamic | ablation | γ 0.2")
    )
    texts = (f"{dataset}: all for 5 of {epochs} epochs, then largest violation" for dataset, epochs in EPOCHS.items())
    assert f"<sup>1</sup> {'; '.join(texts)}\n" in text


@pytest.mark.parametrize("method", ["amfmn-soft", "amfmn-fusion", "amfmn-sim"])
@pytest.mark.parametrize("dataset", ["ucm", "rsicd"])
def test_the_fixed_margin_of_amfmn_in_laptop_differs_in_nothing_else(method, dataset, request, schema_cache):
    params = load_params(request.config.rootpath / "params.yaml")
    fields = [*schema_cache[method]["schema"]["properties"]]
    cells = [CellId("laptop", dataset, name, 0) for name in (method, f"{method}@alpha-0.6")]
    assert all(map(params.has, cells))
    dynamic, fixed = (dict(zip(fields, setting(params, cell, *fields), strict=True)) for cell in cells)
    assert {name for name in fields if dynamic[name] != fixed[name]} == {"margin_type"}
    assert (dynamic["margin_type"], fixed["margin_type"], fixed["margin"]) == ("dynamic", "fixed", 0.6)
