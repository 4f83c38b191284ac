"""Copies: planted transformations are found with the right box and orientation, different pictures are not."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image, ImageEnhance
from torch.nn.functional import avg_pool2d

from rsitr.dedup import alignment, candidates, near_duplicates
from rsitr.dedup.alignment import Pyramid, align
from rsitr.dedup.candidates import Gallery, Index
from rsitr.dedup.fingerprints import DIMENSIONS, fingerprints, oriented
from rsitr.dedup.near_duplicates import Shard, find_near_duplicates, parse_shard, write_near_duplicates
from rsitr.dedup.pairs import ORIENTATIONS, NearDuplicateFacts, gather, gather_files, read_near_duplicates, write_pairs
from rsitr.dedup.thumbnails import SIZE, Pictures, Thumbnails, thumbnail
from rsitr.errors import DatasetError, ParamsError
from tests.helpers.pictures import picture

LARGE = 256
ORIGINALS = [Image.fromarray(picture(seed, LARGE)) for seed in range(12)]


def stored(image: Image.Image, quality: int | None = None) -> bytes:
    buffer = io.BytesIO()
    # To compress noise takes longer than all that is tested here.
    image.save(buffer, "JPEG" if quality else "PNG", **({"quality": quality} if quality else {"compress_level": 0}))
    return buffer.getvalue()


def thumbnails(images: list[Image.Image], name: str = "set", split: str = "train") -> Thumbnails:
    pixels = np.stack([thumbnail(stored(image)) for image in images])
    ids = np.array([f"{place:03}.png" for place in range(len(images))])
    problems = np.array([""] * len(images), dtype="<U9")
    return Thumbnails(name, f"sha of {name}", ids, np.array([split] * len(images)), pixels, problems)


def cut(image: Image.Image, left: float, top: float, side: float) -> Image.Image:
    return image.crop([round(LARGE * edge) for edge in (left, top, left + side, top + side)])


@pytest.mark.parametrize(
    ("change", "orientation", "box"),
    [
        (lambda image: image, "same", (0, 0, 1, 1)),
        (lambda image: Image.open(io.BytesIO(stored(image, 25))), "same", (0, 0, 1, 1)),
        (lambda image: image.resize((90, 90)), "same", (0, 0, 1, 1)),
        (lambda image: cut(image, 0.125, 0.125, 0.75), "same", (0.125, 0.125, 0.75, 0.75)),
        (lambda image: cut(image, 0.25, 0.0, 0.75), "same", (0.0, 0.25, 0.75, 0.75)),
        (lambda image: cut(image, 0.0625, 0.09375, 0.8125), "same", (0.09375, 0.0625, 0.8125, 0.8125)),
        (lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), "mirrored", (0, 0, 1, 1)),
        (lambda image: image.transpose(Image.Transpose.FLIP_TOP_BOTTOM), "flipped", (0, 0, 1, 1)),
        (lambda image: image.transpose(Image.Transpose.ROTATE_180), "turned 180", (0, 0, 1, 1)),
        (lambda image: image.transpose(Image.Transpose.TRANSPOSE), "transposed", (0, 0, 1, 1)),
        (lambda image: image.transpose(Image.Transpose.TRANSVERSE), "transposed and turned 180", (0, 0, 1, 1)),
        # A copy turned to the left (Pillow turns against the clock) has to be turned back to the right.
        (lambda image: image.transpose(Image.Transpose.ROTATE_90), "turned right", (0, 0, 1, 1)),
        (lambda image: image.transpose(Image.Transpose.ROTATE_270), "turned left", (0, 0, 1, 1)),
        (lambda image: ImageEnhance.Brightness(image).enhance(0.8), "same", (0, 0, 1, 1)),
        (lambda image: ImageEnhance.Color(image).enhance(0.6), "same", (0, 0, 1, 1)),
        (
            lambda image: cut(image, 0.0, 0.1875, 0.8125).transpose(Image.Transpose.FLIP_LEFT_RIGHT),
            "mirrored",
            (0.1875, 0.0, 0.8125, 0.8125),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_transformed_copy_is_found_as_what_it_is(change, orientation, box):
    found = find_near_duplicates(thumbnails(ORIGINALS), thumbnails([change(image) for image in ORIGINALS], "changed"))
    assert found["first"].tolist() == found["second"].tolist() == [f"{place:03}.png" for place in range(12)]
    # The pair has one box whichever of two whole images is called the part; seen from the other one, a turn is undone.
    other = {"turned left": "turned right", "turned right": "turned left"}.get(orientation, orientation)
    assert set(found["orientation"][found["part"] == "second"]) <= {orientation}
    assert set(found["orientation"][found["part"] == "first"]) <= {other}
    np.testing.assert_allclose(found[["top", "left", "height", "width"]], np.tile(box, (12, 1)), atol=0.012)
    assert found["detail"].min() > 0.8
    assert found["agreement"].min() > 0.9
    if box != (0, 0, 1, 1):
        assert set(found["part"]) == {"second"}


def test_the_larger_image_may_be_in_either_set():
    crops = thumbnails([cut(image, 0.125, 0.0, 0.8125) for image in ORIGINALS], "crops")
    found = find_near_duplicates(crops, thumbnails(ORIGINALS))
    assert found["first"].tolist() == found["second"].tolist()
    assert set(found["part"]) == {"first"}
    np.testing.assert_allclose(found[["top", "left"]], np.tile([0.0, 0.125], (12, 1)), atol=0.012)


def test_pairs_inside_one_set_are_listed_once_and_in_order():
    crop = cut(ORIGINALS[0], 0.1, 0.1, 0.8)
    found = find_near_duplicates(thumbnails([crop, *ORIGINALS, ORIGINALS[3].transpose(Image.Transpose.ROTATE_180)]))
    pairs = found[["first", "second", "part", "orientation"]].to_numpy().tolist()
    assert pairs[0] == ["000.png", "001.png", "first", "same"]
    assert pairs[1][:2] == ["004.png", "013.png"]
    assert pairs[1][3] == "turned 180"
    assert len(pairs) == 2


def test_splits_stand_beside_the_ids():
    found = find_near_duplicates(thumbnails(ORIGINALS[:2], split="train"), thumbnails(ORIGINALS[:2], split="test"))
    assert found[["first_split", "second_split"]].to_numpy().tolist() == [["train", "test"]] * 2


def test_pictures_that_share_one_strong_edge_are_no_copies():
    """Coasts and runways: a bright stripe at the same place, everything else different."""
    striped = []
    for seed in range(12):
        pixels = picture(seed, LARGE) // 3 + 40
        pixels[:, 100:140] = 230
        striped.append(Image.fromarray(pixels))
    assert len(find_near_duplicates(thumbnails(striped))) == 0


def test_images_that_take_no_part_are_never_found():
    one, other = thumbnails(ORIGINALS[:3]), thumbnails(ORIGINALS[:3])
    one.problem[1] = "flat"
    assert find_near_duplicates(one, other)["first"].tolist() == ["000.png", "002.png"]
    other.problem[:] = "flat"
    assert len(find_near_duplicates(one, other)) == 0


@pytest.mark.parametrize("count", [1, 3, 8, 20])
def test_shards_together_are_the_whole(count, monkeypatch):
    monkeypatch.setattr(near_duplicates, "BLOCK", 4)
    images = [*ORIGINALS, *(cut(image, 0.1, 0.05, 0.85) for image in ORIGINALS[:5])]
    one, other = thumbnails(images), thumbnails(ORIGINALS, "other")
    for arguments in ((one, other), (one,)):
        whole = find_near_duplicates(*arguments)
        parts = [find_near_duplicates(*arguments, shard=Shard(index, count)) for index in range(count)]
        assert len(whole) == (17 if len(arguments) == 2 else 5)
        pd.testing.assert_frame_equal(gather(parts, len(arguments) == 1), whole)


@pytest.mark.parametrize("count", [1, 2])
def test_the_smaller_set_is_indexed_where_the_second_is_large(count, monkeypatch):
    """Then too each pair is listed once, its first image being of the first set, and shards together are the whole."""
    small = thumbnails(ORIGINALS[:6], "small", "test")
    changed = [cut(image, 0.125, 0.0, 0.8125).transpose(Image.Transpose.ROTATE_90) for image in ORIGINALS[:3]]
    large = thumbnails([*changed, *ORIGINALS[3:], *ORIGINALS[3:]], "large")
    indexed: list[int] = []
    original = Gallery.of
    monkeypatch.setattr(Gallery, "of", lambda *args: indexed.append(len(args[0])) or original(*args))
    before = find_near_duplicates(small, large)
    monkeypatch.setattr(near_duplicates, "LARGE", 20)
    monkeypatch.setattr(near_duplicates, "BLOCK", 8)
    parts = [find_near_duplicates(small, large, Shard(index, count)) for index in range(count)]
    assert indexed == [21, *[6] * count]
    found = gather(parts, False)
    # Of equal pictures all are listed now that they are searched for, and one alone where they are indexed.
    seen = found[["first", "second", "first_split", "second_split", "part", "orientation"]].to_numpy().tolist()
    assert [row[:2] for row in seen] == [
        *([f"00{place}.png"] * 2 for place in range(3)),
        *([f"00{place}.png", f"0{place + more:02}.png"] for place in range(3, 6) for more in (0, 9)),
    ]
    assert {tuple(row[2:4]) for row in seen} == {("test", "train")}
    assert {tuple(row[4:]) for row in seen[:3]} == {("second", "turned right")}
    listed = found[found["second"].isin(before["second"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(listed[["first", "second"]], before[["first", "second"]])
    np.testing.assert_allclose(listed.loc[:2, ["top", "left"]], before.loc[:2, ["top", "left"]], atol=0.01)


def test_files_of_shards_are_gathered(tmp_path):
    facts = NearDuplicateFacts("a", "b", "1", "2")
    rows = find_near_duplicates(thumbnails(ORIGINALS), thumbnails(ORIGINALS))
    paths = [tmp_path / f"{place}.parquet" for place in range(2)]
    write_pairs(rows[:5], facts, paths[0])
    write_pairs(rows[5:], facts, paths[1])
    assert gather_files(paths, tmp_path / "all.parquet") == 12
    frame, read = read_near_duplicates(tmp_path / "all.parquet")
    assert read == facts
    assert frame["first"].tolist() == rows["first"].tolist()
    write_pairs(rows[5:], facts._replace(first_sha="3"), paths[1])
    with pytest.raises(DatasetError, match="different data"):
        gather_files(paths, tmp_path / "all.parquet")


def test_an_absent_table_says_how_to_build_it(tmp_path):
    with pytest.raises(DatasetError, match="snakemake"):
        read_near_duplicates(tmp_path / "none.parquet")
    with pytest.raises(DatasetError, match="snakemake"):
        write_near_duplicates(tmp_path / "a.parquet", tmp_path / "b.parquet", tmp_path / "c.parquet")


@pytest.mark.parametrize("text", ["", "1", "8/8", "-1/3", "a/b", "1/2/3"])
def test_a_shard_that_is_none(text):
    with pytest.raises(ParamsError, match="first of eight"):
        parse_shard(text)
    assert parse_shard("7/8") == Shard(7, 8)


@pytest.mark.parametrize("exhaustive", [300_000, 16])
def test_shards_leave_the_index_for_each_other(exhaustive, tmp_path, monkeypatch, capsys):
    """Within a set and between two, exhaustive and in cells; a damaged one is made again."""
    monkeypatch.setattr(near_duplicates, "BLOCK", 4)
    monkeypatch.setattr(candidates, "EXHAUSTIVE", exhaustive)
    one, other = thumbnails([*ORIGINALS, *ORIGINALS[:5]]), thumbnails(ORIGINALS, "other")
    made: list[int] = []
    original = Index.of
    monkeypatch.setattr(Index, "of", lambda parts, size: made.append(size) or original(parts, size))
    for arguments, sizes in (((one,), [17]), ((one, other), [12, 12 * len(candidates.WINDOWS)]), ((other,), [])):
        alone = [find_near_duplicates(*arguments, shard=Shard(index, 2)) for index in range(2)]
        made.clear()
        together = [find_near_duplicates(*arguments, shard=Shard(index, 2), cache=tmp_path) for index in range(2)]
        assert made == sizes
        for first, second in zip(alone, together, strict=True):
            pd.testing.assert_frame_equal(first, second)
    (path,) = {path.parent for path in tmp_path.glob("*/*.npz") if path.name != "1.npz"}
    with (path / "1.npz").open("r+b") as file:
        file.seek(300)
        file.write(b"damage")
    find_near_duplicates(other, shard=Shard(0, 2), cache=tmp_path)
    assert made == [12]
    assert "1.npz.damaged is damaged: it is made again" in capsys.readouterr().err


def test_the_nearest_fingerprint_is_found_in_any_orientation():
    vectors = fingerprints(np.stack([picture(seed) for seed in range(30)]))[:, 0]
    turned = oriented(vectors, np.arange(30) % 8)
    hits = Index.of([vectors], len(vectors)).search(turned, 3)
    best = pd.DataFrame(hits._asdict()).sort_values("similarity").groupby("query").tail(1).set_index("query")
    assert best.loc[range(30), "entry"].tolist() == list(range(30))
    assert best["similarity"].min() > 0.999
    # The orientation turns the entry into the query.
    again = oriented(vectors[best["entry"]], best["orientation"].to_numpy())
    np.testing.assert_allclose(again, turned[best.index], atol=1e-4)


def test_a_large_index_finds_what_a_small_one_does(monkeypatch):
    draw = np.random.default_rng(0)
    vectors = draw.standard_normal((6000, DIMENSIONS)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    near = vectors[:300] + 0.02 * draw.standard_normal((300, DIMENSIONS)).astype(np.float32)
    near /= np.linalg.norm(near, axis=1, keepdims=True)
    monkeypatch.setattr(candidates, "EXHAUSTIVE", 1000)
    hits = Index.of([vectors], len(vectors)).search(near, 1)
    assert set(range(300)) <= set(hits.query[hits.query == hits.entry].tolist())


def test_a_million_equal_pictures_cost_no_more_than_one():
    vectors = np.tile(fingerprints(picture(0)[None])[0], (1_000_000, 1))
    index = Index.of([vectors], len(vectors))
    assert index.rows.tolist() == [0]
    assert not index.same.any()
    assert set(index.search(vectors[:1], 8).entry.tolist()) == {0}


def test_equal_pictures_are_all_linked():
    found = find_near_duplicates(thumbnails([ORIGINALS[0]] * 30))
    assert found["first"].tolist() == ["000.png"] * 29
    assert set(found["second"]) == {f"{place:03}.png" for place in range(1, 30)}


def test_pictures_without_any_fingerprint_are_near_to_nothing():
    index = Index.of([np.zeros((5, DIMENSIONS), dtype=np.float32)], 5)
    assert len(index.rows) == 0
    vectors = np.concatenate([np.zeros((1, DIMENSIONS), dtype=np.float32), fingerprints(picture(0)[None])[0]])
    assert len(index.search(vectors, 3).entry) == 0


def test_alignment_moves_a_first_guess_to_the_box():
    large = np.stack([np.asarray(image) for image in ORIGINALS])
    whole = large.reshape(12, SIZE, 4, SIZE, 4, 3).mean(axis=(2, 4)).astype(np.uint8)
    part = large[:, 32:224, 48:240].reshape(12, SIZE, 3, SIZE, 3, 3).mean(axis=(2, 4)).astype(np.uint8)
    guess = np.tile(np.float32([0.17, 0.14, 0.8, 0.7]), (12, 1))
    rows = np.arange(12)
    found = align(Pyramid(whole, rows), Pyramid(part, rows), rows, rows, np.zeros(12, dtype=int), guess)
    np.testing.assert_allclose(found.box, np.tile([0.125, 0.1875, 0.75, 0.75], (12, 1)), atol=0.005)
    assert found.detail.min() > 0.95
    assert (found.agreement == 1).all()


def test_alignment_gives_up_on_different_pictures():
    rows = np.arange(12)
    pyramid = Pyramid(np.stack([thumbnail(stored(image)) for image in ORIGINALS]), rows)
    box = np.tile(np.float32([0, 0, 1, 1]), (12, 1))
    found = align(pyramid, pyramid, rows, np.roll(rows, 1), np.zeros(12, dtype=int), box)
    assert (found.detail == -1).all()
    assert (found.agreement == 0).all()


def test_sums_that_are_fast_are_the_same_bits():
    """Means of pixels and of their neighbours are as NumPy and PyTorch compute them."""
    draw = np.random.default_rng(0)
    pixels = draw.integers(0, 256, (70, SIZE, SIZE, 3), dtype=np.uint8)
    for size in (16, 32, 64):
        squares = pixels.mean(axis=3, dtype=np.float32).reshape(-1, size, SIZE // size, size, SIZE // size)
        assert (alignment._lightness(pixels, size) == squares.mean(axis=(2, 4)).astype(np.float16)).all()
        images = torch.from_numpy(draw.standard_normal((70, 1, size, size), dtype=np.float32))
        for side in (3, 7, 9):
            expected = avg_pool2d(images, side, 1, side // 2, count_include_pad=False)
            assert torch.equal(alignment._mean(images, side), expected)


def test_every_orientation_has_a_name():
    assert len(set(ORIENTATIONS)) == 8


def test_levels_of_chosen_pictures_are_means_of_lightness():
    """Of the finest level, which is computed when it is asked for, and of the others, across batches."""
    pixels = np.random.default_rng(0).integers(0, 256, (30, 64, 64, 3), dtype=np.uint8)
    chosen = np.array([29, 3, 3, 17] * 300)
    pyramid = Pyramid(Pictures(pixels, chosen), np.array([0, 1199, 2]))
    for size in (16, 32, 64):
        found = pyramid.take(size, np.array([0, 1199, 2]))
        side = 64 // size
        expected = pixels[[29, 17, 3]].astype(float).mean(axis=3).reshape(3, size, side, size, side).mean(axis=(2, 4))
        assert np.abs(found[:, 0].numpy() - expected).max() < 0.07  # of 255, in half precision
