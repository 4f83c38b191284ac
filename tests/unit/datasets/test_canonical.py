"""The canonical table: what is stored of an image, what is refused, and what its hash depends on."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from rsitr.datasets import canonical
from rsitr.datasets.base import Row
from rsitr.datasets.canonical import CANONICAL_SCHEMA, data_sha, rows_to_frame, validate, write_rows
from rsitr.datasets.images import inspect, load_rgb, phash
from rsitr.datasets.pictures import read_picture
from rsitr.datasets.splits import SplitData, load_splits, spread_images
from rsitr.datasets.table import CLEAN_SCHEMA, DatasetFacts, read_facts, read_table
from rsitr.dedup.clean import clean
from rsitr.errors import CorruptArchive, DatasetError
from rsitr.records.parquet import write_table

FACTS = DatasetFacts("lab", "The lab", "official", "CC0-1.0", False, "root", "da7a")


def row(name: str, split: str = "train", captions: tuple[str, ...] = ("a dot",)) -> Row:
    return Row(name, f"images/{name}", split, "dot", list(captions), ["dot"])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A good image ``a.png``, a truncated JPEG ``b.jpg`` and a page ``c.jpg`` that is no image; ``d.png`` is absent."""
    folder = tmp_path / "images"
    folder.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "a.png")
    Image.fromarray(noise).save(folder / "b.jpg")
    content = (folder / "b.jpg").read_bytes()
    (folder / "b.jpg").write_bytes(content[: len(content) // 2])
    (folder / "c.jpg").write_bytes(b"<html>quota exceeded</html>")
    return tmp_path


def test_facts_of_images_good_and_bad(root):
    frame = rows_to_frame([row("d.png"), row("b.jpg"), row("a.png"), row("c.jpg")], root)
    assert frame["image_id"].tolist() == ["a.png", "b.jpg", "c.jpg", "d.png"]
    assert frame["problem"].tolist() == ["", "unreadable image", "unreadable image", "missing image"]
    assert frame["width"].tolist() == [60, 0, 0, 0]
    assert frame["height"].tolist() == [40, 0, 0, 0]
    sums = [hashlib.sha256((root / "images" / name).read_bytes()).hexdigest() for name in ("a.png", "b.jpg", "c.jpg")]
    assert frame["sha256"].tolist() == [*sums, ""]
    assert [len(value) for value in frame["fingerprint"]] == [16, 0, 0, 0]


def test_a_truncated_jpeg_is_named(root):
    with pytest.raises(
        CorruptArchive, match=r"b\.jpg cannot be decoded \(.*\): `rsitr data verify` tells whether the file is damaged"
    ):
        load_rgb(root / "images" / "b.jpg")


def test_duplicate_ids_and_empty_annotations_are_refused(root):
    with pytest.raises(DatasetError, match=r"2 image ids appear more than once \(a.png, b.jpg\): repair"):
        rows_to_frame([row(name) for name in ("a.png", "b.jpg", "a.png", "c.jpg", "b.jpg", "b.jpg")], root)
    with pytest.raises(DatasetError, match="lists no images"):
        rows_to_frame([], root)


def test_rows_of_several_runs_are_merged(root, monkeypatch):
    """The table is the same however many rows are sorted at a time."""
    rows = [row(f"{number}.png", captions=("a dot", f"dot {number}")) for number in (30, 4, 17, 9, 25, 11, 2)]
    source = "lab", "The lab", "official", "CC0-1.0", False
    whole = rows_to_frame(rows, root)
    for run, part in ((50, 100), (3, 2), (1, 1)):
        monkeypatch.setattr(canonical, "RUN", run)
        monkeypatch.setattr(canonical, "PART", part)
        facts = write_rows(iter(rows), source, root, root / "table.parquet")
        table, read = read_table(root / "table.parquet")
        assert facts == read == DatasetFacts(*source, root.as_posix(), data_sha(whole))
        assert table.equals(pa.Table.from_pandas(whole, CANONICAL_SCHEMA, preserve_index=False))
    # Of two runs, and of two row groups.
    with pytest.raises(DatasetError, match=r"2 image ids appear more than once \(4.png, 9.png\): repair"):
        write_rows([*rows, row("9.png"), row("4.png"), row("9.png")], source, root, root / "new.parquet")
    with pytest.raises(DatasetError, match="lists no images"):
        write_rows([], source, root, root / "new.parquet")
    assert not (root / "new.parquet").exists()


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("split", "restval"),
        ("captions", [1]),
        ("width", -1),
        ("sha256", "abc"),
        ("fingerprint", "g" * 16),
        ("path", ""),
    ],
)
def test_the_schema_names_the_column_that_breaks_it(column, value, root):
    frame = rows_to_frame([row("a.png")], root)
    frame[column] = [value]
    with pytest.raises(DatasetError, match=rf"breaks the canonical schema:\n.*\n.*{column}"):
        validate(frame)


