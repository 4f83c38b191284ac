"""The sets around the benchmark (scene classes, pretraining lists and shards) in the layouts they are published in."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from webdataset import TarWriter

from rsitr.datasets import get_dataset
from rsitr.datasets.acquire import RECEIPT, build
from rsitr.datasets.base import Row
from rsitr.datasets.exports.pictures import Pictures
from rsitr.datasets.images import load_stored
from rsitr.datasets.table import read_table
from rsitr.datasets.tars import stored
from rsitr.datasets.verify import verify
from rsitr.dedup.thumbnails import read_thumbnails, write_thumbnails
from rsitr.errors import CorruptArchive, DatasetError
from tests.helpers.shards_of_colours import write_tar

SENTENCES = {"raw": "a", "raw_1": "b", "raw_2": "c", "raw_3": "d", "raw_4": "e"}


def rows(name: str, root: Path) -> list[Row]:
    return list(get_dataset(name).parse(root))


@pytest.mark.parametrize("folder", ["AID", "."])
def test_aid_with_and_without_its_outer_folder(folder: str, tmp_path: Path) -> None:
    for path in ("Airport/airport_1.jpg", "BareLand/bareland_2.jpg", "BareLand/Thumbs.db"):
        (tmp_path / folder / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / path).touch()
    prefix = "" if folder == "." else "AID/"
    assert rows("aid", tmp_path) == [
        Row("airport_1.jpg", f"{prefix}Airport/airport_1.jpg", "train", "airport", [], []),
        Row("bareland_2.jpg", f"{prefix}BareLand/bareland_2.jpg", "train", "bareland", [], []),
    ]


def nwpu(root: Path, entry: Any) -> Path:
    (root / "dataset_nwpu.json").write_text(json.dumps({"Airport": [entry]}), encoding="utf-8")
    return root


def test_nwpu_reads_five_sentences(tmp_path: Path) -> None:
    nwpu(tmp_path, {"filename": "airport_001.jpg", "split": "test", "imgid": 0, **SENTENCES, "raw_2": " c  c "})
    path = "NWPU_images/Airport/airport_001.jpg"
    assert rows("nwpu", tmp_path) == [Row("airport_001.jpg", path, "test", "airport", ["a", "b", "c c", "d", "e"], [])]


@pytest.mark.parametrize(
    "entry",
    [
        {"filename": "a.jpg", "split": "test", "raw": "a"},
        {"filename": "a.jpg", "split": "dev", **SENTENCES},
        {"filename": "../a.jpg", "split": "test", **SENTENCES},
        {"filename": None, "split": "test", **SENTENCES},
        ["a.jpg"],
    ],
)
def test_nwpu_names_the_entry_it_cannot_read(entry: Any, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"dataset_nwpu\.json: Airport\[0\] "):
        rows("nwpu", nwpu(tmp_path, entry))


@pytest.mark.parametrize("text", ["{", "[]", '{"Airport": "a.jpg"}'])
def test_nwpu_of_another_layout(text: str, tmp_path: Path) -> None:
    (tmp_path / "dataset_nwpu.json").write_text(text)
    with pytest.raises(DatasetError, match=r"not valid JSON|not in the expected layout"):
        rows("nwpu", tmp_path)


def ret3(root: Path, *lines: str) -> Path:
    (root / "Ret-3_train.csv").write_text("\n".join(lines), encoding="utf-8-sig")
    return root


@pytest.mark.parametrize("folder", ["", "Ret-3_train/"])
def test_remoteclip_gathers_the_sentences_of_an_image(folder: str, tmp_path: Path) -> None:
    (tmp_path / folder).mkdir(exist_ok=True)
    quoted = '"a ""green"" park, a lake ."'  # as pandas writes a sentence with quotes
    ret3(tmp_path, "title\tfilename", f"{quoted}\tucm_1.tif", "sand\trsitmd_beach_2.png", "b\tucm_1.tif")
    assert rows("remoteclip", tmp_path) == [
        Row("ucm_1.tif", f"{folder}ucm_1.tif", "train", "", ['a "green" park, a lake .', "b"], []),
        Row("rsitmd_beach_2.png", f"{folder}rsitmd_beach_2.png", "train", "", ["sand"], []),
    ]


@pytest.mark.parametrize("line", ["a park", "a park\t../1.tif", "a park\t/1.tif", "a park\t"])
def test_remoteclip_names_the_line_it_cannot_read(line: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"Ret-3_train\.csv, line 2: "):
        rows("remoteclip", ret3(tmp_path, "title\tfilename", line))


def test_remoteclip_of_another_layout(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no columns title and filename"):
        rows("remoteclip", ret3(tmp_path, "title,filename", "a,b"))


def shard(path: Path, *samples: tuple[str, bytes, str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with TarWriter(str(path), encoder=False) as file:
        for number, (name, image, caption) in enumerate(samples):
            sample = {"img_name": name.encode(), "img_content": image, "caption": caption.encode()}
            file.write({"__key__": f"{number:06}"} | sample)
    return path


def test_rs5m_shards_become_a_table(tmp_path: Path, make_png: Any, caplog: pytest.LogCaptureFixture) -> None:
    raw, root = tmp_path / "raw", tmp_path / "extracted"
    train = shard(raw / "rs3-train-0003.tar", ("fmow_1.png", make_png(1), "a  port"), ("fmow_2.png", b"no", "b"))
    val = shard(raw / "pub11-val-0000.tar", ("fmow_1.png", make_png(2), "a lake"))
    files = sorted(path.name for path in (train, val))
    (raw / RECEIPT).write_text(json.dumps({"origin": "official", "licence": "MIT", "files": files}))
    with caplog.at_level(logging.WARNING):
        build("rs5m", raw / RECEIPT, root, tmp_path / "dataset.parquet")
    frame = read_table(tmp_path / "dataset.parquet")[0].to_pandas()
    columns = ["image_id", "split", "width", "problem"]
    assert frame[columns].to_numpy().tolist() == [
        ["pub11-val-0000/fmow_1.png", "val", 2, ""],
        ["rs3-train-0003/fmow_1.png", "train", 1, ""],
        ["rs3-train-0003/fmow_2.png", "train", 0, "unreadable image"],
    ]
    assert [stored(root / path) for path in frame["path"]] == [make_png(2), make_png(1), b"no"]
    assert [list(captions) for captions in frame["captions"]] == [["a lake"], ["a port"], ["b"]]
    assert "126 of 128 shards are not in" in caplog.text
    assert (root / train.name).samefile(train)  # no second copy of 500 GB
    assert sorted(path.name for path in root.iterdir()) == files  # and no file per image
    # Every other reader of a table finds the images there too.
    write_thumbnails(tmp_path / "dataset.parquet", tmp_path / "thumbnails.parquet")
    assert read_thumbnails(tmp_path / "thumbnails.parquet").problem.tolist() == ["flat", "flat", "unreadable image"]
    pictures = Pictures(root)
    assert [pictures.of(row).content for row in frame.to_dict("records")[:2]] == [make_png(2), make_png(1)]
    assert load_stored(root / frame["path"][0]).size == (2, 2)
    assert [str(finding.file) for finding in verify("rs5m", raw, tmp_path / "dataset.parquet").findings[126:]] == [
        str(root / frame["path"][2])
    ]
    train.write_bytes(train.read_bytes()[:1100])
    with pytest.raises(CorruptArchive, match=r"@.* cannot be decoded \(.*shorter than when its table was built\)"):
        load_stored(root / frame["path"][1])


def test_rs5m_holds_one_sample_at_a_time(tmp_path: Path) -> None:
    """Samples are drawn from a shard one by one: rows come before the place where it breaks off is reached."""
    path = shard(tmp_path / "pub11-train-0000.tar", *((f"{number}.jpg", bytes(10), "a") for number in range(50)))
    path.write_bytes(path.read_bytes()[:20_000])
    drawn = get_dataset("rs5m").parse(tmp_path)
    assert next(drawn).image_id == "pub11-train-0000/0.jpg"
    with pytest.raises(CorruptArchive, match="it is cut off"):
        list(drawn)


@pytest.mark.parametrize("name", ["../a.jpg", "/a.jpg", "", ".."])
def test_rs5m_refuses_a_path_outside_the_shard(name: str, tmp_path: Path) -> None:
    shard(tmp_path / "pub11-train-0000.tar", (name, b"", "a"))
    with pytest.raises(DatasetError, match=r"pub11-train-0000\.tar: sample 000000 names"):
        rows("rs5m", tmp_path)


def test_rs5m_names_a_sample_of_another_layout(tmp_path: Path) -> None:
    with TarWriter(str(tmp_path / "rs3-val-0001.tar"), encoder=False) as file:
        file.write({"__key__": "7", "jpg": b"", "txt": b""})
    with pytest.raises(DatasetError, match=r"rs3-val-0001\.tar: sample 7 is not in the expected layout"):
        rows("rs5m", tmp_path)


@pytest.mark.parametrize("cut", [20_000, 9 * 512 * 10, 9 * 512 * 10 + 100])
def test_shard_that_breaks_off(cut: int, tmp_path: Path) -> None:
    """Inside an image, between two samples, in a header: a sample takes 3 headers, 2 blocks of text and 4 of image."""
    path = shard(tmp_path / "pub11-train-0000.tar", *((f"{n}.jpg", bytes(2000), "a") for n in range(12)))
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(CorruptArchive, match=r"pub11-train-0000\.tar cannot be read as a shard \(it is cut off"):
        rows("rs5m", tmp_path)


def test_rs5m_names_a_member_that_is_there_twice(tmp_path: Path) -> None:
    parts = [("1.img_content", b"x"), ("1.img_name", b"1.jpg"), ("1.caption", b"a"), ("1.caption", b"b")]
    write_tar(tmp_path / "pub11-train-0000.tar", parts)
    with pytest.raises(CorruptArchive, match=r"cannot be read as a shard \(it holds 1\.caption twice\)"):
        rows("rs5m", tmp_path)


@pytest.fixture(scope="module")
def make_png() -> Any:
    """``make_png(side)``: the bytes of a square picture."""
    from io import BytesIO

    from PIL import Image

    def make(side: int) -> bytes:
        buffer = BytesIO()
        Image.new("RGB", (side, side)).save(buffer, "PNG")
        return buffer.getvalue()

    return make
