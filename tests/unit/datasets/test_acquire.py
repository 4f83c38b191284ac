"""What building a dataset says of the images that cannot be used."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from rsitr.datasets.acquire import RECEIPT
from rsitr.datasets.table import read_table
from rsitr.records.paths import Paths
from tests.helpers.commands import refused, run

RAW = Paths.raw("ucm")
BROKEN = "9.tif"


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def fetched(annotated: list[str], packed: list[str], *, origin: str = "official") -> None:
    """UCM-Captions as if fetched, with these images in the annotation and in the archive."""
    RAW.mkdir(parents=True)
    images = [{"filename": name, "split": "train", "sentences": [{"raw": "a"}]} for name in annotated]
    with zipfile.ZipFile(RAW / "UCM_captions.zip", "w") as pack:
        pack.writestr("UCM_captions/dataset.json", json.dumps({"images": images}))
        for name in packed:
            picture = io.BytesIO()
            Image.new("RGB", (8, 8)).save(picture, "TIFF")
            pack.writestr(f"UCM_captions/imgs/{name}", b"x" if name == BROKEN else picture.getvalue())
    receipt = {"origin": origin, "licence": "none stated", "files": ["UCM_captions.zip"]}
    (RAW / RECEIPT).write_text(json.dumps(receipt))


def test_missing_images_are_counted_and_named() -> None:
    fetched([f"{n}.tif" for n in (1, 2, 3, 4, 5, 9)], ["1.tif", BROKEN])
    result = run("data", "build", "ucm")
    assert result.exit_code == 0
    assert result.stderr.splitlines() == [
        "ucm: 4 of 6 images: missing image, e.g. 2.tif, 3.tif, 4.tif",
        "ucm: 1 of 6 images: unreadable image, e.g. 9.tif",
        "ucm: data/extracted/ucm/UCM_captions/imgs/9.tif is not a picture of a known format (it begins with b'x')",
    ]
    assert result.stdout.startswith("data/canonical/ucm/dataset.parquet: official, data ")


def test_no_image_at_all_is_a_failure_that_leaves_no_table() -> None:
    fetched(["1.tif", "2.tif", "3.tif"], ["4.tif"])
    said = refused("data", "build", "ucm")
    assert (
        "ucm has no image that can be used: 3 of 3 images: missing image, e.g. 1.tif, 2.tif, 3.tif. The names" in said
    )
    assert not Paths.dataset("ucm").exists()


def test_an_old_table_stays_when_building_fails() -> None:
    fetched(["1.tif"], ["1.tif"])
    assert run("data", "build", "ucm").exit_code == 0
    before = read_table(Paths.dataset("ucm"))[1]
    (Paths.extracted("ucm") / "UCM_captions/imgs/1.tif").unlink()
    (RAW / "UCM_captions.zip").unlink()
    with zipfile.ZipFile(RAW / "UCM_captions.zip", "w") as pack:
        pack.writestr("readme.txt", "nothing")
    assert "1 of 1 images: missing image" in refused("data", "build", "ucm")
    assert read_table(Paths.dataset("ucm"))[1] == before


def test_optional_images_may_all_be_missing() -> None:
    """A mirror may hold captions alone: their cells are skipped with the reason."""
    raw = Paths.raw("sydney")
    raw.mkdir(parents=True)
    images = [{"filename": "1.tif", "split": "train", "sentences": [{"raw": "a"}]}]
    (raw / "dataset.json").write_text(json.dumps({"images": images}))
    receipt = {"origin": "mirror", "licence": "none stated", "files": ["dataset.json"]}
    (raw / RECEIPT).write_text(json.dumps(receipt))
    result = run("data", "build", "sydney")
    assert result.exit_code == 0
    assert result.stderr == "sydney: 1 of 1 images: missing image, e.g. 1.tif\n"


def test_names_of_windows_find_their_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rsitr.datasets.ucm.class_of", lambda name: "harbor")
    fetched(["port\\1.tif", "port\\2.tif"], ["port/1.tif", "port/2.tif"])
    result = run("data", "build", "ucm")
    assert (result.exit_code, result.stderr) == (0, "")
    assert read_table(Paths.dataset("ucm"))[0]["image_id"].to_pylist() == ["port/1.tif", "port/2.tif"]
