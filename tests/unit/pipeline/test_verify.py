"""What `rsitr verify` finds by holding files against each other, and what it says; its kinds are in the contract."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from rsitr.cli import app
from rsitr.datasets.splits import SplitData
from rsitr.params import load_params
from rsitr.params.ids import CellId, NamedId
from rsitr.pipeline.specs import spec_of
from rsitr.pipeline.targets import Graph
from rsitr.pipeline.verify import verify
from rsitr.pretraining.spec import PretrainRecord
from rsitr.records.cell import Record, write_history
from rsitr.records.files import write_csv, write_json, write_text
from rsitr.records.paths import Paths
from rsitr.retrieval.rank_files import SplitRanks, write_ranks
from rsitr.retrieval.recall import Ranks
from rsitr.retrieval.top_files import SplitTop, Top, write_top
from tests.helpers.made import fill, put_cell

IMAGE_OF = np.array([0, 0, 1])
RANKS = Ranks(np.array([1, 2]), np.array([1, 2, 1]))
CEILINGS = {f"ceiling_{way}_r{k}": 100.0 for way in ("i2t", "t2i") for k in (1, 5, 10)} | {"ceiling_mr": 100.0}
SPLIT = SplitData(["a", "b"], [Path("a"), Path("b")], ["0", "1"], ["x", "y", "z"], IMAGE_OF, ("", ""))
CELL = CellId("tiny", "scenes-b", "vse", 0)
TEST = {"images": {"test": 2}, "captions": {"test": 3}}


@pytest.fixture
def put(project):
    """``put(first=..., metrics=..., data=...)``: a cell of two images and three captions; returns what is wrong."""
    spec = spec_of(load_params(), CELL)

    def make(first=(0, 0), metrics=None, data=None, ranks=RANKS):
        put_cell(spec, metrics=CEILINGS | (metrics or {}), data=data or TEST)
        for path in spec.trained_outputs:
            path.unlink()
        write_ranks(spec.scored_outputs[0], SPLIT, SplitRanks(ranks, ranks, ranks))
        write_top(spec.scored_outputs[1], SPLIT, SplitTop(top(*first), top(0, 1, 1)))
        write_history(spec.scored_outputs[2], [])
        found = verify(Graph(load_params().model_dump()))
        return [(damage.path.name, damage.what) for damage in found.damages]

    return make


def top(*items):
    """The first item of each query."""
    return Top(np.array(items, np.int32)[:, None], np.ones((len(items), 1), np.float32))


def test_a_record_that_agrees_with_its_files(put):
    assert put(metrics={"i2t_r1": 50.0, "dup_t2i_r1": 200 / 3}) == []


@pytest.mark.parametrize(
    ("changes", "file", "what"),
    [
        ({"metrics": {"i2t_r1": 51.0}}, "cell.json", "it states i2t_r1 51.0, and its ranks give 50.0"),
        ({"metrics": {"ceiling_mr": 99.0}}, "cell.json", "ceiling_mr is not the mean of its ceilings"),
        (
            {"metrics": {"ceiling_i2t_r5": 40.0, "ceiling_mr": 90.0}},
            "cell.json",
            "its ranks give i2t_r5 100.0, above the ceiling 40.0",
        ),
        ({"data": TEST | {"images": {"test": 3}}}, "ranks.parquet", "it has 2 images and its record 3"),
        (
            {"ranks": Ranks(RANKS.i2t, np.array([1, 3, 1]))},
            "ranks.parquet",
            "rank has ranks outside the gallery",
        ),
        ({"first": (2, 0)}, "top.parquet", "its first items are not those of the ranks next to it"),
    ],
)
def test_what_does_not_fit_together(put, changes, file, what):
    assert (file, what) in put(**changes)


def test_the_command_ends_with_counts_and_with_status_1_for_a_damage(put):
    assert put() == []
    whole = CliRunner().invoke(app, ["verify"])
    assert whole.exit_code == 0
    assert whole.stdout.splitlines() == [
        "checked: 1 cell.json, 1 clean, 1 history.csv, 1 ranks.parquet, 1 top.parquet; 4 are neither in git nor "
        "sealed: only their form was checked",
        "damaged: nothing",
    ]
    history = Paths.cell(CELL) / "history.csv"
    history.write_text("epoch,loss\n1")
    wrong = CliRunner().invoke(app, ["verify"])
    assert wrong.exit_code == 1
    assert wrong.stdout.splitlines()[0] == (
        f"{history}: it was cut, or its lines have different numbers of fields: rm {history}; rsitr run "
        "cells/tiny/scenes-b/vse/0"
    )
    assert wrong.stdout.splitlines()[-1] == "damaged: 1 history.csv"


def test_nothing_needs_torch():
    code = "import sys, rsitr.pipeline.verify, rsitr.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def test_what_others_have_made_tables_and_the_course_of_a_pretraining_are_checked_by_their_form(project):
    raw = yaml.safe_load(Path("params.yaml").read_text())
    raw["experiments"]["tiny"]["pretrained"] = {"clip": {"dataset": "scenes-b"}}
    Path("params.yaml").write_text(yaml.safe_dump(raw))
    theirs, tables = Paths.external("scenes-b") / "theirs", Paths.tables("tiny")
    course = Paths.pretrained_weights(NamedId("tiny", "clip"))
    write_json(theirs / "cell.json", Record(experiment="external", dataset="scenes-b", method="theirs", seed=0))
    write_ranks(theirs / "ranks.parquet", SPLIT, SplitRanks(RANKS, RANKS, RANKS))
    write_top(theirs / "top.parquet", SPLIT, SplitTop(top(0, 0), top(0, 1, 1)))
    write_text(tables / "comparison.csv", "table,method\nTiny,vse\n# [1] a note, with commas, in it\n")
    write_text(tables / "comparison.md", "| vse |\n")
    Image.new("RGB", (4, 4)).save(fill(tables / "comparison.png"), "PNG")
    write_csv(course.with_name("loss.csv"), ("step", "loss"), [(0, 4.0), (1, 3.5)])
    write_json(course.with_name("pretrain.json"), PretrainRecord(config={}, machine={}, versions={}))
    graph = Graph(load_params().model_dump())
    found = verify(graph)
    assert found.damages == []
    assert {kind: found.files[kind] for kind in ("external", "tables", "loss.csv", "pretrain.json")} == {
        **{"external": 3, "tables": 3},
        **{"loss.csv": 1, "pretrain.json": 1},
    }
    files = [path for folder in (theirs, tables, course.parent) for path in sorted(folder.iterdir())]
    assert len(files) == 8
    for path in files:
        cut(path)
    said = {damage.path: damage.remedy for damage in verify(graph).damages}
    assert {*said} == {*files}
    assert said[theirs / "cell.json"].endswith("; rsitr assess scenes-b ... --as theirs")
    assert said[tables / "comparison.md"].endswith("; rsitr tables tiny")
