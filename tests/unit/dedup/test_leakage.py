"""Overlaps of sources and test sets, worked out by hand: by both rules, through chains, and where nothing is known."""

from __future__ import annotations

import math
import shutil

import pytest

from rsitr.datasets.exports.card import Leak
from rsitr.datasets.splits import training_images
from rsitr.dedup.clean import write_clean
from rsitr.dedup.leakage import evidence, leaks_of, leaks_within, overlaps
from rsitr.errors import DatasetError, ParamsError
from rsitr.params.ids import CleanId
from rsitr.records.paths import Paths
from tests.helpers.leaking_sets import ROWS, put_all, put_near_duplicates, put_table

BIG = Paths.dataset("big")


@pytest.fixture
def sets(tmp_path):
    return put_all(tmp_path)


def matrix(tables, near_duplicates, rule):
    """What leaks, by source and test set; the reason where that is not known."""
    found = overlaps(tables, near_duplicates, rule)
    return {
        (f"{each.source} {each.source_split}", each.test): tuple(each.images or ()) or each.reason for each in found
    }


NOTHING = "no images of gone at hand"
UNKNOWN = {(source, "gone"): NOTHING for source in ("prior all", "big train", "big val", "small train", "gone train")}
UNKNOWN |= {("gone train", test): NOTHING for test in ("big", "small")}


def test_every_source_against_every_test_set_by_copies(sets):
    assert matrix(*sets, "copies") == UNKNOWN | {
        ("prior all", "big"): ("t1",),
        ("prior all", "small"): ("u",),
        ("big train", "big"): ("t1",),
        ("big train", "small"): ("u",),
        ("big val", "big"): ("t2", "t3"),
        ("big val", "small"): "",
        ("small train", "big"): "",
        ("small train", "small"): "",
    }


def test_every_source_against_every_test_set_by_hashes(sets):
    # ff and fd differ in one bit; ff0000 and ff0003 in two; ff0001 and ff0003 in one.
    assert matrix(*sets, "remoteclip") == UNKNOWN | {
        ("prior all", "big"): ("t1",),
        ("prior all", "small"): "",
        ("big train", "big"): ("t2",),
        ("big train", "small"): "",
        ("big val", "big"): "",
        ("big val", "small"): "",
        ("small train", "big"): ("t2",),
        ("small train", "small"): "",
    }


def test_the_order_is_that_of_the_tables_and_the_sizes_are_of_readable_images(sets):
    found = overlaps(*sets, "copies")
    assert [(each.source, each.source_split) for each in found[::3]] == [
        ("prior", "all"),
        ("big", "train"),
        ("big", "val"),
        ("small", "train"),
        ("gone", "train"),
    ]
    assert [(each.test, each.of) for each in found[:3]] == [("big", 3), ("small", 1), ("gone", 0)]
    assert [each.among for each in found[::3]] == [2, 3, 1, 1, 0]
    assert [found[0].share, found[6].share] == [pytest.approx(100 / 3), pytest.approx(200 / 3)]
    assert math.isnan(found[2].share)


def test_nothing_found_is_not_the_same_as_nothing_known(sets):
    images = {(each.source, each.test): each.images for each in overlaps(*sets, "copies")}
    assert images["small", "big"] == {}
    assert images["gone", "big"] is None


def test_a_pair_of_datasets_that_was_not_compared_is_unknown_and_the_others_are_not(sets, tmp_path):
    tables, near_duplicates = sets
    near_duplicates["big", "prior"] = tmp_path / "data" / "nowhere.parquet"
    found = matrix(tables, near_duplicates, "copies")
    assert found["prior all", "big"].startswith(f"{tmp_path}/data/nowhere.parquet is missing: build it with")
    assert (found["prior all", "small"], found["big train", "big"]) == (("u",), ("t1",))
    del near_duplicates["big", "prior"]
    assert (
        matrix(tables, near_duplicates, "copies")["prior all", "big"]
        == "big and prior: near duplicates were not looked for"
    )
    assert matrix(tables, near_duplicates, "copies")["big train", "small"] == ""  # no chain through p2 any more
    # Chains run inside each of the two sets, so what is inside them has to be known as well.
    del near_duplicates["small", "small"]
    found = matrix(tables, near_duplicates, "copies")
    assert {found[pair] for pair in found if "small" in " ".join(pair) and "gone" not in " ".join(pair)} == {
        "small: near duplicates were not looked for"
    }
    assert matrix(tables, {}, "remoteclip")["prior all", "big"] == ("t1",)


def test_copies_found_in_other_data_do_not_count(sets, tmp_path):
    tables, near_duplicates = sets
    path = near_duplicates["big", "big"] = put_near_duplicates(tmp_path, "big", "big", first_sha="sha of older data")
    assert matrix(tables, near_duplicates, "copies")["big train", "big"] == (
        f"{path} was made from other data of big: delete it and run again"
    )


def test_a_split_without_images_is_unknown_and_the_others_are_not(sets, tmp_path, monkeypatch):
    tables, near_duplicates = sets
    rows = [(*row[:3], "", "missing image") if row[1] == "val" else row for row in ROWS["big"]]
    monkeypatch.setitem(ROWS, "big", rows)
    put_table(tmp_path, "big")
    found = matrix(tables, near_duplicates, "copies")
    assert (found["big val", "big"], found["big train", "big"]) == ("no images of big val at hand", ("t1",))
    rows = [(*row[:3], "", "missing image") if row[1] == "test" else row for row in ROWS["big"]]
    monkeypatch.setitem(ROWS, "big", rows)
    put_table(tmp_path, "big")
    found = matrix(tables, near_duplicates, "copies")
    assert found["prior all", "big"] == found["big train", "big"] == "no images of big test at hand"
    assert found["big train", "small"] == ("u",)


