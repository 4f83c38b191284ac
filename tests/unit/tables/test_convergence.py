"""The table of how trainings ended."""

from __future__ import annotations

import pytest

from rsitr.records.artefact import Outcome
from rsitr.tables import convergence
from tests.helpers.lab import Reader, Records, params, written

LEARNS = {"parameters": {"total": 9, "trainable": 5}}


class Lab(Records, Reader):
    """Records, and the table."""

    name = "convergence"

    def ended(self, dataset, method, seed, how, steps, epochs, epoch, seconds):
        selection = {"ended": how, "steps": steps, "epochs": epochs, "epoch": epoch}
        self.put(dataset, method, seed, 1.0, selection=selection, seconds={"train": seconds}, **LEARNS)

    def build(self, datasets=("ucm",), methods=("chance", "vse"), seeds=(0, 1, 2)):
        paths = written(convergence.TABLE, self.out, view=self.view(params((datasets, methods, seeds))))
        assert [path.name for path in paths] == [f"convergence.{kind}" for kind in ("csv", "md", "tex", "html")]


@pytest.fixture
def lab(tmp_path):
    lab = Lab(tmp_path)
    lab.ended("ucm", "vse", 0, "converged", 100, 10, 6, 20.0)
    lab.ended("ucm", "vse", 1, "cap", 200, 20, 19, 41.0)
    lab.ended("ucm", "vse", 2, "converged", 120, 12, 8, 22.5)
    for seed in (0, 1, 2):
        lab.put("ucm", "chance", seed, 1.0, parameters={"total": 0, "trainable": 0})
    return lab


def test_ends_are_counted_and_the_rest_are_means(lab):
    lab.build()
    # Chance learns nothing.
    assert list(lab.rows()) == ["vse"]
    assert {name.removeprefix("ucm "): value for name, value in lab.rows()["vse"].items()} == {
        "table": "Convergence",
        "method": "vse",
        "seeds": "3",
        "ended": "2 converged, 1 cap",
        "steps": "140",
        "epochs": "14",
        "chosen": "11",
        "s": "27.8",
    }


def test_records_from_before_do_not_say(lab):
    lab.put("ucm", "vse", 1, 1.0, selection={"epochs": 20, "epoch": 7}, seconds={"train": 41.0}, **LEARNS)
    lab.build()
    row = lab.rows()["vse"]
    assert (row["ucm epochs"], row["ucm chosen"], row["ucm s"]) == ("14", "7", "27.8")
    for column in ("ucm ended", "ucm steps"):
        assert row[column].startswith("NA [")
        assert lab.note(row[column]) == "its records are of a time when they did not say so"


def test_a_mean_needs_all_seeds(lab):
    lab.put("ucm", "vse", 1, outcome=Outcome(status="failed", reason="diverged"))
    lab.ended("rsicd", "vse", 0, "course", 9, 3, 3, 1.0)
    lab.build(datasets=("ucm", "rsicd"))
    row = lab.rows()["vse"]
    assert row["ucm seeds"] == "2/3"
    assert lab.note(row["ucm steps"]) == "seed 1: failed: diverged"
    assert lab.note(row["rsicd ended"]) == "seeds 1, 2: not run yet"
