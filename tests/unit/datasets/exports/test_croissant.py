"""The description in Croissant, loaded by mlcroissant, MLCommons' own reader."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from rsitr.datasets.exports.croissant import croissant
from rsitr.datasets.exports.layouts import export
from rsitr.datasets.images import load_rgb
from rsitr.datasets.table import DatasetFacts
from tests.helpers.small_table import LOST, MISSING, ROWS, small_table

NAMES = {"train": "train", "val": "validation", "test": "test"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    export(small_table(tmp_path), "huggingface", tmp_path / "out", lost_at_most=LOST)
    return tmp_path / "out"


def test_checksums_and_patterns_fit_the_files(folder: Path) -> None:
    content = json.loads((folder / "croissant.json").read_text(encoding="utf-8"))
    assert content["conformsTo"] == "http://mlcommons.org/croissant/1.0"
    files = {entry["@id"]: entry for entry in content["distribution"]}
    assert list(files) == [f"{split}/{part}" for split in NAMES.values() for part in ("metadata.parquet", "images")]
    for split in NAMES.values():
        stated = files[f"{split}/metadata.parquet"]
        metadata = (folder / stated["contentUrl"]).read_bytes()
        assert stated["sha256"] == hashlib.sha256(metadata).hexdigest()
        assert stated["contentSize"] == f"{len(metadata)} B"
        matched = {path for pattern in files[f"{split}/images"]["includes"] for path in folder.glob(pattern)}
        assert matched == {path for path in (folder / split).iterdir() if path.name != "metadata.parquet"}


def test_every_source_and_reference_is_in_the_distribution(folder: Path) -> None:
    content = json.loads((folder / "croissant.json").read_text(encoding="utf-8"))
    known = {entry["@id"] for entry in content["distribution"]}
    fields = [field for records in content["recordSet"] for field in records["field"]]
    places = [field[part] for field in fields for part in ("source", "references") if part in field]
    assert len(places) == 3 * 9  # of each split eight fields, one of which joins
    assert {place.get("fileObject", place.get("fileSet"))["@id"] for place in places} == known
    assert len({field["@id"] for field in fields}) == len(fields)


@pytest.mark.slow
def test_mlcroissant_reads_every_record(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CROISSANT_CACHE", str(tmp_path / "cache"))
    mlcroissant = pytest.importorskip("mlcroissant", reason="the library mlcroissant is not installed")
    dataset = mlcroissant.Dataset(str(folder / "croissant.json"))
    assert not dataset.metadata.ctx.issues.errors
    assert [record["splits/name"] for record in dataset.records("splits")] == [*NAMES.values()]
    for split, name in NAMES.items():
        rows = [row for row in ROWS if row.split == split and row.image_id != MISSING]
        records = list(dataset.records(name))
        assert [text(record[f"{name}/image_id"]) for record in records] == [row.image_id for row in rows]
        for record, row in zip(records, rows, strict=True):
            assert text(record[f"{name}/split"]) == split
            assert text(record[f"{name}/class_name"]) == row.class_name
            assert [text(caption) for caption in record[f"{name}/captions"]] == row.captions
            assert [text(keyword) for keyword in record[f"{name}/keywords"]] == row.keywords
            image = folder / name / text(record[f"{name}/file_name"])
            assert text(record[f"{name}/sha256"]) == hashlib.sha256(image.read_bytes()).hexdigest()
            seen = load_rgb(folder.parent / "extracted" / row.path)
            assert record[f"{name}/image"].convert("RGB").tobytes() == seen.tobytes()


def text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else value


def about(name: str, licence: str) -> dict[str, Any]:
    return croissant(DatasetFacts(name, name, "official", licence, False, "", "sha"), [], Path())


def test_licence_authors_and_year() -> None:
    found = about("rsicd", "CC-BY-NC-4.0")
    assert found["license"] == "https://spdx.org/licenses/CC-BY-NC-4.0.html"
    assert [person["name"] for person in found["creator"]] == ["X. Lu", "B. Wang", "X. Zheng", "X. Li"]
    assert found["datePublished"] == "2018"
    assert found["identifier"] == "sha"
    assert about("ucm", "none stated")["datePublished"] == "2016"  # of the captions; the images are from 2010
    assert [person["name"] for person in about("rsitmd", "none stated")["creator"]] == ["Z. Yuan"]
    unpublished = about("scenes-a", "Apache-2.0")
    assert unpublished["license"] == "https://spdx.org/licenses/Apache-2.0.html"
    assert not {"creator", "datePublished", "url"} & set(unpublished)
    assert about("ucm", "none stated")["license"] == "none stated"