def test_a_set_without_captions_is_a_source_and_no_test_set(sets, tmp_path, monkeypatch):
    tables, near_duplicates = sets
    monkeypatch.setitem(ROWS, "small", [(*row[:2], 0, *row[3:]) for row in ROWS["small"]])
    put_table(tmp_path, "small")
    found = overlaps(tables, near_duplicates, "copies")
    assert {each.test for each in found} == {"big", "gone"}
    assert ("small", "train") in {each[:2] for each in found}


def test_a_missing_table_and_an_unknown_rule_are_errors(sets, tmp_path):
    tables, near_duplicates = sets
    with pytest.raises(ParamsError, match="'phash'"):
        overlaps(tables, near_duplicates, "phash")
    with pytest.raises(DatasetError, match="is missing"):
        overlaps(tables | {"big": tmp_path / "none.parquet"}, near_duplicates, "copies")


def test_training_images_that_were_removed_do_not_leak(sets, tmp_path, monkeypatch):
    tables, near_duplicates = sets
    monkeypatch.chdir(tmp_path)
    for source, place in ((near_duplicates["big", "big"], Paths.near_duplicates("big", "big")), (tables["big"], BIG)):
        place.parent.mkdir(parents=True)
        shutil.copy(source, place)
    for dedup, expected in (("none", (1, 3)), ("remoteclip", (1, 3)), ("copies", (0, 3))):
        wanted = CleanId("big", dedup=dedup)
        write_clean(wanted)
        # By hashes only a leaves, which is like t2; t1 is still like b.
        assert leaks_of(training_images(wanted), tables, near_duplicates, "copies")["big"] == expected, dedup


def lines(frame):
    """Rows of a frame, with numbers as they were written into it and None for what is not there."""
    plain = frame.astype(object).where(frame.notna(), None).to_numpy().tolist()
    return [[round(value, 4) if isinstance(value, float) else value for value in row] for row in plain]


def test_of_what_speaks_for_an_image_the_best_is_shown(sets):
    tables, near_duplicates = sets
    found = {
        each[:3]: evidence(each, near_duplicates) for each in overlaps(tables, near_duplicates, "copies") if each.images
    }
    columns = ["test_image", "source_image", "link", "part", "orientation", "detail", "agreement"]
    assert [list(frame) for frame in found.values()] == [columns] * 5
    assert {place: lines(frame) for place, frame in found.items()} == {
        ("prior", "all", "big"): [["t1", "p1", "pair", "test", "same", 0.9321, 1.0]],
        ("prior", "all", "small"): [["u", "p2", "pair", "test", "flipped", 0.75, 0.875]],
        ("big", "train", "big"): [["t1", "b", "pair", "test", "turned left", 0.9, 0.95]],
        ("big", "train", "small"): [["u", "a", "chain", *[None] * 4]],
        ("big", "val", "big"): [
            ["t2", "v", "chain", *[None] * 4],
            ["t3", "v", "pair", "test", "same", 0.65, 0.81],
        ],
    }


def test_the_leaks_of_some_images_are_counted_through_all_chains(sets):
    # p1 is in a group with t1, a, p2 and u; t4 cannot be read, and nothing is known of gone.
    assert leaks_of([("prior", "p1")], *sets, "copies") == {"big": (1, 3), "small": (1, 1), "gone": None}
    assert leaks_of([("big", "v"), ("big", "c")], *sets, "copies") == {"big": (2, 3), "small": (0, 1), "gone": None}
    assert leaks_of([], *sets, "copies") == {"big": (0, 3), "small": (0, 1), "gone": None}


def test_what_was_not_compared_with_some_images_is_unknown(sets):
    tables, near_duplicates = sets
    known = {pair: path for pair, path in near_duplicates.items() if pair != ("big", "prior")}
    assert leaks_of([("prior", "p1")], tables, known, "copies")["big"] is None
    assert leaks_of([("prior", "p2")], tables, known, "copies")["small"] == (1, 1)
    alone = {name: path for name, path in tables.items() if name != "prior"}
    assert leaks_of([("prior", "p1")], alone, near_duplicates, "copies")["big"] is None


def test_leaks_within_a_dataset(sets, tmp_path, monkeypatch):
    tables, near_duplicates = sets
    path = near_duplicates["big", "big"]
    monkeypatch.setattr(Paths, "dataset", lambda name: tables[name])
    monkeypatch.setattr(Paths, "near_duplicates", lambda *_: path)
    # The hashes of t2 and a, ff0003 and ff0000, differ in two bits.
    by_hashes = [Leak("remoteclip", "train", 1, 3), Leak("remoteclip", "val", 0, 3)]
    # t1 is like a and b; t3 like v, and t2 like t3.
    assert leaks_within("big") == [*by_hashes, Leak("copies", "train", 1, 3), Leak("copies", "val", 2, 3)]
    path = tmp_path / "missing.parquet"
    assert leaks_within("big") == [*by_hashes, Leak("copies", "train", None, 3), Leak("copies", "val", None, 3)]
    assert leaks_within("prior") == []
