"""The table of how the epoch is chosen: who stands next to whom, and what the choice on test adds."""

from __future__ import annotations

import pytest

from rsitr.params.ids import CellId
from rsitr.records.artefact import Outcome
from rsitr.tables import selection
from tests.helpers.lab import Reader, Records, params, written

METHODS = ["chance", "vse", "vse@selected-on-test", "vse++", "vse++@selected-on-test", "vse@wide"]
VAL, TEST = {"epochs": 9, "selection": "val"}, {"epochs": 9, "selection": "test"}
FAILED = Outcome(status="failed", reason="diverged")


class Lab(Records, Reader):
    """Records with their histories, and the table."""

    name = "selection"

    def put(self, dataset, method, seed, value=None, *, epoch=1, losses=("3.0", "2.0"), **fields):
        super().put(dataset, method, seed, value, selection={"epoch": epoch}, **fields)
        folder = self.cells / CellId("lab", dataset, method, seed).path
        lines = [f"{number},{loss},1.0,0.1" for number, loss in enumerate(losses, start=1)]
        (folder / "history.csv").write_text("\n".join(["epoch,loss,val_mr,learning_rate", *lines]), encoding="utf-8")

    def build(self, datasets=("ucm",), methods=METHODS, seeds=(0, 1)):
        paths = written(selection.TABLE, self.out, view=self.view(params((datasets, methods, seeds))))
        assert [path.name for path in paths] == [f"selection.{kind}" for kind in ("csv", "md", "tex", "html")]


@pytest.fixture
def lab(tmp_path):
    lab = Lab(tmp_path)
    for seed, (val, test) in enumerate([(40.0, 41.0), (42.0, 45.0)]):
        lab.put("ucm", "vse", seed, val, epoch=7 + seed, config=VAL)
        lab.put("ucm", "vse@selected-on-test", seed, test, epoch=5, config=TEST)
        lab.put("ucm", "chance", seed, 1.0)
        lab.put("ucm", "vse@wide", seed, 50.0, config=VAL | {"epochs": 12})
    return lab


def test_the_inflation_is_the_difference_seed_by_seed(lab):
    lab.build()
    # Nothing stands next to chance, which chooses no epoch, nor next to vse@wide, which trains longer.
    assert list(lab.rows()) == ["vse"]
    assert {name.removeprefix("ucm "): value for name, value in lab.rows()["vse"].items()} == {
        "table": "Choice of the epoch",
        "method": "vse",
        "seeds": "2",
        # Duplicate-aware: the records have 1 more.
        "mR, epoch chosen on val": "42.00 ± 1.41",
        "mR, epoch chosen on test": "44.00 ± 2.83",
        "inflation": "+2.00 ± 1.41",  # of 1 and 3
        "epochs on val": "7, 8",
        "on test": "5, 5",
    }


def test_the_mean_over_methods_needs_all_of_them(lab):
    for seed in (0, 1):
        lab.put("ucm", "vse++", seed, 30.0, config=VAL)
        lab.put("ucm", "vse++@selected-on-test", seed, 30.5, config=TEST)
    lab.build()
    assert lab.rows()["mean of the methods"]["ucm inflation"] == "+1.25"  # of 2.00 and 0.50
    lab.put("ucm", "vse++", 1, config=VAL, outcome=FAILED)
    lab.build()
    rows = lab.rows()
    assert (rows["vse++"]["ucm seeds"], rows["vse"]["ucm seeds"]) == ("1/2, 2", "2")
    assert rows["vse++"]["ucm inflation"].startswith("NA [")
    assert lab.note(rows["vse++"]["ucm inflation"]) == "seed 1: failed: diverged"
    assert lab.note(rows["mean of the methods"]["ucm inflation"]) == "a method has no inflation"


def test_two_that_did_not_train_alike_are_marked(lab):
    lab.put("ucm", "vse@selected-on-test", 1, 45.0, epoch=5, config=TEST, losses=("3.0", "2.1"))
    lab.build()
    note = lab.note(lab.rows()["vse"]["ucm inflation"])
    assert note == "the two trained differently: other losses with seed 1"


def test_every_dataset_has_columns_of_its_own(lab):
    for method, value, config in (("vse", 20.0, VAL), ("vse@selected-on-test", 20.25, TEST)):
        for seed in (0, 1):
            lab.put("rsicd", method, seed, value, config=config)
    lab.build(datasets=("ucm", "rsicd", "sydney"))
    row = lab.rows()["vse"]
    assert (row["ucm inflation"], row["rsicd inflation"]) == ("+2.00 ± 1.41", "+0.25 ± 0.00")
    assert not any(name.startswith("sydney") for name in row)


def test_without_a_pair_the_table_says_so(lab):
    lab.build(methods=["chance", "vse"])
    assert selection.NONE.split("`")[0] in lab.read("md")


def test_the_role_of_a_row_is_that_of_the_method_chosen_on_val(lab):
    blocks = (["ucm"], ["vse"], [0, 1], "sweep"), (["ucm"], ["vse@selected-on-test"], [0, 1], "protocol")
    written(selection.TABLE, lab.out, view=lab.view(params(*blocks)))
    assert lab.rows()["vse"]["role"] == "sweep"
