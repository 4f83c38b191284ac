"""The table of statistics: numbers worked out by hand, the published ones next to them, and why some are missing."""

from __future__ import annotations

import csv
import json

import pyarrow as pa
import pytest

from rsitr.captions.statistics import Image
from rsitr.datasets import registry
from rsitr.datasets.table import DATASET_SCHEMA, DatasetFacts
from rsitr.errors import DatasetError
from rsitr.records.parquet import write_table
from rsitr.tables import statistics
from rsitr.tables.layout import Note

ROWS = [
    ("1.tif", "train", "port", ["Two boats .", "two boats ."]),
    ("2.tif", "val", "port", ["two boats ."]),
    ("3.tif", "val", "wood", ["green trees ."]),
    ("4.tif", "test", "wood", ["green trees ."]),
    ("5.tif", "test", "wood", []),
]
NUMBERS = {"captions": "5", "images": "5", "sentence length": "3.00", "diversity": "0.60", "words": "5", "classes": "2"}


def put(folder, name, rows=ROWS, synthetic=False):
    table = pa.Table.from_pylist(
        [dict(zip(("image_id", "split", "class_name", "captions"), row, strict=True)) for row in rows], DATASET_SCHEMA
    )
    path = folder / f"{name}.parquet"
    write_table(table, DatasetFacts(name, name, "mirror", "none", synthetic, "root", "sha"), path)
    return {name: path}


