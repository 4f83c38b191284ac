"""The model that comes with the package: what it is, what its card says, and that a search works with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from rsitr.external.models import open_model
from rsitr.records.bundle import CARD, read_bundle
from rsitr.records.cell import Record
from rsitr.records.paths import Paths
from rsitr.records.provenance import sha256_file
from rsitr.retrieval.rank_files import metrics_of, read_ranks
from rsitr.search.shipped import MODEL, NAME, halve
from rsitr.stages.bundle import WEIGHTS, load_bundle
from rsitr.stages.train import train
from tests.helpers.commands import run

REPOSITORY = Path(__file__).parents[3]


def test_half_of_a_checkpoint_encodes_nearly_the_same(held_out, make_spec, tmp_path):
    spec = make_spec(epochs=1)
    train(spec)
    whole = Paths.checkpoint(spec.cell)
    bundle = halve(whole, tmp_path / "half")
    weights = tmp_path / "half" / WEIGHTS
    assert bundle == read_bundle(tmp_path / "half")
    assert bundle.weights_sha == sha256_file(weights)
    assert {value.dtype for value in load_file(weights).values() if value.is_floating_point()} == {torch.float16}
    texts = held_out.split.captions
    ours, theirs = (load_bundle(folder).encode_texts(texts) for folder in (tmp_path / "half", whole))
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, theirs, atol=2e-3)
    assert not np.array_equal(ours, theirs)


def test_the_model_here_is_small_and_what_its_record_is_of():
    assert sum(path.stat().st_size for path in MODEL.iterdir()) < 3e6
    bundle = read_bundle(MODEL)
    assert (bundle.spec.method, bundle.spec.dataset, bundle.data["synthetic"]) == ("vse", "rsicd", False)
    assert {value.dtype for value in load_file(MODEL / WEIGHTS).values()} == {torch.float16}
    # Nothing of it is to be looked for outside of the packages.
    assert {bundle.pretrained[name].location.partition("://")[0] for name in bundle.fixed} == {"package"}
    record = Record.read(REPOSITORY / Paths.external("rsicd") / NAME / "cell.json")
    assert record
    assert record.pretrained["model"].files == {WEIGHTS: bundle.weights_sha}


def test_its_card_has_the_numbers_of_its_record():
    """Worked out again from the ranks."""
    metrics = metrics_of(read_ranks(REPOSITORY / Paths.external("rsicd") / NAME / "ranks.parquet").ranks)
    card = (MODEL / CARD).read_text(encoding="utf-8")
    for name in ("i2t_r1", "i2t_r5", "i2t_r10", "t2i_r1", "t2i_r5", "t2i_r10", "mr"):
        assert f"| {name} | {metrics[name]:.2f} | {metrics[f'dup_{name}']:.2f} |" in card


@pytest.mark.slow
def test_a_search_works_without_naming_a_model(tmp_path, monkeypatch):
    """Nothing is downloaded, and both queries list both pictures, the more similar one first."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for name, colour in (("woods.png", (30, 80, 30)), ("water.png", (20, 50, 120))):
        path = tmp_path / "pictures" / name
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (64, 64), colour).save(path)
    ended = run("search", "pictures", "blue water", "green trees")
    assert ended.exit_code == 0, ended.output
    assert "2 pictures of pictures, 2 of them new, 0 unreadable" in ended.stdout
    assert open_model(str(MODEL)).facts.saw == ("rsicd",)
    rows = [[cell.strip() for cell in line.split("│")[1:4]] for line in ended.stdout.splitlines() if "│" in line]
    assert [row[0] for row in rows] == ["1", "2"] * 2
    for first, second in (rows[:2], rows[2:]):
        assert float(first[1]) >= float(second[1])
        assert {first[2], second[2]} == {"woods.png", "water.png"}


@pytest.mark.mirror
@pytest.mark.slow
def test_it_finds_planes_among_real_pictures(mirror, tmp_path, monkeypatch):
    import zipfile

    monkeypatch.chdir(tmp_path)
    wanted = {"airport_1.jpg", "beach_1.jpg", "forest_1.jpg", "desert_1.jpg", "stadium_1.jpg", "church_1.jpg"}
    for archive in sorted((mirror / "rsicd").glob("*.zip")):
        with zipfile.ZipFile(archive) as pack:
            for member in pack.namelist():
                if Path(member).name in wanted:
                    Path("pictures").mkdir(exist_ok=True)
                    Path("pictures", Path(member).name).write_bytes(pack.read(member))
    ended = run("search", "pictures", "many planes at an airport", "waves of the sea beat on the beach")
    first = [line.split("│")[3].strip() for line in ended.stdout.splitlines() if line.startswith("│ 1 ")]
    assert first == ["airport_1.jpg", "beach_1.jpg"]
