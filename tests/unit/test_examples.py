"""AMFMN's pictures, from cells of the tiny project."""

from __future__ import annotations

import csv
from pathlib import Path

import pyarrow as pa
import pytest
import torch
from PIL import Image

from rsitr.captions.keyword_table import SCHEMA, VERSION, KeywordFacts
from rsitr.cells import Layout
from rsitr.datasets.table import read_table, write_table
from rsitr.examples import pir
from rsitr.examples.amfmn import build
from rsitr.figures import saliency
from rsitr.methods.vse import VSE
from rsitr.train import train

SETTINGS = {"low_levels": 2, "margin_type": "fixed", "learning_rate": 0.003, "epochs": 1}


@pytest.fixture
def keywords(project):
    """Keywords of all images but one test image, which has none."""
    table, facts = read_table(Layout.clean("scenes-b", "none"))
    rows = [
        {"image_id": row["image_id"], "split": row["split"], "origin": "dataset", "keywords": [row["captions"][1][2:]]}
        for row in table.select(["image_id", "split", "captions"]).to_pylist()
    ]
    rows[-1]["keywords"] = []
    made = KeywordFacts("scenes-b", facts.parent_sha, VERSION)
    write_table(pa.Table.from_pylist(rows, SCHEMA), made, Layout.keywords("scenes-b"))


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
    before = {path: path.read_bytes() for path in written}
    build(specs, "amfmn-sim trained on shapes", out)
    assert {path: path.read_bytes() for path in written} == before


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