def read(paths, table="Statistics of captions"):
    lines = [line for line in paths[0].read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    return {row["dataset"]: row for row in csv.DictReader(lines) if row["table"] == table}


def test_the_files_and_a_row_by_hand(tmp_path):
    paths = statistics.build(put(tmp_path, "harbours"), "lab", tmp_path / "out")
    endings = [
        "statistics.csv",
        "statistics.md",
        "statistics.tex",
        "statistics.html",
        "statistics.png",
        "similarity.png",
    ]
    assert [path.name for path in paths] == endings
    assert all(path.stat().st_size for path in paths)
    row = read(paths)["harbours"]
    assert {name: row[name] for name in NUMBERS} == NUMBERS
    # On val, each caption has a full stop in common with the other image, which is a stop word.
    assert (row["average similarity (val)"], row["average similarity (test)"]) == ("0.500", "1.000")
    assert "published" not in paths[1].read_text(encoding="utf-8")


def test_equal_input_gives_equal_bytes_whatever_the_threads(tmp_path):
    tables = put(tmp_path, "rsicd")
    first = [path.read_bytes() for path in statistics.build(tables, "lab", tmp_path / "a")]
    assert [path.read_bytes() for path in statistics.build(tables, "lab", tmp_path / "b", threads=3)] == first


def test_published_numbers_stand_beside_real_data_of_the_same_images(tmp_path):
    tables = put(tmp_path, "ucm") | put(tmp_path, "sydney") | put(tmp_path, "harbours")
    paths = statistics.build(tables, "lab", tmp_path / "out")
    assert list(read(paths)) == ["ucm", "sydney", "harbours"]
    rows = read(paths, "Next to the published numbers")
    assert list(rows) == ["ucm", "sydney train + val"]
    ucm, sydney = rows["ucm"], rows["sydney train + val"]
    assert [ucm[f"images {name}"] for name in ("ours", "published", "Δ")] == ["5", "2100", "-2095"]
    assert [ucm[f"diversity {name}"] for name in ("ours", "published", "Δ")] == ["0.60", "0.97", "-0.37"]
    assert [ucm[f"average similarity (val) {name}"] for name in ("ours", "published", "Δ")] == [
        "0.500",
        "0.058",
        "+0.442",
    ]
    assert [sydney[f"images {name}"] for name in ("ours", "published", "Δ")] == ["3", "555 [1]", "-552"]
    assert sydney["diversity ours"] == "1.00"
    assert "# [1] the paper counts 555 images" in paths[0].read_text(encoding="utf-8")


def test_synthetic_numbers_never_stand_beside_published_ones(tmp_path):
    paths = statistics.build(put(tmp_path, "ucm", synthetic=True), "lab", tmp_path / "out")
    assert list(read(paths)) == ["ucm (synthetic)"]
    assert "2100" not in paths[1].read_text(encoding="utf-8")
    assert read(paths, "Next to the published numbers") == {}


def test_a_table_that_is_missing_or_has_no_captions_is_na_with_the_reason(tmp_path):
    tables = {"gone": tmp_path / "gone.parquet"} | put(tmp_path, "aid", [("1.jpg", "train", "port", [])])
    paths = statistics.build(tables, "lab", tmp_path / "out")
    rows = read(paths)
    assert set(list(rows["gone"].values())[2:]) == {"NA [1]"}
    assert set(list(rows["aid"].values())[2:]) == {"NA [2]"}
    text = paths[0].read_text(encoding="utf-8")
    assert "gone.parquet is missing: build it with `snakemake" in text
    assert "# [2] 1 images and no captions: there is nothing to describe" in text
    assert paths[-1].read_bytes().startswith(b"\x89PNG")


def test_published_numbers_stay_beside_a_table_that_is_missing(tmp_path):
    rows = read(
        statistics.build({"rsitmd": tmp_path / "gone.parquet"}, "lab", tmp_path), "Next to the published numbers"
    )
    assert [rows["rsitmd"][f"words {name}"] for name in ("ours", "published", "Δ")] == ["NA [1]", "3908", ""]


def test_without_a_validation_split_or_classes_the_rest_is_known(tmp_path):
    rows = [(image_id, "train", "", captions) for image_id, _, _, captions in ROWS]
    paths = statistics.build(put(tmp_path, "harbours", rows), "lab", tmp_path / "out")
    row = read(paths)["harbours"]
    assert (row["words"], row["classes"]) == ("5", "NA [1]")
    assert (row["average similarity (val)"], row["average similarity (test)"]) == ("NA [2]", "NA [3]")
    text = paths[0].read_text(encoding="utf-8")
    assert "# [1] the annotation states no classes" in text
    assert "# [2] val: no image has a caption" in text


def test_an_empty_experiment_still_has_its_files(tmp_path):
    assert all(path.is_file() for path in statistics.build({}, "lab", tmp_path))


def test_an_annotation_of_a_user(tmp_path):
    """Also one that is called as a dataset of the paper: it need not be that one."""
    images = [
        {"filename": image_id, "split": split, "classname": name, "sentences": [{"raw": text} for text in captions]}
        for image_id, split, name, captions in ROWS
    ]
    path = tmp_path / "sydney.json"
    path.write_text(json.dumps({"images": images}), encoding="utf-8")
    rows, lost = statistics.measure_annotation(path)
    assert lost == []
    texts = rows[0].texts()
    similar = {"average similarity (val)": "0.500", "average similarity (test)": "1.000"}
    assert texts == NUMBERS | similar
    paths = statistics.write_rows(rows, path.stem, f"rsitr captions statistics --annotation {path}", tmp_path / "out")
    row = read(paths)["sydney"]
    assert {name: row[name] for name in texts} == texts
    assert f"`rsitr captions statistics --annotation {path}`" in paths[1].read_text(encoding="utf-8")
    with pytest.raises(DatasetError, match="is missing"):
        statistics.measure_annotation(tmp_path / "gone.json")


@pytest.mark.mirror
@pytest.mark.parametrize("name", ["sydney", "ucm"])
def test_differences_from_the_published_numbers(mirror, name):
    """The larger datasets: tests/unit/captions/test_statistics.py and tests/unit/captions/test_released.py."""
    images = [
        Image(row.image_id, row.split, row.class_name, row.captions) for row in registry()[name]().parse(mirror / name)
    ]
    row = statistics.measure(name, images, published=statistics.published_numbers(name))[-1]
    cells = {key: [cell.text for cell in row.published_cells(key)] for key in row.published}
    assert {key: difference for key, (_, difference) in cells.items() if key != "classes"} == {
        "images": "0",
        "sentence_length": "+0.01",
        "diversity": "0.00",
        "words": "0",
        "similarity": "0.000",
    }
    assert isinstance(row.ours["classes"], Note) == (name == "sydney")
