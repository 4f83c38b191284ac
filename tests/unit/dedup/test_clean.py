"""De-duplication: near pairs by brute force, precedence of splits by hand, and the planted truth of the scenes."""

from __future__ import annotations

import csv
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsitr.datasets import scenes
from rsitr.datasets.canonical import CANONICAL_SCHEMA, data_sha, rows_to_frame
from rsitr.datasets.table import CLEAN_SCHEMA, DATASET_SCHEMA, DatasetFacts, read_table
from rsitr.dedup import clean as cleaning
from rsitr.dedup.clean import clean, write_clean
from rsitr.dedup.groups import linked, near_pairs
from rsitr.errors import DatasetError, ParamsError
from rsitr.params.ids import CleanId
from rsitr.records.parquet import write_table
from rsitr.records.paths import Paths


def mark(*bits: int) -> str:
    """A fingerprint with the given bits set."""
    return f"{sum(1 << bit for bit in bits):016x}"


def test_near_means_at_most_two_bits():
    marks = [mark(), mark(5, 9), mark(5, 9, 63), "", mark(5, 9, 62, 63), ""]
    # 0-1: two bits; 1-2 and 2-4: one; 1-4: two; 0-2: three; 0-4: four. Absent images are near to nothing.
    assert near_pairs(marks).tolist() == [[0, 1], [1, 2], [1, 4], [2, 4]]


def test_no_image_at_all():
    assert near_pairs(["", ""]).shape == (0, 2)


def test_a_chain_of_pairs_is_one_group():
    assert linked([("e", "f"), ("a", "b"), ("b", "c"), ("d", "c")]) == {"e": 0, "f": 0, "a": 1, "b": 1, "c": 1, "d": 1}


def test_a_million_equal_hashes_are_not_compared_with_each_other():
    pairs = near_pairs([mark(3)] * 1_000_000 + [mark(3, 4)])
    assert len(pairs) == 1_000_000
    assert (pairs[:, 0] == 0).all()


@given(st.lists(st.lists(st.integers(0, 5), max_size=4).map(lambda bits: mark(*set(bits))), max_size=20))
def test_groups_are_those_of_brute_force(marks):
    expected = [
        (a, b)
        for a, b in combinations(range(len(marks)), 2)
        if (int(marks[a], 16) ^ int(marks[b], 16)).bit_count() <= 2
    ]
    pairs = [tuple(pair) for pair in near_pairs(marks).tolist()]
    assert set(pairs) <= set(expected)
    assert partition(linked(pairs)) == partition(linked(expected))


def partition(numbers):
    """Groups as sets, whatever their numbers."""
    return {frozenset(item for item in numbers if numbers[item] == number) for number in numbers.values()}


def test_pairs_are_those_of_brute_force_wherever_the_bits_lie():
    """Distinct hashes, each changed in zero to four bits: rows and their order."""
    draw = np.random.default_rng(0)
    hashes = draw.integers(0, 2**64, 200, dtype=np.uint64)
    for bits in range(1, 5):
        flipped = [np.uint64(sum(1 << int(bit) for bit in draw.choice(64, bits, replace=False))) for _ in range(100)]
        hashes = np.concatenate([hashes, hashes[:100] ^ np.array(flipped)])
    values = sorted(set(hashes.tolist()))
    expected = [[a, b] for a, b in combinations(range(len(values)), 2) if (values[a] ^ values[b]).bit_count() <= 2]
    assert len(expected) >= 200
    assert near_pairs([f"{value:016x}" for value in values]).tolist() == expected


@pytest.mark.parametrize("bits", [(0, 1), (0, 16), (15, 31), (16, 63), (31, 32), (47, 48), (62, 63)])
def test_two_bits_in_any_of_the_bands(bits):
    assert near_pairs([mark(7, 40), f"{int(mark(7, 40), 16) ^ int(mark(*bits), 16):016x}"]).tolist() == [[0, 1]]


def frame(*rows: tuple[str, str, list[str], str]) -> pd.DataFrame:
    """Images given as (split, fingerprint, captions, problem)."""
    columns = ["split", "fingerprint", "captions", "problem"]
    return pd.DataFrame([dict(zip(columns, row, strict=True)) for row in rows])


def test_an_image_stays_in_the_split_whose_numbers_are_published():
    a, b, c, d = (mark(*range(8 * k, 8 * k + 8)) for k in range(4))
    images = frame(
        ("train", a, ["x"], ""),
        ("test", a, ["x"], ""),
        ("val", b, ["x"], ""),
        ("train", b, ["x"], ""),
        ("val", c, ["x"], ""),
        ("test", c, ["x"], ""),
        ("train", d, ["x"], ""),
        ("train", d, ["x"], ""),
    )
    none, remoteclip = clean(images, "none"), clean(images, "remoteclip")
    assert none["keep"].all()
    assert remoteclip["keep"].tolist() == [False, True, True, False, False, True, True, True]
    assert remoteclip["reason"].tolist() == [
        "near duplicate in test",
        "",
        "",
        "near duplicate in val",
        "near duplicate in test",
        *[""] * 3,
    ]
    assert none["duplicate_group"].nunique() == 4


