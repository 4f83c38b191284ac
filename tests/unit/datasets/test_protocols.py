"""Split protocols: test images stay where they are, the rest is split as stated, and the table adds up."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from typing import get_args

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsitr.datasets import registry
from rsitr.datasets.karpathy import SPLITS, karpathy_rows
from rsitr.datasets.protocols import PAPER_SPLITS, PROTOCOLS, differences, get_protocol
from rsitr.datasets.table import DATASET_SCHEMA, DatasetFacts
from rsitr.errors import DatasetError, ParamsError
from rsitr.params.ids import CleanId, SplitProtocol
from rsitr.records.parquet import write_table
from rsitr.tables import splits
from tests.helpers.lab import written

TEN = {f"{n}.jpg": split for n, split in enumerate(["train"] * 6 + ["val"] * 2 + ["test"] * 2)}
FILES = {"rsicd": "dataset_rsicd.json", "rsitmd": "dataset_rsitmd.json"}


def counts(assigned):
    return [Counter(assigned.values())[split] for split in SPLITS]


def test_official_changes_nothing():
    assert get_protocol("official").splits("anything", TEN) == TEN


def test_the_holdout_takes_the_images_whose_hashes_come_first():
    digests = {
        image_id: hashlib.sha256(f"0/ucm/{image_id}".encode()).hexdigest()
        for image_id in TEN
        if TEN[image_id] != "test"
    }
    last = sorted(digests, key=lambda image_id: digests[image_id])[-2:]  # of eight, 0.8 x 8 = 6.4: six train, two val
    expected = TEN | dict.fromkeys(digests, "train") | dict.fromkeys(last, "val")
    assert get_protocol("amfmn-holdout").splits("ucm", TEN) == expected


@given(st.dictionaries(st.text(min_size=1), st.sampled_from(SPLITS), min_size=1))
def test_a_holdout_keeps_test_and_splits_the_rest_at_four_to_one(official):
    protocol = get_protocol("amfmn-holdout")
    assigned = protocol.splits("sydney", official)
    assert list(assigned) == list(official)
    assert {key for key, split in assigned.items() if split == "test"} == {
        key for key, split in official.items() if split == "test"
    }
    rest = len(official) - counts(official)[2]
    assert counts(assigned)[:2] == [rest * 4 // 5, rest - rest * 4 // 5]
    # Neither the order of the images nor where they were before matters.
    moved = {key: "test" if split == "test" else "train" for key, split in reversed(official.items())}
    assert protocol.splits("sydney", moved) == assigned


def test_protocols_and_datasets_draw_differently():
    official = {f"{n}.jpg": "train" for n in range(100)}
    asked = [("amfmn-holdout", "rsicd"), ("amfmn-holdout", "sydney"), ("swan", "rsicd")]
    draws = [tuple(get_protocol(name).splits(dataset, official).values()) for name, dataset in asked]
    assert len(set(draws)) == 3


@pytest.mark.parametrize(
    ("paper", "variant", "clean", "expected"),
    [
        ("pir2024", "", CleanId("rsicd", "swan"), []),
        ("pir2024", "", CleanId("rsicd"), ["trained with the split protocol official instead of swan"]),
        ("pir2024", "train=own", CleanId("rsitmd", "swan"), []),
        ("pir2024", "train=RET-3", CleanId("rsicd", "ret-3", "remoteclip"), []),
        (
            "pir2024",
            "train=RET-2",
            CleanId("rsitmd", "ret-2", "copies"),
            [
                "trained without the images of the val split",
                "trained with the de-duplication rule copies instead of remoteclip",
            ],
        ),
        ("mtgfe2023", "", CleanId("rsicd"), []),
        ("mtgfe2023", "", CleanId("rsitmd"), ["trained without the images of the val split"]),
        ("peder2025", "", CleanId("rsicd", "swan"), []),
        (
            "peder2025",
            "",
            CleanId("rsicd", dedup="copies"),
            ["trained with the de-duplication rule copies instead of none"],
        ),
    ],
)
def test_what_differs_from_the_training_set_of_a_paper(paper, variant, clean, expected):
    assert differences(paper, variant, clean) == expected


def test_every_protocol_can_be_named_in_params():
    assert tuple(PROTOCOLS) == get_args(SplitProtocol)
    assert {*PAPER_SPLITS.values()} <= {*PROTOCOLS}


def test_the_authors_list_is_used_where_it_was_fetched(tmp_path):
    protocol = get_protocol("swan")
    assert not protocol.is_exact(tmp_path)
    assert protocol.splits("rsicd", TEN, root=tmp_path) == protocol.splits("rsicd", TEN)
    (tmp_path / "swan_val.txt").write_text("7.jpg\n7.jpg\n0.jpg\n", encoding="utf-8")
    expected = TEN | {f"{n}.jpg": "train" for n in range(8)} | {"0.jpg": "val", "7.jpg": "val"}
    assert protocol.is_exact(tmp_path)
    assert protocol.splits("rsicd", TEN, root=tmp_path) == expected
    (tmp_path / "swan_val.txt").write_text("7.jpg\n8.jpg\n12.jpg\n", encoding="utf-8")
    with pytest.raises(DatasetError, match=r"names 2 images that are not outside test \(12.jpg, 8.jpg\)"):
        protocol.splits("rsicd", TEN, root=tmp_path)


def test_ret_gives_the_val_split_of_rsitmd_back_to_train():
    protocol = get_protocol("ret-2")
    assert counts(protocol.splits("rsitmd", TEN)) == [8, 0, 2]
    assert protocol.splits("rsicd", TEN) == TEN
    assert len(protocol.training_set({"rsicd": TEN, "rsitmd": TEN, "ucm": TEN})) == 6 + 8
    # The same file name in two datasets is two images.
    assert protocol.training_set({"rsicd": {"1.tif": "train"}, "rsitmd": {"1.tif": "val", "2.tif": "test"}}) == [
        ("rsicd", "1.tif"),
        ("rsitmd", "1.tif"),
    ]


def test_ret_3_needs_all_its_datasets():
    with pytest.raises(DatasetError, match="ret-3 needs rsitmd, ucm as well: build their tables first"):
        get_protocol("ret-3").training_set({"rsicd": TEN})


def test_swan_draws_rsitmd_within_each_class():
    official = {f"{name}_{n}.tif": "train" for name, count in (("port", 10), ("farm", 5)) for n in range(count)}
    assigned = get_protocol("swan").splits("rsitmd", official | {"port_99.tif": "test"})
    train = [image_id.rpartition("_")[0] for image_id, split in assigned.items() if split == "train"]
    assert (train.count("port"), train.count("farm")) == (8, 4)
    assert assigned["port_99.tif"] == "test"
    # One pool on RSICD, whose names are not all made of a class: 80 % of 15.
    assert counts(get_protocol("swan").splits("rsicd", official)) == [12, 3, 0]


@pytest.mark.parametrize(("name", "dataset"), [("swan", "ucm"), ("ret-2", "ucm"), ("amfmn-holdout", "scenes-a")])
def test_protocols_that_are_not_defined_on_a_dataset(name, dataset):
    with pytest.raises(ParamsError, match=f"{name} is not defined on {dataset}: use it on rsicd, "):
        get_protocol(name).splits(dataset, TEN)


def test_unknown_protocols_are_named_with_the_known_ones():
    with pytest.raises(ParamsError, match="unknown split protocol 'karpathy': the known ones are official, swan,"):
        get_protocol("karpathy")


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=lambda protocol: protocol.name)
def test_protocols_name_datasets_that_exist_and_papers_for_each(protocol):
    assert set(protocol.datasets) | set(protocol.used_by) <= set(registry())
    assert set(protocol.datasets) <= set(protocol.used_by)


@pytest.mark.mirror
@pytest.mark.parametrize(("name", "expected"), [("rsicd", [7862, 1966, 1093]), ("rsitmd", [3435, 856, 452])])
def test_swan_has_the_counts_of_the_papers(mirror, name, expected):
    official = {row.image_id: row.split for row in karpathy_rows(mirror / name / FILES[name], image_dir="x")}
    assigned = get_protocol("swan").splits(name, official)
    assert counts(assigned) == expected
    assert {key for key, split in assigned.items() if split == "test"} == {
        key for key, split in official.items() if split == "test"
    }


def put(path, name, synthetic=False):
    frame = pd.DataFrame({"image_id": TEN.keys(), "split": TEN.values()})
    frame["captions"] = [["a"] * n for n in range(10)]
    frame = frame.assign(
        path="x", class_name="", keywords=[[]] * 10, width=1, height=1, sha256="", fingerprint="", problem=""
    )
    facts = DatasetFacts(name, name, "generated", "none", synthetic, "root", "sha")
    write_table(pa.Table.from_pandas(frame, DATASET_SCHEMA, preserve_index=False), facts, path)
    return path


def test_the_table_counts_images_and_captions_of_every_protocol(tmp_path):
    tables = {name: put(tmp_path / f"{name}.parquet", name) for name in ("rsicd", "rsitmd")}
    tables["scenes-a"] = put(tmp_path / "scenes.parquet", "scenes-a", synthetic=True)
    paths = written(splits.TABLE, tmp_path / "out", canonical=tables)
    assert [path.name for path in paths] == ["splits.csv", "splits.md", "splits.tex", "splits.html"]
    lines = paths[0].read_text(encoding="utf-8").splitlines()
    rows = [list(row.values())[1:] for row in csv.DictReader(line for line in lines if line[0] != "#")]
    shown = {(row[0], row[1]): row[2:8] for row in rows}
    # Image n has n captions: 0 to 5 are train, 6 and 7 val, 8 and 9 test.
    assert shown["official", "rsicd"] == ["6", "2", "2", "15", "13", "17"]
    assert shown["official", "scenes-a"] == ["6", "2", "2", "15", "13", "17"]
    assert shown["swan", "rsicd"][:3] == shown["swan", "rsitmd"][:3] == ["6", "2", "2"]
    assert shown["amfmn-holdout", "rsicd"][:3] == ["6", "2", "2"]
    assert shown["ret-2", "rsitmd"] == ["8", "0", "2", "28", "0", "17"]
    assert shown["ret-2", "rsicd + rsitmd"] == ["14", "", "", "43", "", ""]
    assert shown["ret-3", "rsicd + rsitmd + ucm"] == ["NA [6]"] * 6
    assert len(shown) == len(rows) == 3 + 2 + 2 + 3 + 3
    assert next(row for row in rows if row[1] == "scenes-a")[8:] == ["generated", ""]
    assert "# [6] ret-3 needs ucm as well: build their tables first" in lines
