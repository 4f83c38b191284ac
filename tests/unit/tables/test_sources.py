"""The table of sources: what stands in a row, and that every file of every dataset has one."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace

import pytest

from rsitr.datasets import registry
from rsitr.tables import sources
from tests.helpers.lab import written


@pytest.mark.parametrize(
    ("url", "revision"),
    [
        ("hf://datasets/owner/repo@main/a/b.zip", "main"),
        ("hf://owner/repo@0123abc/b.bin", "0123abc"),
        ("https://raw.githubusercontent.com/owner/repo/0123abc/a.json", "0123abc"),
        ("https://media.githubusercontent.com/media/owner/repo/0123abc/a.zip", "0123abc"),
        ("https://example.org/owner/repo/a.zip", ""),
        ("gdrive://1W-_Q", ""),
    ],
)
def test_revision(url: str, revision: str) -> None:
    assert sources.revision(url) == revision


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))


@pytest.fixture
def rows(tmp_path: Path) -> list[dict[str, str]]:
    paths = written(sources.TABLE, tmp_path, experiment=SimpleNamespace(datasets=["scenes-a", "resisc45"]))
    assert [path.name for path in paths] == ["sources.csv", "sources.md", "sources.tex", "sources.html"]
    return read(tmp_path / "sources.csv")


def test_every_file_has_a_row(rows: list[dict[str, str]]) -> None:
    files = [row for row in rows if row["table"].startswith("Files")]
    stated = {
        (name, bundle.origin, source.file)
        for name, dataset in registry().items()
        for bundle in dataset.bundles
        for source in bundle.sources
    }
    drawn = {("scenes-a", "generated", "none")}
    assert {(row["dataset"], row["origin"], row["file"].removesuffix(" (optional)")) for row in files} == stated | drawn
    assert len(files) == len(stated) + 1
    cited = [row["dataset"] for row in rows if row["table"] == "Datasets"]
    assert sorted(cited) == sorted({row["dataset"] for row in files})


def test_row_of_a_file(rows: list[dict[str, str]]) -> None:
    row = next(row for row in rows if row["file"] == "NWPU-RESISC45.zip")
    assert row == {
        "table": "Files of the datasets of the experiment",
        "dataset": "resisc45",
        "title": "",
        "homepage": "",
        "citation": "",
        "origin": "huggingface",
        "file": "NWPU-RESISC45.zip",
        "where": "hf://datasets/torchgeo/resisc45@6a070b005250984202b81f2838496951a0532326/NWPU-RESISC45.zip",
        "revision": "6a070b005250984202b81f2838496951a0532326",
        "bytes": "427389445",
        "sha256": "beeecd0b63656290ae6d65cf7763185b0c1c4c54a753ef8088d6fba3faaf1f53",
        "licence": "CC-BY-NC-4.0",
    }


def test_what_nobody_published_is_said(rows: list[dict[str, str]]) -> None:
    row = next(row for row in rows if row["file"] == "AID.zip")
    assert (row["revision"], row["bytes"], row["sha256"]) == ("none", "not published", "not published")
    mirrored = next(row for row in rows if row["file"] == "AID-1of2.zip")
    assert mirrored["where"] == "$RSITR_MIRROR/aid/AID-1of2.zip"
