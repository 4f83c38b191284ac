"""Test sets: a dataset here, and folders of one's own in any layout."""

from __future__ import annotations

import json
import tarfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rsitr.errors import DatasetError
from rsitr.external.held_out import Folder, held_out
from rsitr.records.provenance import sha256_file
from tests.helpers.commands import refused, run


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four pictures with an annotation for open_clip and one in Karpathy's layout."""
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "My pictures"
    (place / "images").mkdir(parents=True)
    for number in range(4):
        Image.new("RGB", (8, 8), (60 * number, 0, 0)).save(place / "images" / f"{number}.png")
    lines = ["filepath\ttitle", "2.png\ta wood", "0.png\ta port", "0.png\tboats", "1.png\tboats"]
    (place / "pairs.tsv").write_text("\n".join(lines) + "\n")
    return place


def test_a_folder_with_an_annotation(folder):
    found = held_out(str(folder), Folder(folder))
    assert found.dataset == "my-pictures"
    assert found.split.image_ids == ["0.png", "1.png", "2.png"]
    assert found.split.captions == ["a port", "boats", "boats", "a wood"]
    assert found.split.image_of.tolist() == [0, 0, 1, 2]
    assert found.split.hashes == [sha256_file(path) for path in found.split.paths]
    assert found.data == {
        "origin": "external",
        "licence": "",
        "synthetic": False,
        "layout": "csv",
        "images": {"test": 3},
        "captions": {"test": 4},
    }
    assert found.lost == []
    (folder / "pairs.tsv").write_text("filepath\ttitle\n0.png\ta port\n")
    assert held_out(str(folder), Folder(folder)).data_sha != found.data_sha


def test_only_the_split_that_is_asked_for(folder):
    entries = [
        {"filename": f"{number}.png", "split": split, "sentences": [{"raw": split}] * (number < 3)}
        for number, split in enumerate(["train", "val", "test", "test"])
    ]
    (folder / "k.json").write_text(json.dumps({"images": entries}))
    asked = Folder(folder, folder / "k.json", lost_at_most=50)
    found = held_out(str(folder), asked)
    assert found.split.image_ids == ["2.png"]
    assert found.lost == ["1 image: it has no captions, e.g. 3.png"]
    assert held_out(str(folder), asked._replace(split="val")).split.captions == ["val"]
    (folder / "k.json").write_text(json.dumps({"images": entries[:1]}))
    with pytest.raises(DatasetError, match=r"has no images with captions in test; its splits are: train"):
        held_out(str(folder), asked)


def test_too_much_that_is_lost_is_refused_with_the_reasons(folder):
    (folder / "images/1.png").unlink()
    (folder / "images/2.png").write_bytes(b"half")
    with pytest.raises(DatasetError, match=r"2 of 3 images of .*My pictures would be left out, more than 5 %: 1 image"):
        held_out(str(folder), Folder(folder))
    found = held_out(str(folder), Folder(folder, lost_at_most=67))
    assert found.split.image_ids == ["0.png"]
    assert sorted(line.partition(",")[0] for line in found.lost) == [
        f"1 image: the image is not in {folder / 'images'}",
        "1 image: unreadable image",
    ]


def test_images_in_shards_are_unpacked_once(folder):
    def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        tar.addfile(member, BytesIO(content))

    shards = folder.parent / "shards"
    shards.mkdir()
    with tarfile.open(shards / "test-000000.tar", "w") as tar:
        for number in range(2):
            add(tar, f"{number}.png", (folder / "images" / f"{number}.png").read_bytes())
            add(tar, f"{number}.txt", b"boats")
    found = held_out(str(shards), Folder(shards))
    assert found.split.captions == ["boats", "boats"]
    before = [path.stat().st_mtime_ns for path in found.split.paths]
    again = held_out(str(shards), Folder(shards))
    assert [path.stat().st_mtime_ns for path in again.split.paths] == before
    assert again.data_sha == found.data_sha


def test_the_command_takes_a_folder(folder):
    np.save("scores.npy", np.eye(3)[:, [0, 0, 1, 2]].astype(np.float32))
    ended = run("assess", "My pictures", "--scores", "scores.npy")
    assert ended.exit_code == 0, ended.output
    assert "scores on my-pictures: 3 images, 4 captions" in ended.stdout
    assert ended.stdout.endswith("results/external/my-pictures/scores\n")
    assert Path("results/external/my-pictures/scores/ranks.parquet").is_file()
    assert "nowhere is neither a dataset (" in refused("assess", "nowhere", "--scores", "scores.npy")