def test_an_image_that_cannot_be_used_pushes_no_other_one_out():
    a = mark(1)
    images = frame(("train", a, ["x"], ""), ("test", a, ["", ""], ""), ("test", "", ["x"], "unreadable image"))
    cleaned = clean(images, "remoteclip")
    assert cleaned["reason"].tolist() == ["", "no captions", "unreadable image"]
    assert cleaned["keep"].tolist() == [True, False, False]


def test_blank_captions_leave_and_the_input_is_untouched():
    images = frame(("train", "", ["", "x", ""], ""), ("train", "", [], ""))
    cleaned = clean(images, "none")
    assert cleaned["captions"].tolist() == [["x"], []]
    assert cleaned["reason"].tolist() == ["", "no captions"]
    assert images["captions"].tolist() == [["", "x", ""], []]


def test_unknown_protocol():
    with pytest.raises(ParamsError, match="none, remoteclip"):
        clean(frame(("train", "", ["x"], "")), "phash")


@pytest.fixture(scope="module")
def scenes_b(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("scenes") / "scenes-b"
    scenes.generate("scenes-b", root)
    return root


def test_planted_copies_leave_training(scenes_b, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images = rows_to_frame(scenes.ScenesB().parse(scenes_b), scenes_b)
    facts = DatasetFacts("scenes-b", "", "generated", "", True, scenes_b.as_posix(), "da7a")
    table = pa.Table.from_pandas(images, DATASET_SCHEMA, preserve_index=False)
    write_table(table, facts, Paths.dataset("scenes-b"))
    written = {dedup: write_clean(CleanId("scenes-b", dedup=dedup)) for dedup in ("none", "remoteclip")}
    assert len({facts.data_sha, *(facts.data_sha for facts in written.values())}) == 3
    cleaned = read_table(Paths.clean(CleanId("scenes-b", dedup="remoteclip")))[0].to_pandas().set_index("image_id")
    with (scenes_b / "duplicates.csv").open(encoding="utf-8", newline="") as file:
        truth = [pair for pair in csv.DictReader(file) if pair["of_dataset"] == "scenes-b"]
    found = {pair["image"]: cleaned.loc[pair["image"], "duplicate_group"] for pair in truth}
    for pair in truth:
        if pair["transformation"] in {"exact", "jpeg"}:
            assert cleaned.loc[pair["of_image"], "duplicate_group"] == found[pair["image"]], pair
            assert cleaned.loc[pair["of_image"], "reason"] == "near duplicate in test", pair
            assert cleaned.loc[pair["image"], "keep"], pair
    assert {pair["transformation"] for pair in truth} >= {"exact", "jpeg"}
    # Nothing but planted pairs is near: every group of several images is one of them.
    sizes = cleaned["duplicate_group"].value_counts()
    assert set(sizes[sizes > 1].index) <= set(found.values())


def test_the_hash_of_a_clean_table_covers_what_methods_can_see(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def written(**changes):
        frame = canonical_frame().assign(**changes)
        table = pa.Table.from_pandas(frame, DATASET_SCHEMA, preserve_index=False)
        write_table(table, DatasetFacts("x", "X", "generated", "", True, "root", "0" * 64), Paths.dataset("x"))
        return write_clean(CleanId("x")).data_sha

    assert written(width=99, fingerprint=mark(60)) == written()
    assert written(captions=[["another sentence"]] * 2) != written()
    assert written(problem="unreadable image") != written()


@pytest.mark.parametrize("rule", ["none", "remoteclip"])
def test_a_table_that_is_read_in_parts_is_the_same(rule, scenes_b, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images = rows_to_frame(scenes.ScenesB().parse(scenes_b), scenes_b)
    facts = DatasetFacts("scenes-b", "", "generated", "", True, scenes_b.as_posix(), "da7a")
    write_table(pa.Table.from_pandas(images, CANONICAL_SCHEMA, preserve_index=False), facts, Paths.dataset("scenes-b"))
    expected = clean(images, rule)
    for part in (10_000, 7, 1):
        monkeypatch.setattr(cleaning, "PART", part)
        written = write_clean(CleanId("scenes-b", dedup=rule))
        table, read = read_table(Paths.clean(CleanId("scenes-b", dedup=rule)))
        assert written == read == facts._replace(data_sha=data_sha(expected[cleaning.SEEN]), parent_sha="da7a")
        assert table.equals(pa.Table.from_pandas(expected, CLEAN_SCHEMA, preserve_index=False))


def test_a_table_in_another_order_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = pa.Table.from_pandas(canonical_frame()[::-1], DATASET_SCHEMA, preserve_index=False)
    write_table(table, DatasetFacts("x", "X", "generated", "", True, "root", "0" * 64), Paths.dataset("x"))
    with pytest.raises(DatasetError, match=r"dataset\.parquet is not in the order of image ids: build it again"):
        write_clean(CleanId("x"))


def canonical_frame():
    """Two readable images of the training split."""
    rows = [
        (f"{name}.png", f"images/{name}.png", "train", "dots", [f"a {name}"], [], 32, 32, "0" * 64, mark(bit), "")
        for bit, name in ((9, "bar"), (1, "dot"))
    ]
    return pd.DataFrame(rows, columns=DATASET_SCHEMA.names)
