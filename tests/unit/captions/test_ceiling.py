"""Expected ceilings against cases worked out by hand, against simulation, and on the real captions."""

from __future__ import annotations

import csv

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from rsitr.captions.ceiling import expected_ceiling
from rsitr.datasets.karpathy import karpathy_rows
from rsitr.datasets.table import DATASET_SCHEMA, DatasetFacts
from rsitr.errors import DatasetError
from rsitr.records.parquet import write_table
from rsitr.tables import ceiling
from tests.helpers.lab import written


def test_different_captions_leave_everything_possible():
    assert expected_ceiling(["a lake", "a pier"], np.array([0, 1])) == (100,) * 6


def test_two_images_with_one_caption_share_the_first_place():
    # Each of the two is first in half the cases, and both are among the first five.
    assert expected_ceiling(["a lake", "A lake."], np.array([0, 1])) == (50, 100, 100, 50, 100, 100)


def test_an_image_is_found_by_its_rarest_caption():
    # Image 0 has a caption of its own; image 1 has only the shared text, one of whose three copies is its own.
    found = expected_ceiling(["shared", "own", "shared", "shared"], np.array([0, 0, 1, 2]))
    assert found.i2t_r1 == pytest.approx(100 * (1 + 1 / 3 + 1 / 3) / 3)
    # Three queries with the shared text are first for one image in three, the fourth is unique.
    assert found.t2i_r1 == pytest.approx(100 * (3 * 1 / 3 + 1) / 4)


def test_copies_of_an_image_count_by_their_number():
    # Five copies, three of image 0: it is first with 3/5, image 1 with 2/5. Two images, so t2i is one half.
    found = expected_ceiling(["x"] * 5, np.array([0, 0, 0, 1, 1]))
    assert found.i2t_r1 == pytest.approx(50)
    assert found.t2i_r1 == pytest.approx(50)
    assert (found.i2t_r5, found.t2i_r5) == (100, 100)


def simulate(captions, image_of, rounds, rng):
    """Both recalls at 1, 5 and 10 of a perfect method whose ties fall at random."""
    texts, images = np.array(captions), np.unique(image_of)
    cutoffs = np.array([1, 5, 10])
    t2i, i2t = np.zeros(3), np.zeros(3)
    for _ in range(rounds):
        for query, own in zip(texts, image_of, strict=True):
            fitting = rng.permutation(np.unique(image_of[texts == query]))
            t2i += cutoffs > np.flatnonzero(fitting == own)[0]
    for image in images:
        chances = []
        for text in set(texts[image_of == image]):
            copies = image_of[texts == text]
            first = [np.flatnonzero(rng.permutation(copies) == image)[0] for _ in range(rounds)]
            chances.append((cutoffs[:, None] > np.array(first)).mean(axis=1))
        i2t += np.max(chances, axis=0)
    return [*(100 * i2t / len(images)), *(100 * t2i / rounds / len(captions))]


@pytest.mark.parametrize("seed", range(3))
def test_closed_forms_agree_with_simulation(seed):
    rng = np.random.default_rng(seed)
    image_of = np.repeat(np.arange(12), 3)
    captions = [f"text {number}" for number in rng.integers(0, 4, size=36)]
    simulated = simulate(captions, image_of, 1500, rng)
    # One standard error of a share over 1,500 rounds is at most 1.3 points.
    assert list(expected_ceiling(captions, image_of)) == pytest.approx(simulated, abs=4)


@pytest.mark.parametrize(("captions", "image_of"), [(["a"], [0, 1]), ([], [])])
def test_captions_without_images_are_refused(captions, image_of):
    with pytest.raises(DatasetError, match="give one per caption"):
        expected_ceiling(captions, np.array(image_of, dtype=np.int64))


@pytest.mark.mirror
@pytest.mark.parametrize(
    ("name", "split", "figures"),
    [
        ("rsicd", "test", (92.6, 99.2)),
        ("rsitmd", "test", (99.8, 100.0)),
        ("ucm", "val", (39.8, 89.5)),
        ("sydney", "val", (52.0, 92.9)),
    ],
)
def test_figures_that_were_found_independently_are_met(mirror, name, split, figures):
    file = {"rsicd": "dataset_rsicd.json", "rsitmd": "dataset_rsitmd.json"}.get(name, "dataset.json")
    rows = [row for row in karpathy_rows(mirror / name / file, image_dir="x") if row.split == split]
    captions = [caption for row in rows for caption in row.captions]
    found = expected_ceiling(captions, np.repeat(np.arange(len(rows)), [len(row.captions) for row in rows]))
    assert (round(found.t2i_r1, 1), round(found.t2i_r5, 1)) == figures


def put(path, name, sha256=""):
    rows = [
        ("a", "train", ["two boats"]),
        ("b", "test", ["a lake", "a pier"]),
        ("c", "test", ["A lake."]),
        ("d", "test", []),
    ]
    frame = pd.DataFrame(rows, columns=["image_id", "split", "captions"])
    frame = frame.assign(
        path="x", class_name="", keywords=[[]] * 4, width=1, height=1, sha256=sha256, fingerprint="", problem=""
    )
    facts = DatasetFacts(name, name, "generated", "none", False, "root", "sha")
    write_table(pa.Table.from_pandas(frame, DATASET_SCHEMA, preserve_index=False), facts, path)


def test_the_table_has_a_row_for_each_split(tmp_path):
    put(tmp_path / "rsicd.parquet", "rsicd")
    tables = {"rsicd": tmp_path / "rsicd.parquet", "gone": tmp_path / "gone.parquet"}
    paths = written(ceiling.TABLE, tmp_path / "out", canonical=tables)
    assert [path.name for path in paths] == ["ceiling.csv", "ceiling.md", "ceiling.tex", "ceiling.html"]
    lines = paths[0].read_text(encoding="utf-8").splitlines()
    rows = {row["split"]: row for row in csv.DictReader(line for line in lines if not line.startswith("#"))}
    assert list(rows) == ["rsicd train", "rsicd val", "rsicd test", "gone"]
    test = rows["rsicd test"]
    assert (test["images"], test["captions"]) == ("2", "3")
    # c finds its caption behind b's copy under our rule, before it in half the cases at random.
    assert test["ties against the method i2t R@1"] == "50.00"
    assert test["random order of ties i2t R@1"] == "75.00"
    assert test["ties against the method t2i R@1"] == test["random order of ties t2i R@1"] == "66.67"
    assert rows["rsicd train"]["random order of ties t2i R@1"] == "100.00"
    assert rows["rsicd val"]["images"] == "0"
    assert rows["rsicd val"]["random order of ties t2i R@1"] == ""
    assert rows["gone"]["images"] == "NA [1]"


def test_identical_pictures_lower_what_ties_against_the_method_allow(tmp_path):
    """The images b and c are one picture: the pier is b's alone, and no caption finds an image before the other."""
    put(tmp_path / "rsicd.parquet", "rsicd", sha256="a" * 64)
    written(ceiling.TABLE, tmp_path / "out", canonical={"rsicd": tmp_path / "rsicd.parquet"})
    lines = (tmp_path / "out" / "ceiling.csv").read_text(encoding="utf-8").splitlines()
    rows = {row["split"]: row for row in csv.DictReader(line for line in lines if not line.startswith("#"))}
    test = rows["rsicd test"]
    assert (test["ties against the method i2t R@1"], test["ties against the method t2i R@1"]) == ("50.00", "0.00")
    assert test["random order of ties t2i R@1"] == "66.67"
