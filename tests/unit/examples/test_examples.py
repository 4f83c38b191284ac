"""AMFMN's pictures, from cells of the tiny project."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

from rsitr.captions.keyword_table import SCHEMA, VERSION, KeywordFacts
from rsitr.datasets.table import read_table
from rsitr.errors import QueryError
from rsitr.examples import mtgfe, pir
from rsitr.examples.amfmn import build
from rsitr.examples.mtgfe import read, whole_words
from rsitr.examples.panels import picture
from rsitr.figures import saliency, word_attention
from rsitr.methods.mtgfe import MTGFE
from rsitr.methods.vse import VSE
from rsitr.params.ids import CleanId
from rsitr.records.parquet import write_table
from rsitr.records.paths import Paths
from rsitr.stages.model import Trained
from rsitr.stages.train import train
from tests.conftest import TINY_SETTINGS

SETTINGS = {"low_levels": 2, "margin_type": "fixed", "learning_rate": 0.003, "epochs": 1}


@pytest.fixture
def keywords(project):
    """Keywords of all images but one test image, which has none."""
    table, facts = read_table(Paths.clean(CleanId("scenes-b")))
    rows = [
        {"image_id": row["image_id"], "split": row["split"], "origin": "dataset", "keywords": [row["captions"][1][2:]]}
        for row in table.select(["image_id", "split", "captions"]).to_pylist()
    ]
    rows[-1]["keywords"] = []
    made = KeywordFacts("scenes-b", facts.parent_sha, VERSION)
    write_table(pa.Table.from_pylist(rows, SCHEMA), made, Paths.keywords("scenes-b"))


@pytest.mark.slow
def test_three_pictures_and_a_table(project, keywords, make_spec):
    modes = {"sentence": "amfmn-sim", "keywords": "amfmn-sim@keywords", "joint": "amfmn-sim@joint"}
    specs = {mode: make_spec(method, **SETTINGS) for mode, method in modes.items()}
    for spec in specs.values():
        outcome = train(spec).outcome
        assert outcome.status == "ok", outcome
    out = Path("results/tables/tiny")
    written = build(specs, "amfmn-sim trained on shapes", out)
    assert [path.name for path in written] == [
        "amfmn-saliency.png",
        "amfmn-retrieval.png",
        "amfmn-localisation.png",
        "amfmn-localisation.csv",
    ]
    for path in written[:3]:
        with Image.open(path) as picture:
            assert min(picture.size) > 300
    rows = list(csv.DictReader(written[3].open()))
    assert len(rows) == 3
    for row in rows:
        assert all(0 <= float(row[name]) <= 1 for name in ("rsu", "ras", "rmi"))
        assert row["query"].endswith("#1")  # a name: the table goes to git, the words of a dataset do not
    before = {path: path.read_bytes() for path in written}
    build(specs, "amfmn-sim trained on shapes", out)
    assert {path: path.read_bytes() for path in written} == before


@pytest.mark.slow
def test_the_pictures_of_pir(project, make_spec, monkeypatch):
    def look(self, images):
        """All on the left of the image."""
        return torch.tensor([[1.0, 0.0], [1.0, 0.0]]).expand(len(images), 2, 2)

    monkeypatch.setattr(VSE, "saliency", look, raising=False)
    specs = {"vse": make_spec("vse", epochs=1), "pir": make_spec("vse", seed=1, epochs=1)}
    for spec in specs.values():
        assert train(spec).outcome.status == "ok"
    masks, drawn = [], saliency.draw

    def spy(title, samples, *rest):
        masks.extend(samples)
        return drawn(title, samples, *rest)

    monkeypatch.setattr(saliency, "draw", spy)
    out = Path("results/tables/tiny")
    written = pir.build(specs, "vse trained on shapes", out)
    names = ["embeddings.png", "embeddings.csv", "belief.png", "images.png", "captions.png"]
    assert [path.name for path in written] == [f"pir-{name}" for name in names]
    for path in written:
        if path.suffix == ".png":
            with Image.open(path) as picture:
                assert min(picture.size) > 300
    rows = list(csv.DictReader(written[1].open()))
    assert [(row["method"], row["images"], row["classes"]) for row in rows] == [("vse", "6", "4"), ("pir", "6", "4")]
    for row in rows:
        assert -1 <= float(row["silhouette"]) <= 1
        assert 0 < float(row["modality_gap"]) < 2
    assert [sample.mask.tolist() for sample in masks] == [[[1.0, 0.0], [1.0, 0.0]]] * 5
    before = {path: path.read_bytes() for path in written}
    pir.build(specs, "vse trained on shapes", out)
    assert {path: path.read_bytes() for path in written} == before


@pytest.mark.slow
def test_the_pictures_of_mtgfe(project, make_spec, tiny_bert, monkeypatch):
    names = ("mtgfe@itm", "mtgfe")
    settings = fusion_settings({"epochs": 1, "image_size": 64, "text_weights": str(tiny_bert)})
    specs = {name: make_spec(name).model_copy(update={"settings": settings}) for name in names}
    for spec in specs.values():
        assert train(spec).outcome.status == "ok"
    seen, drawn = [], word_attention.draw

    def spy(title, readings, path):
        seen.append(readings)
        return drawn(title, readings, path)

    monkeypatch.setattr(word_attention, "draw", spy)
    out = Path("results/tables/tiny")
    written = mtgfe.build(specs, "shapes", out)
    assert [path.name for path in written] == ["mtgfe-attention-1.png", "mtgfe-attention-2.png"]
    for readings in seen:
        assert [reading.label for reading in readings] == list(names)
        assert readings[0].words == readings[1].words
        for reading in readings:
            assert reading.words[:2] == ("[CLS]", "a")
            assert reading.maps.shape[0] == len(reading.words)
            np.testing.assert_allclose(reading.maps.sum((1, 2)), 1, atol=1e-5)
        assert not np.allclose(readings[0].maps, readings[1].maps)
    before = {path: path.read_bytes() for path in written}
    mtgfe.build(specs, "shapes", out)
    assert {path: path.read_bytes() for path in written} == before
    model = Trained(specs["mtgfe"])
    image = np.zeros((32, 32, 3), dtype=np.uint8)
    with pytest.raises(QueryError, match="too long for mtgfe"):
        read(model, "", image, "red dot " * 40)
    with pytest.raises(QueryError, match="no word"):
        read(model, "", image, " ? ")


def fusion_settings(settings):
    """Those of the tiny project that a fusion encoder has."""
    return {key: value for key, value in TINY_SETTINGS.items() if key in MTGFE.Config.model_fields} | settings


def test_a_method_without_word_attention(project, make_spec):
    spec = make_spec("vse", epochs=1)
    assert train(spec).outcome.status == "ok"
    with pytest.raises(QueryError, match="vse has no word attention: choose mtgfe or envlf"):
        read(Trained(spec), "", np.zeros((32, 32, 3), dtype=np.uint8), "a red dot")


def test_pieces_become_words():
    pieces = ["", "a", "run", "##way", "##s", "next", "", ""]
    assert whole_words(pieces) == [("a", [1]), ("runways", [2, 3, 4]), ("next", [5])]
    assert whole_words(["", "##way"]) == [("##way", [1])]


def test_a_file_that_is_no_image(tmp_path):
    (tmp_path / "a.png").write_text("no image")
    for name, why in (("a.png", "is not a picture of a known format"), ("none.png", "cannot be opened")):
        with pytest.raises(QueryError, match=f"{name} {why}"):
            picture(tmp_path / name)
