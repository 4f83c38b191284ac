"""Training on the joint set of several datasets, from drawn pictures: what is read, recorded and refused."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa
import pytest

from rsitr.datasets.table import DATASET_SCHEMA, read_table
from rsitr.dedup.clean import write_clean
from rsitr.dedup.joint import build_joint
from rsitr.records.parquet import write_table
from rsitr.records.paths import Paths
from rsitr.stages.drawn import DrawnData
from rsitr.stages.evaluate import evaluate
from rsitr.stages.train import train


@pytest.fixture
def spec(tmp_path, monkeypatch, make_spec):
    """Of a cell on RSITMD that trains on RET-2, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    changes = {"dataset": "rsitmd", "split_protocol": "ret-2"}
    return make_spec("vse", epochs=1, temperature_form="logarithm").model_copy(update=changes)


def test_a_cell_trains_on_all_members_and_is_evaluated_on_its_own_test_split(spec):
    DrawnData().clean(spec)
    assert train(spec).outcome.status == "ok"
    record = evaluate(spec)
    # Eight images of each split of both sets, two captions each; RSITMD's val images choose the epoch.
    assert record.data["images"] == {"train": 16, "val": 8, "test": 8}
    assert record.data["captions"] == {"train": 32, "val": 16, "test": 16}
    facts = {name: record.data[name] for name in ("split_protocol", "split_list", "dedup")}
    assert facts == {"split_protocol": "ret-2", "split_list": "authors'", "dedup": "none"}
    assert "trained with the split protocol ret-2 instead of swan" in record.deviations
    assert "trained with the de-duplication rule none instead of remoteclip" not in record.deviations


def test_a_joint_set_without_the_images_of_a_member_is_not_trained_on(spec):
    data = DrawnData()
    data.clean(spec)
    table, facts = read_table(Paths.dataset("rsicd"))
    missing = table.to_pandas().assign(problem="missing image")
    write_table(pa.Table.from_pandas(pd.DataFrame(missing), DATASET_SCHEMA), facts, Paths.dataset("rsicd"))
    build_joint("ret-2", "none")
    write_clean(spec.clean_id)
    outcome = train(spec).outcome
    assert outcome.status == "skipped"
    assert outcome.reason == "no usable images in train of rsicd: 8 x missing image"
