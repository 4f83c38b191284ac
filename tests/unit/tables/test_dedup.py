"""The table of near duplicates: counts by hand and by brute force, what is not at hand, and the lists next to it."""

from __future__ import annotations

import csv
from collections import Counter
from itertools import combinations, product

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsitr.tables import dedup
from rsitr.tables.dedup import hashes_between, hashes_inside
from tests.helpers.dedup_tables import mark, put, put_near_duplicates

A, B, C = ((first, first + 1, first + 2, first + 3) for first in (0, 10, 20))
AID = [("a1.jpg", "train", mark(*A)), ("a2.jpg", "train", mark(*B)), ("a3.jpg", "train", mark(*C))]
RSICD = [
    ("r1.jpg", "train", mark(*A)),
    ("r2.jpg", "train", mark(*A, 63)),
    ("r3.jpg", "val", mark(*A)),
    ("r4.jpg", "train", mark(*B)),
    ("r5.jpg", "test", mark(*B, 62, 63)),
]
UCM = [
    ("1.tif", "train", mark(40)),
    ("2.tif", "test", mark(*A)),
    ("3.tif", "train", ""),
]
RSITMD = [("r1.jpg", "train", ""), ("r9.jpg", "test", "")]
INSIDE = ["pairs", "groups", "images", "train for test", "train for val", "val for test"]
BETWEEN = ["pairs", "groups", "images of first", "images of second"]
BECAUSE = [f"removed because of test images of {name}" for name in ("rsicd", "rsitmd", "ucm")]
JOINT = ["images", "unusable", *BECAUSE, "removed", "left", "shared"]

hashes = st.lists(st.lists(st.integers(0, 4), max_size=3).map(lambda bits: mark(*set(bits))) | st.just(""), max_size=9)


def near(one, other):
    return bool(one and other) and (int(one, 16) ^ int(other, 16)).bit_count() <= 2


def components(pairs):
    """Number of groups that pairs of nodes make, by merging sets until none touches another."""
    groups = []
    for pair in pairs:
        touching = [group for group in groups if group & set(pair)]
        groups = [group for group in groups if group not in touching] + [set(pair).union(*touching)]
    return len(groups)


@given(hashes)
def test_inside_a_dataset_all_pairs_count(values):
    pairs = [pair for pair in combinations(range(len(values)), 2) if near(values[pair[0]], values[pair[1]])]
    images = {row for pair in pairs for row in pair}
    assert hashes_inside(pd.Series(values, dtype=str)) == (len(pairs), components(pairs), len(images))


@given(hashes, hashes)
def test_between_datasets_only_pairs_of_both_count(first, second):
    pairs = [
        (("first", one), ("second", other))
        for one, other in product(range(len(first)), range(len(second)))
        if near(first[one], second[other])
    ]
    images = (len({pair[side] for pair in pairs}) for side in (0, 1))
    expected = (len(pairs), components(pairs), *images)
    assert hashes_between(pd.Series(first, dtype=str), pd.Series(second, dtype=str)) == expected


@pytest.fixture
def lab(tmp_path):
    """Tables of four datasets: no image of RSITMD is at hand, one of UCM's three cannot be read."""
    tables = {
        "rsicd": put(tmp_path, "rsicd", RSICD),
        "rsitmd": put(tmp_path, "rsitmd", RSITMD, problem={"r1.jpg": "missing image", "r9.jpg": "missing image"}),
        "ucm": put(tmp_path, "ucm", UCM, problem={"3.tif": "unreadable image"}),
        "aid": put(tmp_path, "aid", AID, captions={"a1.jpg": [], "a2.jpg": [], "a3.jpg": []}),
    }
    r1, r2, r3, r4, r5 = RSICD
    found = {
        ("aid", "aid"): [],
        ("aid", "rsicd"): [(AID[2], r4), (AID[1], r4), (AID[1], r1)],
        ("aid", "ucm"): [],
        ("rsicd", "rsicd"): [(r1, r5), (r2, r3), (r3, r5)],
        ("rsicd", "ucm"): [(r4, UCM[1])],
        ("ucm", "ucm"): [],
    }
    return tables, {pair: put_near_duplicates(tmp_path, *pair, pairs) for pair, pairs in found.items()}


def lines(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))


def shown(path, table, row, columns, rule=""):
    """Texts of a row of one of the tables; ``rule`` chooses the group of columns or, in RET, the row."""
    rows = [line for line in lines(path) if line["table"] == table and line["dataset"] == row]
    return [[line[f"{rule} {column}".strip()] for column in columns] for line in rows]


