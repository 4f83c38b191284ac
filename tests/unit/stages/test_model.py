"""A trained cell that is asked about images and queries of any origin, and `rsitr locate` on a scene of its images."""

from __future__ import annotations

import re

import numpy as np
import pytest
import rasterio
import torch
from PIL import Image

from rsitr.datasets.images import load_rgb
from rsitr.errors import QueryError
from rsitr.records.paths import Paths
from rsitr.stages.encode import encode
from rsitr.stages.model import Trained
from rsitr.stages.setup import image_inputs
from rsitr.stages.train import train
from tests.helpers.cells import train_cell
from tests.helpers.commands import refused, run


@pytest.fixture
def trained(project, make_spec):
    spec = make_spec("amfmn-soft", low_levels=2, margin_type="fixed", learning_rate=0.003, epochs=2)
    assert train(spec).outcome.status == "ok"
    return Trained(spec)


def test_images_and_queries_are_encoded_as_in_evaluation(trained):
    split = trained.data.splits["test"]
    expected = encode(trained.method, split, image_inputs(trained.method, split, trained.data.splits, "cpu"), "cpu")
    pictures = np.stack([np.asarray(load_rgb(path)) for path in split.paths])
    torch.testing.assert_close(trained.encode_images(pictures), expected.images, atol=1e-4, rtol=1e-4)
    texts = trained.encode_queries(split.captions)
    torch.testing.assert_close(texts, expected.texts[expected.place])
    scores = trained.scorer(split.captions[:2])(pictures)
    with torch.inference_mode():
        wanted = trained.method.score(expected.images, texts[:2])
    np.testing.assert_allclose(scores, wanted.numpy(), atol=1e-4)


def test_a_query_that_cannot_be_answered_says_why(trained):
    with pytest.raises(QueryError, match="a query has no word"):
        trained.scorer(["  "])
    limit = trained.method.config.max_words
    trained.scorer([" ".join(["dot"] * limit) + " ."])
    trained.scorer(["a red dot ."])
    with pytest.raises(QueryError, match="the query is too long for amfmn-soft, shorten it"):
        trained.scorer([" ".join(["dot"] * (limit + 1))])


def test_a_method_that_sees_nothing_locates_nothing(project, make_spec):
    spec = make_spec("chance")
    train(spec)
    with pytest.raises(QueryError, match="chance looks at no image"):
        Trained(spec)


def test_locate_writes_a_map_and_a_picture(project, tmp_path):
    train_cell("vse")
    images = sorted(Paths.extracted("scenes-b").rglob("*.png"))[:4]
    scene = np.concatenate([np.concatenate([np.asarray(Image.open(p)) for p in images[i : i + 2]], 1) for i in (0, 2)])
    Image.fromarray(scene).save(tmp_path / "scene.png")
    options = ["--image", str(tmp_path / "scene.png"), "--method", "vse", "--out", str(tmp_path / "out")]
    done = run("locate", *options, "--text", "a red dot", "--text", "a bar", "--sizes", "32", "--median", "0")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert (
        lines[0] == f"{tmp_path}/scene.png: bands 1, 2, 3 as red, green, blue, as the file declares; 8 bits as they are"
    )
    nowhere = "is not georeferenced: maps have pixel coordinates only, and no GeoJSON is written"
    assert lines[1] == f"{tmp_path}/scene.png {nowhere}"
    assert [line.partition(":")[0] for line in lines[2:] if line[0] != " "] == ["a red dot", "a bar"]
    assert re.fullmatch(r"  best place of \d+: -?\d\.\d{3} at column \d+, row \d+, 32 x 32 pixels", lines[3])
    assert lines[4] == f"  {tmp_path}/out/a-red-dot.tif, {tmp_path}/out/a-red-dot.png"
    with rasterio.open(tmp_path / "out" / "a-red-dot.tif") as found:
        assert found.shape == (64, 64)
        values = found.read(1)
    assert (values.min(), values.max()) == (0, 1)
    assert (tmp_path / "out" / "a-bar.png").is_file()
    assert "no trained model" not in done.output
    assert "has not been trained: run `rsitr train tiny/scenes-b/vse/1`" in refused(
        "locate", *options, "--text", "a bar", "--seed", "1"
    )
    shown = run(
        "locate", *options, "--text", "a bar", "--sizes", "32", "--bands", "3,2,1", "--nodata", "0", "--places", "1"
    )
    assert "bands 3, 2, 1 as red, green, blue, as requested; 8 bits as they are; nodata 0, as requested" in shown.stdout
    assert "best place of 1:" in shown.stdout
    assert "there is no band 4" in refused("locate", *options, "--text", "a bar", "--bands", "4,2,1")
    assert "bands '3;2': give three numbers such as 4,3,2" in refused(
        "locate", *options, "--text", "a bar", "--bands", "3;2"
    )
    assert "a query is empty" in refused("locate", *options, "--text", " ")
    assert "'a bar' is given twice" in refused("locate", *options, "--text", "a bar", "--text", "a bar")
    assert "missing.tif" in refused("locate", "--image", "missing.tif", "--text", "a bar", "--method", "vse")
