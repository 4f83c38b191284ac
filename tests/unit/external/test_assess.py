"""``rsitr assess`` on a small dataset: record, ranks, exports, comparison with a cell, and its place in tables."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from huggingface_hub import ModelCard, parse_eval_result_entries

from rsitr.errors import ParamsError
from rsitr.external.assess import Given, assess, compare, leaks
from rsitr.params import load_params
from rsitr.params.ids import CellId
from rsitr.pipeline.report import Material
from rsitr.records.cell import Record
from rsitr.records.paths import Paths
from rsitr.retrieval.rank_files import metrics_of, read_ranks
from rsitr.retrieval.top_files import read_top
from rsitr.stages.evaluate import evaluate
from rsitr.stages.train import train
from rsitr.tables import comparison
from tests.helpers.commands import refused, run


@pytest.fixture
def cell(project: Path, make_spec) -> CellId:
    """A cell that was trained and evaluated."""
    spec = make_spec(epochs=1)
    train(spec)
    evaluate(spec)
    return spec.cell


def test_a_bundle_of_ours_has_the_ranks_of_its_cell(cell, held_out):
    found = run("assess", "scenes-b", "--model", str(Paths.checkpoint(cell)), "--against", cell.path, "--as", "mine")
    folder = Path("results/external/scenes-b/mine")
    assert found.exit_code == 0, found.output
    assert f"mR against {cell.path}: +0.00, 95 % interval +0.00 to +0.00, p = 1.000" in found.stdout
    assert found.stdout.endswith(f"{folder}\n")
    ours, theirs = (read_ranks(each / "ranks.parquet") for each in (folder, Paths.cell(cell)))
    for name in ("rank", "dup_rank", "rr_rank"):
        assert np.array_equal(ours.ranks[name].i2t, theirs.ranks[name].i2t)
        assert np.array_equal(ours.ranks[name].t2i, theirs.ranks[name].t2i)
    assert np.array_equal(
        read_top(folder / "top.parquet").i2t.items, read_top(Paths.cell(cell) / "top.parquet").i2t.items
    )
    record = Record.read(folder / "cell.json")
    own = Record.read(Paths.cell(cell) / "cell.json")
    assert record
    assert own
    assert record.metrics == own.metrics
    assert (record.role, record.config, record.data_sha) == (
        "external",
        {"model": "rsitr", "trained_on": ["scenes-b"]},
        own.data_sha,
    )
    assert record.data["leaks"] == {"scenes-b": None}
    assert not Path(".rsitr/external").exists() or not [*Path(".rsitr/external").iterdir()]
    card = ModelCard.load(folder / "README.md").data.eval_results
    metrics = metrics_of(ours.ranks)
    names = ["i2t_r1", "i2t_r5", "i2t_r10", "t2i_r1", "t2i_r5", "t2i_r10", "mr"]
    expected = {name: round(metrics[name], 4) for name in names}
    assert {each.metric_type: each.metric_value for each in card} == expected
    entries = parse_eval_result_entries(yaml.safe_load((folder / ".eval_results/scenes-b.yaml").read_text()))
    assert {each.task_id: each.value for each in entries} == expected
    assert {each.dataset_id for each in entries} == {"rsitr/scenes-b"}


def test_its_own_run_gives_the_same_recalls(held_out, tmp_path):
    """All six images are listed for a caption, and ten of twelve captions for an image."""
    scores = np.random.default_rng(0).normal(size=(6, 12))
    np.save(tmp_path / "s.npy", scores)
    first = assess(held_out, Given(scores=tmp_path / "s.npy"), "first", ["scenes-a"])
    folder = first.write()
    again = assess(held_out, Given(run=folder / "run.trec"), "again", None)
    assert np.array_equal(again.ranking.plain.t2i, first.ranking.plain.t2i)
    listed = first.ranking.plain.i2t <= 10
    assert np.array_equal(again.ranking.plain.i2t[listed], first.ranking.plain.i2t[listed])
    assert again.write() == Path("results/external/scenes-b/again")
    assert leaks("scenes-b", ["scenes://tiny/mine"]) == {"scenes://tiny/mine": None}
    assert {*read_ranks(Path("results/external/scenes-b/again/ranks.parquet")).ranks} == {"rank", "dup_rank"}


def test_tables_show_it_next_to_the_cells_and_only_when_asked(cell, held_out, tmp_path):
    np.save(tmp_path / "Perfect_model.npy", np.eye(6)[:, held_out.split.image_of].astype(np.float32))
    given = Given(scores=tmp_path / "Perfect_model.npy")
    assert given.named == "perfect-model"
    assess(held_out, given, None, None).write()
    params = load_params()
    plain, external = (Material(params, "tiny", external) for external in (False, True))
    assert "perfect-model" not in plain.view.methods
    view = external.view
    entry = view.entry("scenes-b", "perfect-model")
    assert (entry.role, entry.status, entry.competes(1)) == ("external", "ok", False)
    assert entry.values("dup_mr") == [100.0]
    assert "Nothing is known of what perfect-model learned from." in view.of_uncounted()
    assert external.out == Path("results/tables/tiny+external")
    comparison.TABLE.build(external)
    rows = (external.out / "comparison.md").read_text()
    assert "| perfect-model | external |" in rows
    changed = Path("results/external/scenes-b/perfect-model/cell.json")
    content = json.loads(changed.read_text())
    changed.write_text(json.dumps(content | {"data_sha": "0" * 64}))
    assert Material(params, "tiny", True).view.entry("scenes-b", "perfect-model").staleness == (
        "made by other data than the present"
    )


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (Given(model="checkpoints/tiny/scenes-b/vse++@tel/0"), "vse++-tel-0"),
        (Given(model="open_clip:ViT-B-32"), "vit-b-32"),
        (Given(model="hf-hub:owner/My_CLIP"), "my-clip"),
        (Given(run=Path("runs/First run.trec")), "first-run.trec"),
        (Given(image_embeddings=Path("a.npz"), text_embeddings=Path("b.npz")), "a"),
    ],
)
def test_what_nobody_names_is_called_after_the_model_or_the_file(given, name):
    assert given.named == name


def test_leaks_are_counted_where_near_duplicates_were_searched_for(project):
    assert leaks("scenes-b", ["scenes-a", "scenes-b"]) == {"scenes-a": None, "scenes-b": None}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "name one: --model, --image-embeddings with --text-embeddings, --scores, or --run"),
        (("--image-embeddings", "a.npy"), "name one: "),
        (("--scores", "a.npy", "--run", "b"), "name one: "),
        (("--scores", "a.npy", "--as", "../x"), "'../x' cannot name a row"),
        (("--scores", "a.npy"), "a.npy does not exist"),
    ],
)
def test_what_is_not_given_as_it_should_be_is_told(arguments, message, project):
    assert message in refused("assess", "scenes-b", *arguments)


def test_a_dataset_or_a_cell_that_is_not_here_is_told(project, held_out, tmp_path):
    assert "clean-official-none.parquet is missing: build it with" in refused("assess", "ucm", "--run", "r")
    np.save(tmp_path / "s.npy", np.zeros((6, 12)))
    found = assess(held_out, Given(scores=tmp_path / "s.npy"), None, None)
    with pytest.raises(ParamsError, match="tiny/scenes-b/vse/0 has no ranks here"):
        compare(found, CellId("tiny", "scenes-b", "vse", 0))
