"""Thumbnails of every kind of file a dataset may hold, and the typed reasons for those that take no part."""

from __future__ import annotations

import hashlib
import io

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from rsitr.datasets.table import DATASET_SCHEMA, DatasetFacts
from rsitr.dedup import thumbnails
from rsitr.dedup.thumbnails import SCHEMA, SIZE, read_thumbnails, thumbnail, write_thumbnails
from rsitr.errors import Damaged, DatasetError
from rsitr.records.parquet import read_rows, write_table


def stored(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def halves(low: int = 10, high: int = 210) -> np.ndarray:
    """Dark on the left, bright on the right: uint8 [128, 128]."""
    return np.repeat([[low] * 64 + [high] * 64], 128, axis=0).astype(np.uint8)


def test_each_pixel_is_the_mean_of_its_area():
    left, right = thumbnail(stored(Image.fromarray(halves()), "PNG"))[0, [0, -1]]
    assert left.tolist() == [10] * 3
    assert right.tolist() == [210] * 3


@pytest.mark.parametrize(
    ("image", "kind"),
    [
        (Image.fromarray(halves()).convert("P"), "PNG"),
        (Image.fromarray(halves()).convert("RGBA"), "PNG"),
        (Image.fromarray(halves()).convert("1"), "PNG"),
        (Image.fromarray(halves()).convert("CMYK"), "JPEG"),
        (Image.fromarray(halves()).convert("CMYK"), "TIFF"),
        (Image.fromarray(halves()).convert("P"), "GIF"),
        (Image.fromarray(halves().astype(np.uint16) * 257), "PNG"),
        (Image.fromarray(halves().astype(np.float32) / 255), "TIFF"),
        (Image.fromarray(halves().astype(np.int32) * 1000), "TIFF"),
    ],
    ids=["palette", "alpha", "bilevel", "cmyk-jpeg", "cmyk-tiff", "gif", "16-bit", "float", "32-bit"],
)
def test_every_mode_shows_the_same_picture(image, kind):
    pixels = thumbnail(stored(image, kind)).astype(int)
    assert pixels.shape == (SIZE, SIZE, 3)
    assert pixels[:, -8:].mean() - pixels[:, :8].mean() > 180


def test_an_animation_is_its_first_frame():
    frames = [Image.fromarray(halves()), Image.fromarray(halves(210, 10))]
    data = stored(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert thumbnail(data)[0, 0, 0] < 60


def test_a_single_pixel_is_a_plain_picture():
    assert (thumbnail(stored(Image.new("RGB", (1, 1), (1, 2, 3)), "PNG")) == [1, 2, 3]).all()


@pytest.fixture
def written(tmp_path):
    """Thumbnails of five files that are good, flat, truncated, changed since, and absent."""
    good = stored(Image.fromarray(halves()), "PNG")
    noise = stored(Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)), "PNG")
    files = {
        "good.png": good,
        "flat.png": stored(Image.new("L", (50, 50), 7), "PNG"),
        "short.png": noise[:900],
        "changed.png": good,
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    sha = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    sha["changed.png"] = "0" * 64
    rows = [
        (name, name, "train", "", ["x"], [], 1, 1, sha.get(name, ""), "", "" if name in sha else "missing image")
        for name in (*files, "absent.png")
    ]
    facts = DatasetFacts("five", "", "generated", "", True, tmp_path.as_posix(), "da7a")
    frame = pd.DataFrame(rows, columns=DATASET_SCHEMA.names)
    write_table(pa.Table.from_pandas(frame, DATASET_SCHEMA, preserve_index=False), facts, tmp_path / "table.parquet")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(thumbnails, "ROWS", 2)
        write_thumbnails(tmp_path / "table.parquet", tmp_path / "thumbnails.parquet")
    return read_thumbnails(tmp_path / "thumbnails.parquet")


def test_images_that_take_no_part_say_why(written):
    assert dict(zip(written.image_id.tolist(), written.problem.tolist(), strict=True)) == {
        "good.png": "",
        "flat.png": "flat",
        "short.png": "unreadable image (OSError)",
        "changed.png": "changed since its table was built",
        "absent.png": "missing image",
    }
    assert (written.pixels[:1] == thumbnail(stored(Image.fromarray(halves()), "PNG"))).all()
    assert not written.pixels[1:].any()


def test_facts_of_the_table_are_kept(written):
    assert (written.name, written.data_sha) == ("five", "da7a")
    assert written.split.tolist() == ["train"] * 5


def test_rows_are_written_and_read_some_at_a_time(written, tmp_path):
    """The file is a table like any other, in row groups, whose pixels lie in it as they are."""
    path = tmp_path / "thumbnails.parquet"
    table, groups = read_rows(path), pq.read_metadata(path).num_row_groups
    assert groups == 3
    assert table.schema.equals(SCHEMA)
    assert table["pixels"].to_pylist() == [pixels.tobytes() for pixels in written.pixels[:]]
    assert table["image_id"].to_pylist() == written.image_id.tolist()
    place = np.array([4, 0, 0, 3])
    assert (written.pixels[place] == written.pixels[:][place]).all()
    assert path.read_bytes().count(written.pixels[:1].tobytes()) == 1


@pytest.mark.parametrize("byte", [0, 12287])
def test_a_damaged_pixel_is_noticed_before_it_is_looked_at(written, tmp_path, byte):
    path = tmp_path / "thumbnails.parquet"
    content = bytearray(path.read_bytes())
    content[content.index(written.pixels[:1].tobytes()) + byte] ^= 1
    path.write_bytes(content)
    with pytest.raises(Damaged, match=r"thumbnails\.parquet is damaged"):
        read_thumbnails(path)


def test_a_file_of_an_earlier_layout_says_what_to_do(written, tmp_path):
    path = tmp_path / "thumbnails.parquet"
    write_table(read_rows(path), DatasetFacts("five", "", "generated", "", True, "", "da7a"), path)
    with pytest.raises(DatasetError, match=r"is of an earlier layout: delete it and run `rsitr dedup thumbnails five`"):
        read_thumbnails(path)