def test_pictures_that_are_not_plain_are_stored_as_they_are_seen(root):
    """A 16-bit ramp is stretched, a photo is turned, the file of 8 bits stays where it is."""
    ramp = np.tile(np.arange(64, dtype=np.uint16) * 1000, (8, 1))
    Image.fromarray(ramp).save(root / "images/ramp.png")
    photo, turned = Image.new("RGB", (8, 4), (10, 200, 30)), Image.Exif()
    turned[274] = 6
    photo.save(root / "images/photo.jpg", exif=turned)
    frame = rows_to_frame([row(name) for name in ("a.png", "photo.jpg", "ramp.png")], root).set_index("image_id")
    paths = ["images/a.png", "shown/images/photo.jpg.png", "shown/images/ramp.png.png"]
    assert frame["path"].to_dict() == dict(zip(frame.index, paths, strict=True))
    assert frame.loc["photo.jpg", ["width", "height"]].tolist() == [4, 8]
    seen = np.asarray(load_rgb(root / paths[2]))
    # From the 2nd to the 98th percentile: the ends are black and white, and it rises in between.
    assert seen[0, [0, 1, -2, -1], 0].tolist() == [0, 0, 255, 255]
    assert (np.diff(seen[0, :, 0].astype(int)) >= 0).all()
    for name, path in frame["path"].items():
        assert frame.loc[name, "sha256"] == hashlib.sha256((root / path).read_bytes()).hexdigest()
        assert (np.asarray(load_rgb(root / path)) == read_picture(root / "images" / name).rgb).all()
    again = rows_to_frame([row(name) for name in ("a.png", "photo.jpg", "ramp.png")], root)
    assert data_sha(again) == data_sha(frame.reset_index())


def test_phash_is_the_sign_against_the_median_of_low_frequencies():
    # A horizontal ramp has only a constant and frequencies along the first row of its transform: the constant is
    # positive, the odd frequencies of a rising ramp are negative and all else is 0 up to rounding.
    ramp = np.tile(np.arange(32, dtype=np.uint8) * 8, (32, 1))
    bits = int(phash(Image.fromarray(ramp)), 16)
    assert bits >> 63 == 1
    assert all(not bits >> (63 - frequency) & 1 for frequency in (1, 3, 5, 7))


def test_a_re_encoded_image_has_nearly_the_same_fingerprint(tmp_path):
    smooth = np.random.default_rng(1).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    picture = Image.fromarray(smooth).resize((128, 128), Image.Resampling.BICUBIC)
    picture.save(tmp_path / "a.png")
    picture.save(tmp_path / "a.jpg", quality=70)
    picture.resize((96, 96)).save(tmp_path / "b.png")
    marks = [int(inspect(tmp_path / name).fingerprint, 16) for name in ("a.png", "a.jpg", "b.png")]
    assert all((marks[0] ^ other).bit_count() <= 2 for other in marks[1:])


