"""`rsitr captions`: what each command writes, prints and refuses."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from rsitr.datasets.base import Row
from rsitr.datasets.canonical import CANONICAL_SCHEMA, data_sha, rows_to_frame
from rsitr.datasets.table import DatasetFacts
from rsitr.params.ids import CleanId
from rsitr.records.parquet import write_table
from rsitr.records.paths import Paths
from tests.helpers.commands import refused, run
from tests.helpers.pictures import picture

IMAGES = [
    ("a.png", "train", ["two white ships in a port", "a port"]),
    ("b.png", "train", ["green trees"]),
    ("c.png", "val", ["a port"]),
    ("d.png", "test", ["green trees"]),
]


@pytest.fixture(autouse=True)
def ucm(tmp_path, monkeypatch):
    """A dataset of four images and its cleaned view."""
    monkeypatch.chdir(tmp_path)
    root = Paths.extracted("ucm")
    root.mkdir(parents=True)
    for place, (image_id, _, _) in enumerate(IMAGES):
        Image.fromarray(picture(place, 64)).save(root / image_id)
    frame = rows_to_frame([Row(name, name, split, "", captions, []) for name, split, captions in IMAGES], root)
    facts = DatasetFacts("ucm", "UCM-Captions", "generated", "", True, root.as_posix(), data_sha(frame))
    write_table(pa.Table.from_pandas(frame, CANONICAL_SCHEMA, preserve_index=False), facts, Paths.dataset("ucm"))
    assert run("data", "clean", "ucm").exit_code == 0


def test_similarity_of_the_training_captions():
    path = "data/similarity/ucm/official-none/released.npy"
    assert run("captions", "similarity", "ucm", "released").stdout == f"{path}: computed\n"
    matrix = np.load(path)
    # Two images; three distinct captions. Each is one of its image's own, but for "a port" only half of the entities
    # of the image's other caption (white, ship, port, two) are in it: (1 + (1 / 4 + 1) / 2) / 2.
    assert matrix.shape == (2, 3)
    assert matrix[0, 1] == np.float16((1 + (1 / 4 + 1) / 2) / 2)
    assert (matrix[0, 2], matrix[1, 2]) == (0, 1)
    assert json.loads((Paths.similarity(CleanId("ucm")) / "released.json").read_text())["rows"] == 2
    assert run("captions", "similarity", "ucm", "released").stdout == f"{path}: was there already\n"


def test_similarity_needs_a_cleaned_view():
    assert "clean-official-copies.parquet is missing: build it with" in refused(
        "captions", "similarity", "ucm", "bleu-4", "--dedup", "copies"
    )


def test_an_unknown_measure_leaves_nothing_behind(tmp_path):
    assert "unknown measure of similarity 'cider': the known ones are bleu-1" in refused(
        "captions", "similarity", "ucm", "cider"
    )
    assert not (tmp_path / "data/similarity").exists()


def test_keywords_of_a_dataset():
    printed = run("captions", "keywords", "ucm").stdout.splitlines()
    assert printed[0] == "data/keywords/ucm.parquet: built, 5 keywords of 4 images"
    assert printed[1:] == ["      2 - port", "      2 green trees", "      1 white ships"]
    assert "was there already" in run("captions", "keywords", "ucm").stdout
    assert "data/canonical/rsicd/dataset.parquet is missing" in refused("captions", "keywords", "rsicd")


def test_statistics_of_datasets_and_of_an_annotation(tmp_path):
    printed = run("captions", "statistics", "ucm", "--out", "out").stdout
    assert "ucm" in printed
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        *("similarity.png", "statistics.csv", "statistics.html", "statistics.md", "statistics.png", "statistics.tex")
    ]
    sentences = [{"filename": name, "split": split, "sentences": [{"raw": x} for x in c]} for name, split, c in IMAGES]
    (tmp_path / "mine.json").write_text(json.dumps({"images": sentences}), encoding="utf-8")
    assert "mine" in run("captions", "statistics", "--annotation", "mine.json", "--out", "mine").stdout
    assert "`rsitr captions statistics --annotation mine.json`" in (tmp_path / "mine/statistics.md").read_text()


@pytest.mark.parametrize("arguments", [[], ["ucm", "--annotation", "mine.json"]])
def test_statistics_of_one_kind_at_a_time(arguments):
    assert "name datasets, or one annotation with --annotation" in refused("captions", "statistics", *arguments)


def test_statistics_of_an_annotation_say_what_was_left_out(tmp_path):
    (tmp_path / "mine.csv").write_text("image,caption\na.png,a port\nb.png,\nc.png,trees, sea\n")
    result = run("captions", "statistics", "--annotation", "mine.csv")
    assert result.exit_code == 0
    assert [line for line in result.stderr.splitlines() if "left out" in line] == [
        "mine.csv: left out: 1 caption: the caption is blank, e.g. mine.csv: line 3, caption 1",
        "mine.csv: left out: 1 caption: it has 3 fields, the header 2: quote captions, e.g. mine.csv: line 4",
    ]


@pytest.mark.parametrize("text", ["image,caption\n", "image,caption\na.png, \n", ""])
def test_statistics_of_an_annotation_of_nothing(text, tmp_path):
    (tmp_path / "mine.csv").write_text(text)
    said = refused("captions", "statistics", "--annotation", "mine.csv")
    assert any(part in said for part in ("lists no images", "and no captions", "is in no layout"))


def test_statistics_of_no_dataset_that_is_there(tmp_path):
    said = refused("captions", "statistics", "rsicd", "--out", "out")
    assert said.startswith("rsitr: rsicd: data/canonical/rsicd/dataset.parquet is missing: ")
    assert not (tmp_path / "out").exists()


def test_statistics_of_a_dataset_without_captions(tmp_path):
    frame = rows_to_frame([Row("a.png", "a.png", "train", "port", [], [])], Paths.extracted("ucm"))
    facts = DatasetFacts("aid", "AID", "generated", "", True, Paths.extracted("ucm").as_posix(), data_sha(frame))
    write_table(pa.Table.from_pandas(frame, CANONICAL_SCHEMA, preserve_index=False), facts, Paths.dataset("aid"))
    assert refused("captions", "statistics", "aid").startswith("rsitr: aid: ")


def test_statistics_of_a_dataset_that_is_there_and_one_that_is_not():
    result = run("captions", "statistics", "ucm", "rsicd")
    assert result.exit_code == 1
    assert [line.split()[1] for line in result.stdout.splitlines() if "│" in line] == ["ucm", "rsicd"]
    assert result.stderr.count("rsitr: rsicd: data/canonical/rsicd/dataset.parquet is missing") == 1