def test_near_duplicates_by_dataset_and_by_pair(lab, tmp_path):
    paths = dedup.build(*lab, "lab", tmp_path / "out")
    names = ["dedup.csv", "dedup.md", "dedup.tex", "dedup.html", "dedup.pairs.csv", "dedup.groups.csv"]
    assert [path.name for path in paths] == names
    inside, between = "Near duplicates inside a dataset", "Near duplicates between datasets"
    # r1 = r3 and r2 near both; r4 near r5. r1 and r2 leave train for the val image r3, r4 for the test image r5.
    assert shown(paths[0], inside, "rsicd", INSIDE, "remoteclip") == [["4", "2", "5", "1", "2", "0"]]
    # r1, r2, r3 and r5 are linked: r1 and r2 leave train, r3 leaves val, all for r5.
    assert shown(paths[0], inside, "rsicd", INSIDE, "copies") == [["3", "1", "4", "2", "0", "1"]]
    # Nothing but a train split: nothing could leave it.
    assert shown(paths[0], inside, "aid", INSIDE, "remoteclip") == [["0", "0", "0", "", "", ""]]
    assert shown(paths[0], inside, "ucm", ["compared"]) == [["2 [2]"]]
    assert shown(paths[0], inside, "rsitmd", ["compared"]) == [["0"]]
    assert shown(paths[0], inside, "rsitmd", INSIDE, "copies") == [["NA [1]"] * 6]
    # a1 with r1, r2 and r3; a2 with r4 and r5.
    assert shown(paths[0], between, "aid × rsicd", BETWEEN, "remoteclip") == [["5", "2", "2", "5"]]
    assert shown(paths[0], between, "aid × rsicd", BETWEEN, "copies") == [["3", "1", "2", "2"]]
    assert shown(paths[0], between, "rsicd × rsitmd", BETWEEN, "remoteclip") == [["NA [1]"] * 4]
    assert shown(paths[0], between, "rsicd × ucm", ["first", "second"]) == [["5", "2 [2]"]]
    labels = [line["dataset"] for line in lines(paths[0]) if line["table"] == between]
    assert labels == [f"{one} × {other}" for one, other in combinations(["aid", "rsicd", "rsitmd", "ucm"], 2)]
    text = paths[0].read_text(encoding="utf-8")
    assert "# [1] not compared: no images of rsitmd at hand\n" in text
    assert "# [2] 1 of the 3 images of ucm cannot be read\n" in text


def test_what_ret_loses(lab, tmp_path):
    path = dedup.build(*lab, "lab", tmp_path / "out")[0]
    rows = {
        (line["dataset"], line["rule"], line["images of"]): [line[column] for column in JOINT]
        for line in lines(path)
        if line["table"] == "Joint training sets"
    }
    assert len(rows) == 2 * (3 + 4)
    absent, rest = "NA [1]", ["NA [1]"] * 3
    # By hashes r4 leaves for r5, and r1 and r2 for UCM's 2.tif.
    assert rows["ret-3", "remoteclip", "rsicd"] == ["3", "0", "1", absent, "2", "3 [3]", "0 [3]", "0 [3]"]
    # 2.tif is in test and 3.tif cannot be read.
    assert rows["ret-3", "remoteclip", "ucm"] == ["2", "1", "0", absent, "0", "0 [3]", "1 [3]", "0 [3]"]
    # No image at hand is not "nothing removed".
    assert rows["ret-3", "remoteclip", "rsitmd"] == ["1", "1", absent, absent, absent, *rest]
    assert rows["ret-3", "remoteclip", "all"] == ["6", "2", absent, absent, absent, *rest]
    # By copies r1 and r2 leave for r5, r4 for UCM's 2.tif; what AID has of them changes nothing.
    assert rows["ret-3", "copies", "rsicd"] == ["3", "0", "2", absent, "1", "3 [3]", "0 [3]", "0 [3]"]
    assert rows["ret-2", "copies", "rsicd"] == ["3", "0", "2", absent, "", "2 [3]", "1 [3]", "0 [3]"]


def test_with_all_images_at_hand_the_training_set_has_a_sum(lab, tmp_path):
    tables, near_duplicates = lab
    tables["rsitmd"] = put(tmp_path, "rsitmd", [("r1.jpg", "val", mark(40)), ("r9.jpg", "test", mark(*A))])
    path = dedup.build(tables, near_duplicates, "lab", tmp_path / "out")[0]
    rows = {
        (line["rule"], line["images of"]): [line[column] for column in JOINT]
        for line in lines(path)
        if line["dataset"] == "ret-3"
    }
    assert rows["remoteclip", "rsicd"] == ["3", "0", "1", "2", "2", "3", "0", "0"]
    # The train images r1 of RSITMD and 1.tif of UCM are one picture, and both stay.
    assert rows["remoteclip", "all"] == ["6", "1", "1", "2", "2", "3", "2", "2"]
    # Copies of RSITMD were not looked for, so the set cannot be said to be clean.
    assert rows["copies", "all"][0].startswith("NA [")
    assert len([key for key in rows if key[0] == "copies"]) == 1
    assert "the near duplicates of rsicd in rsitmd are needed" in path.read_text(encoding="utf-8")


