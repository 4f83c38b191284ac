"""The data of a replay: slices of canonical tables, what is made from them, and that damage is met once."""

from __future__ import annotations

import copy
import json
from collections import Counter
from pathlib import Path

import pytest

from rsitr.datasets import get_dataset
from rsitr.datasets.canonical import build_dataset
from rsitr.datasets.table import read_table
from rsitr.errors import DatasetError
from rsitr.params import parse_params
from rsitr.params.ids import CellId, NamedId
from rsitr.pipeline import slices
from rsitr.pipeline.replay import Replayer
from rsitr.pipeline.slices import SlicedData
from rsitr.pipeline.specs import pretraining_spec, spec_of
from rsitr.records.paths import Paths
from rsitr.stages.train import Trainer
from tests.helpers.project_copy import TINY

COUNTS = {"train": 12, "val": 6, "test": 5}


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A folder with the canonical table of a generated set."""
    folder = tmp_path_factory.mktemp("root")
    images = folder / Paths.extracted("scenes-b")
    images.parent.mkdir(parents=True)
    get_dataset("scenes-b").prepare(images)
    build_dataset(get_dataset("scenes-b"), images, "generated", "none", folder / Paths.dataset("scenes-b"))
    return folder


@pytest.fixture
def params(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(slices, "IMAGES", COUNTS)
    return parse_params(TINY)


def cell(params, method="vse", **changes):
    spec = spec_of(params, CellId("tiny", "scenes-b", method, 0))
    return spec.model_copy(update={"settings": spec.settings | changes})


def test_data_that_has_yet_to_be_made_is_named_each_time(params, tmp_path):
    data = SlicedData(tmp_path / "elsewhere")
    for dataset in ("scenes-a", "scenes-b"):
        with pytest.raises(DatasetError, match=f"{dataset}/dataset.parquet is missing"):
            data.canonical(dataset)


def test_a_slice_has_so_many_images_of_each_split(root, params, monkeypatch):
    damaged = []
    monkeypatch.setattr(slices, "damage", damaged.append)
    data, spec = SlicedData(root), cell(params)
    data.clean(spec)
    rows = read_table(spec.clean)[0].to_pylist()
    assert Counter(row["split"] for row in rows) == COUNTS
    assert all(Path(read_table(spec.clean)[1].root, row["path"]).is_file() for row in rows)
    assert spec.keywords.is_file()
    assert not spec.similarity.exists()
    data.clean(spec)
    assert damaged == [spec.clean], "once"


def test_a_dynamic_margin_gets_its_matrix_whole_after_damage(root, params, installed_meteor):
    spec = cell(params, "vse++", margin_type="dynamic")
    data, whole = SlicedData(root), []
    for _ in range(2):
        data.clean(spec)
        whole.append({path.name: path.read_bytes() for path in spec.similarity.glob("*.npy")})
    assert whole[0] == whole[1] != {}
    assert not any(content.endswith(bytes(64)) for content in whole[0].values())


def test_two_replays_of_a_cell_have_one_trace(root, params, tmp_path, monkeypatch):
    traces = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        traces.append(Replayer(params, root).trace(cell(params, batch_size=4)))
    assert traces[0] == traces[1]
    said = dict(traces[0])
    assert said["status"] == "ok"
    assert {"initial weights", "loss", "weights", "encodings", "ranks in small tiles"} <= {*said}
    assert [name for name, _ in traces[0]].count("loss") >= 3


def test_the_replay_of_a_training_that_ends_by_itself_leaves_a_plateau(root, params, tmp_path, monkeypatch):
    left = []
    leave = Trainer.leave_plateau
    monkeypatch.setattr(Trainer, "leave_plateau", lambda self: left.append(self.step) or leave(self))
    monkeypatch.chdir(tmp_path)
    spec = cell(params, batch_size=4, schedule="plateau", max_steps=20)
    trace = Replayer(params, root).trace(spec)
    assert dict(trace)["status"] == "ok"
    per_epoch = [name for name, _ in trace].count("loss") // 2
    assert left == [per_epoch]


def test_two_replays_of_a_pretraining_have_one_trace(root, tmp_path, monkeypatch):
    monkeypatch.setattr(slices, "IMAGES", COUNTS)
    traces = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        settings = {"model": "tiny-64", "batch_size": 4, "seed": seed}
        raw = copy.deepcopy(TINY)
        raw["experiments"]["tiny"]["pretrained"] = {"first": {"dataset": "scenes-b", "settings": settings}}
        params = parse_params(raw)
        traces.append(Replayer(params, root).trace(pretraining_spec(params, NamedId("tiny", "first"))))
    assert traces[0] == traces[1]
    said = dict(traces[0])
    assert said["status"] == "ok"
    assert {"settings", "course", "loss", "weights"} <= {*said}
    # Killed in the third of four steps, it has continued there.
    assert [name for name, _ in traces[0]].count("loss") == 4 + 1
    assert dict(traces[2])["weights"] != said["weights"]


def test_two_replays_of_a_tuning_have_one_trace(root, tmp_path, monkeypatch):
    monkeypatch.setattr(slices, "IMAGES", COUNTS)
    raw = copy.deepcopy(TINY)
    tiny = raw["experiments"]["tiny"]
    tiny["matrix"] = [{"datasets": ["scenes-b"], "methods": ["vse"], "seeds": [0], "settings": "tuned"}]
    space = {"learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}, "batch_size": {"choices": [2, 64]}}
    tiny["tuning"] = {"trials": 5, "max_steps": 50, "space": {"all": space}}
    tiny["settings"]["all"]["batch_size"] = 4
    traces, params = [], parse_params(raw)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        replayer = Replayer(params, root)
        cells = replayer.trace(cell(params))
        traces.append(replayer.traces["tuning/tiny/scenes-b/vse"])
        assert dict(cells)["status"] == "ok"
    assert traces[0] == traces[1]
    trials = [json.loads(value) for name, value in traces[0] if name == "trial"]
    assert [trial["status"] for trial in trials] == ["complete", "complete"]
    assert {*trials[1]["settings"]} == {"learning_rate"}  # not the batch, which is small here
    # 12 images in batches of 4, in two trials; killed in the third step, it has continued there.
    assert [name for name, _ in traces[0]].count("loss") == 2 * 3
    assert dict(cells)["settings.learning_rate"] == json.dumps(json.loads(dict(traces[0])["best"])["learning_rate"])
