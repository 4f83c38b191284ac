"""Files and images that are not what they were are named with what to do; the command ends with 1."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest
from PIL import Image
from typer.testing import CliRunner

from rsitr import datasets
from rsitr.cli import app
from rsitr.datasets.acquire import RECEIPT, build
from rsitr.datasets.base import Bundle, Source
from rsitr.datasets.ucm import UCM
from rsitr.datasets.verify import verify
from rsitr.records.paths import Paths

RAW, TABLE, ROOT = Paths.raw("ucm"), Paths.dataset("ucm"), Paths.extracted("ucm")


def archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as pack:
        for number in (1, 2):
            picture = io.BytesIO()
            Image.new("RGB", (8, 8), (number, 0, 0)).save(picture, "TIFF")
            pack.writestr(f"UCM_captions/imgs/{number}.tif", picture.getvalue())
    return buffer.getvalue()


ARCHIVE = archive()
SHA256 = hashlib.sha256(ARCHIVE).hexdigest()


class Small(UCM):
    """UCM-Captions of two images, with a file of every kind."""

    bundles: ClassVar = (
        Bundle(
            origin="official",
            sources=(
                Source(file="images.zip", urls=("https://example.org/a",), bytes=len(ARCHIVE), sha256=SHA256),
                Source(file="dataset.json", urls=("https://example.org/b",)),
                Source(file="extra.zip", urls=("https://example.org/c",), optional=True),
            ),
            licence="none stated",
            homepage="https://example.org",
        ),
    )


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The set fetched and built in the working folder."""
    known = datasets.registry() | {"ucm": Small}
    monkeypatch.setattr(datasets, "registry", lambda: known)
    monkeypatch.chdir(tmp_path)
    RAW.mkdir(parents=True)
    (RAW / "images.zip").write_bytes(ARCHIVE)
    entries = [{"filename": f"{n}.tif", "split": "train", "sentences": [{"raw": "a"}]} for n in (1, 2)]
    (RAW / "dataset.json").write_text(json.dumps({"images": entries}))
    receipt = {"origin": "official", "licence": "none stated", "files": ["dataset.json", "images.zip"]}
    (RAW / RECEIPT).write_text(json.dumps(receipt))
    build("ucm", RAW / RECEIPT, ROOT, TABLE)


def test_what_is_right() -> None:
    assert verify("ucm", RAW, TABLE) == (2, 2, [RAW / "dataset.json"], [])
    result = CliRunner().invoke(app, ["data", "verify", "ucm"])
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "ucm: data/raw/ucm/dataset.json: not checked, since no size or checksum is published",
        "ucm: 2 files and 2 images, 0 wrong",
    ]


IMAGE = ROOT / "UCM_captions/imgs/2.tif"
FETCH, BUILD = "run `rsitr data fetch ucm`", "run `rsitr data build ucm`"
FAULTS: dict[str, tuple[Callable[[], object], Path, str, str]] = {
    "file gone": (lambda: (RAW / "images.zip").unlink(), RAW / "images.zip", "found no file", FETCH),
    "file changed": (
        lambda: (RAW / "images.zip").write_bytes(b"x"),
        RAW / "images.zip",
        f"sha256 expected {SHA256}, got {hashlib.sha256(b'x').hexdigest()} (1 bytes)",
        f"delete it and {FETCH}",
    ),
    "image gone": (IMAGE.unlink, IMAGE, "found no file", BUILD),
    "image changed": (lambda: IMAGE.write_bytes(b"x"), IMAGE, f"found {hashlib.sha256(b'x').hexdigest()}", BUILD),
    "table gone": (TABLE.unlink, TABLE, "expected a table, found none", BUILD),
    "receipt gone": ((RAW / RECEIPT).unlink, RAW / RECEIPT, "found none", FETCH),
    "receipt broken": (lambda: (RAW / RECEIPT).write_text("{"), RAW / RECEIPT, "found a broken one", FETCH),
    "file never fetched": (
        lambda: ((RAW / "dataset.json").unlink(), (RAW / RECEIPT).write_text('{"origin": "official", "files": []}')),
        RAW / "dataset.json",
        "expected some bytes, found no file",
        FETCH,
    ),
    "file of no source": (
        lambda: (RAW / RECEIPT).write_text('{"origin": "official", "files": ["old.zip", "dataset.json"]}'),
        RAW / "old.zip",
        "found one it does not list",
        "fetch ucm again",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong(fault: str) -> None:
    spoil, file, message, remedy = FAULTS[fault]
    spoil()
    (finding,) = verify("ucm", RAW, TABLE).findings
    assert finding.file == file
    assert message in finding.fault
    assert finding.remedy.startswith(remedy)
    result = CliRunner().invoke(app, ["data", "verify", "ucm"])
    assert result.exit_code == 1
    assert f"ucm: {file}: {finding.fault}: {finding.remedy}" in result.stdout.splitlines()


def test_an_image_that_was_never_readable() -> None:
    IMAGE.write_bytes(b"no image")
    (RAW / "images.zip").write_bytes(ARCHIVE)
    from rsitr.datasets.canonical import build_dataset

    build_dataset(Small(), ROOT, "official", "none stated", TABLE)
    (finding,) = verify("ucm", RAW, TABLE).findings
    assert finding.fault == (
        f"expected a readable image, found: {IMAGE} is not a picture of a known format (it begins with b'no image')"
    )


def test_export_by_command() -> None:
    result = CliRunner().invoke(app, ["data", "export", "ucm", "--format", "karpathy", "--out", "out"])
    assert (result.exit_code, result.stdout) == (0, "out: 2 images, 0 of them encoded again as PNG, 0 left out\n")
    assert Path("out/images/2.tif").read_bytes() == IMAGE.read_bytes()
    again = CliRunner().invoke(app, ["data", "export", "ucm", "--format", "karpathy", "--out", "out"])
    assert again.exit_code == 1
    assert "out is not empty" in again.stderr


def test_export_by_command_counts_what_it_loses_and_fails_above_the_stated_share() -> None:
    IMAGE.write_bytes(b"no image")
    from rsitr.datasets.canonical import build_dataset

    build_dataset(Small(), ROOT, "official", "none stated", TABLE)
    command = ["data", "export", "ucm", "--format", "mteb", "--out", "out"]
    refused = CliRunner().invoke(app, command)
    assert refused.exit_code == 1
    assert "1 of 2 images of ucm (50.0 %) would be lost in mteb, over 5 %: 1 unreadable image" in refused.stderr
    assert not Path("out").exists()
    done = CliRunner().invoke(app, [*command, "--lost-at-most", "50"])
    again = "out: 1 images, 1 of them encoded again as PNG, 1 left out (1 unreadable image)\n"
    assert (done.exit_code, done.stdout) == (0, again)
    assert done.stderr == f"ucm: {IMAGE.name} not exported: unreadable image\n"