def test_every_pair_of_copies_is_listed(lab, tmp_path):
    rows = lines(dedup.build(*lab, "lab", tmp_path / "out")[4])
    assert list(rows[0]) == [
        *("first_dataset", "first", "first_split", "second_dataset", "second", "second_split", "part", "orientation"),
        *("top", "left", "height", "width", "similarity", "detail", "agreement"),
    ]
    assert [(row["first_dataset"], row["first"], row["second_dataset"], row["second"]) for row in rows] == [
        ("aid", "a2.jpg", "rsicd", "r1.jpg"),
        ("aid", "a2.jpg", "rsicd", "r4.jpg"),
        ("aid", "a3.jpg", "rsicd", "r4.jpg"),
        ("rsicd", "r1.jpg", "rsicd", "r5.jpg"),
        ("rsicd", "r2.jpg", "rsicd", "r3.jpg"),
        ("rsicd", "r3.jpg", "rsicd", "r5.jpg"),
        ("rsicd", "r4.jpg", "ucm", "2.tif"),
    ]
    assert (rows[3]["first_split"], rows[3]["second_split"], rows[3]["detail"]) == ("train", "test", "0.8750")


def test_of_a_group_a_test_image_stays_and_of_equals_the_first_by_name(lab, tmp_path):
    tables, near_duplicates = lab
    near_duplicates["ucm", "ucm"] = put_near_duplicates(tmp_path, "ucm", "ucm", [(UCM[0], UCM[2])])
    rows = lines(dedup.build(tables, near_duplicates, "lab", tmp_path / "out")[5])
    assert [list(row.values()) for row in rows] == [
        ["0", "rsicd", "r5.jpg", "test", "True"],
        ["0", "ucm", "2.tif", "test", "False"],
        ["0", "rsicd", "r3.jpg", "val", "False"],
        ["0", "aid", "a2.jpg", "train", "False"],
        ["0", "aid", "a3.jpg", "train", "False"],
        ["0", "rsicd", "r1.jpg", "train", "False"],
        ["0", "rsicd", "r2.jpg", "train", "False"],
        ["0", "rsicd", "r4.jpg", "train", "False"],
        ["1", "ucm", "1.tif", "train", "True"],
        ["1", "ucm", "3.tif", "train", "False"],
    ]


def test_copies_that_are_not_there_or_not_of_this_data_are_na(lab, tmp_path):
    tables, near_duplicates = lab
    del near_duplicates["aid", "ucm"]
    near_duplicates["aid", "aid"] = tmp_path / "gone.parquet"
    put_near_duplicates(tmp_path, "aid", "rsicd", [(AID[0], RSICD[0])], sha="older")
    paths = dedup.build(tables, near_duplicates, "lab", tmp_path / "out")
    inside, between = "Near duplicates inside a dataset", "Near duplicates between datasets"
    for table, row, columns in (
        (inside, "aid", INSIDE),
        (between, "aid × rsicd", BETWEEN),
        (between, "aid × ucm", BETWEEN),
    ):
        assert all(text.startswith("NA [") for text in shown(paths[0], table, row, columns, "copies")[0])
        assert shown(paths[0], table, row, ["pairs"], "remoteclip")[0][0].isdigit()
    text = paths[0].read_text(encoding="utf-8")
    assert "] not compared: near duplicates of aid in ucm were not looked for\n" in text
    assert "gone.parquet is missing: build it with" in text
    assert "aid-rsicd.parquet was made from other data of aid: delete it and run again\n" in text
    assert Counter(row["first_dataset"] for row in lines(paths[4])) == {"rsicd": 4}


def test_an_experiment_without_members_of_ret(tmp_path):
    tables = {"aid": put(tmp_path, "aid", AID), "gone": tmp_path / "none.parquet"}
    paths = dedup.build(tables, {}, "lab", tmp_path / "out")
    assert "Joint" not in paths[1].read_text(encoding="utf-8")
    assert shown(paths[0], "Near duplicates inside a dataset", "gone", ["compared"]) == [["0"]]
    assert paths[5].read_text(encoding="utf-8") == "group,dataset,image_id,split,kept\n"
    assert lines(paths[4]) == []
    # The same files again, byte for byte.
    before = [path.read_bytes() for path in paths]
    assert [path.read_bytes() for path in dedup.build(tables, {}, "lab", tmp_path / "out")] == before