def test_data_sha_follows_content_and_not_order_or_place(root, tmp_path):
    rows = [row("a.png"), row("d.png", captions=("x", "y"))]
    frame = rows_to_frame(rows, root)
    moved = tmp_path / "moved"
    (moved / "images").mkdir(parents=True)
    (moved / "images" / "a.png").write_bytes((root / "images" / "a.png").read_bytes())
    assert data_sha(rows_to_frame(rows, moved)) == data_sha(frame)
    assert data_sha(frame.iloc[::-1]) == data_sha(frame)
    stored = pa.Table.from_pandas(frame, CANONICAL_SCHEMA, preserve_index=False).to_pandas()
    assert data_sha(stored) == data_sha(frame)
    for changed in ([row("a.png"), row("d.png", captions=("y", "x"))], [row("a.png", "val"), row("d.png")]):
        assert data_sha(rows_to_frame(changed, root)) != data_sha(frame)


def test_table_and_facts_survive_a_round_trip(root, tmp_path):
    frame = rows_to_frame([row("a.png")], root)
    path = tmp_path / "deep" / "dataset.parquet"
    write_table(pa.Table.from_pandas(frame, CANONICAL_SCHEMA, preserve_index=False), FACTS, path)
    table, facts = read_table(path)
    assert facts == read_facts(path) == FACTS
    assert table.schema.equals(CANONICAL_SCHEMA)
    assert table.to_pylist()[0]["captions"] == ["a dot"]
    assert [file.name for file in path.parent.iterdir()] == ["dataset.parquet"]
    with pytest.raises(DatasetError, match=r"no\.parquet is missing: build it with `snakemake"):
        read_table(tmp_path / "no.parquet")


def test_splits_hold_what_is_kept_image_by_image(root, tmp_path):
    for name in ("d.png", "e.png"):
        (root / "images" / name).write_bytes((root / "images" / "a.png").read_bytes())
    rows = [
        row("e.png", "test", ("five", "", "six")),
        row("a.png", "train", ("one", "two")),
        row("b.jpg", "train"),
        row("d.png", "train", ("three",)),
        row("f.png", "val"),
        row("g.png", "val"),
    ]
    frame = clean(rows_to_frame(rows, root), "none")
    path = tmp_path / "clean.parquet"
    write_table(pa.Table.from_pandas(frame, CLEAN_SCHEMA, preserve_index=False), FACTS, path)
    splits, facts, left_out = load_splits(path)
    assert facts == FACTS
    assert left_out == {"unreadable image": 1, "missing image": 2}
    train = splits["train"]
    assert (train.image_ids, train.captions) == (["a.png", "d.png"], ["one", "two", "three"])
    assert train.paths == [Path("root/images/a.png"), Path("root/images/d.png")]
    assert train.image_of.tolist() == [0, 0, 1]
    assert train.classes == tuple(frame.set_index("image_id")["class_name"][train.image_ids])
    assert splits["val"].image_ids == []
    assert splits["val"].image_of.dtype == np.int64
    assert splits["test"].captions == ["five", "six"]


def test_images_spread_over_a_split():
    names = list("vwxyz")
    captions = ["v1", "v2", "w1", "x1", "x2", "x3", "y1", "z1"]
    image_of = np.array([0, 0, 1, 2, 2, 2, 3, 4])
    split = SplitData(names, [Path(name) for name in names], names, captions, image_of, tuple(names))
    some, places = spread_images(split, 2)
    assert places.tolist() == [0, 2]
    assert some.image_ids == some.hashes == list(some.classes) == ["v", "x"]
    assert some.paths == [Path("v"), Path("x")]
    assert some.captions == ["v1", "v2", "x1", "x2", "x3"]
    assert some.image_of.tolist() == [0, 0, 1, 1, 1]
    whole, places = spread_images(split, 9)
    assert places.tolist() == [0, 1, 2, 3, 4]
    assert (whole.captions, whole.image_of.tolist()) == (captions, image_of.tolist())
