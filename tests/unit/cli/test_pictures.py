"""`rsitr attention` and `rsitr examples --paper mtgfe` on cells of the tiny project."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml
from PIL import Image

from rsitr.records.paths import Paths
from tests.helpers.cells import train_cell
from tests.helpers.commands import refused, run


@pytest.fixture(scope="module")
def trained(template, tiny_bert, tmp_path_factory):
    """The tiny project with two cells of MTGFE, one of them trained."""
    folder = shutil.copytree(template, tmp_path_factory.mktemp("fusion") / "project")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        params = yaml.safe_load(Path("params.yaml").read_text())
        tiny = params["experiments"]["tiny"]
        tiny["matrix"] = [{"datasets": ["scenes-b"], "methods": ["mtgfe", "mtgfe@itm", "vse"], "seeds": [0]}]
        settings = {"text_weights": str(tiny_bert), "image_size": 64, "epochs": 1}
        tiny["settings"]["methods"] = {"mtgfe": settings}
        Path("params.yaml").write_text(yaml.safe_dump(params))
        train_cell("mtgfe")
    return folder


@pytest.fixture
def fusion(trained, tmp_path, monkeypatch):
    """An image of a copy of that project, which is the working folder."""
    monkeypatch.chdir(shutil.copytree(trained, tmp_path / "project"))
    return sorted(Paths.extracted("scenes-b").rglob("*.png"))[0]


@pytest.mark.slow
def test_attention_draws_a_picture_or_says_why_not(fusion):
    options = ["--image", str(fusion), "--text", "a red dot", "--out", "words.png"]
    done = run("attention", *options)
    assert done.exit_code == 0, done.output
    with Image.open("words.png") as picture:
        assert min(picture.size) > 300
    assert "run `rsitr train tiny/scenes-b/mtgfe@itm/0`" in refused("attention", *options, "--method", "mtgfe@itm")
    assert "none.png cannot be opened (No such file or directory)" in refused(
        "attention", "--image", "none.png", "--text", "a dot"
    )
    # The library that loads the BERT says so first.
    done = run("attention", "--image", str(fusion), "--text", "?")
    assert done.exit_code == 1
    assert "rsitr: a query has no word" in done.stderr
    train_cell("vse")
    assert "vse has no word attention" in refused("attention", *options, "--method", "vse")


@pytest.mark.slow
def test_the_pictures_need_every_cell_they_show(fusion):
    assert "run `rsitr train tiny/scenes-b/mtgfe@itm/0`" in refused("examples", "--paper", "mtgfe")
    train_cell("mtgfe@itm")
    done = run("examples", "--paper", "mtgfe")
    assert done.exit_code == 0, done.output
    assert [Path(line).name for line in done.output.split()[-2:]] == ["mtgfe-attention-1.png", "mtgfe-attention-2.png"]
    assert "the pictures are of amfmn-sim" in refused("examples")
