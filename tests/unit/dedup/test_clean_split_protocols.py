"""Clean tables of split protocols, joint ones included: which images are train, val and test, and why not others."""

from __future__ import annotations

import shutil

import pytest

from rsitr.datasets.splits import load_splits, training_images
from rsitr.datasets.table import read_facts, read_table
from rsitr.dedup.clean import write_clean
from rsitr.dedup.joint import build_joint
from rsitr.errors import DatasetError, ParamsError
from rsitr.params.ids import CleanId
from rsitr.records.parquet import write_table
from rsitr.records.paths import Paths
from tests.helpers.dedup_tables import mark, put, put_near_duplicates

# Near duplicates by their hashes: r1 and r2 of each other, r3 and RSITMD's test image 3, RSITMD's 1 and 2.
RSICD = [
    *(
        (f"r{n}.jpg", "train", mark(*bits))
        for n, bits in ((1, (0, 1, 2)), (2, (0, 1)), (3, (10, 11, 12)), (4, (20, 21, 22)))
    ),
    ("v.jpg", "val", mark(30, 31, 32)),
    ("t.jpg", "test", mark(40, 41, 42)),
]
RSITMD = [
    ("1.tif", "train", mark(50, 51, 52)),
    ("2.tif", "val", mark(50, 51)),
    ("3.tif", "test", mark(10, 11)),
]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, images in (("rsicd", RSICD), ("rsitmd", RSITMD)):
        Paths.dataset(name).parent.mkdir(parents=True)
        shutil.move(put(tmp_path, name, images), Paths.dataset(name))


def images(wanted):
    splits, _, left_out = load_splits(Paths.clean(wanted))
    return {name: split.image_ids for name, split in splits.items()}, left_out


def listed(*names):
    folder = Paths.extracted("rsicd")
    folder.mkdir(parents=True)
    (folder / "swan_val.txt").write_text("\n".join(names), encoding="utf-8")


def test_near_duplicates_leave_by_the_splits_of_the_protocol():
    listed("r2.jpg", "r4.jpg")
    write_clean(CleanId("rsicd", "swan", "remoteclip"))
    found, left_out = images(CleanId("rsicd", "swan", "remoteclip"))
    # r1 would be train in the official splits, too; here its near duplicate r2 is val.
    assert found == {"train": ["r3.jpg", "v.jpg"], "val": ["r2.jpg", "r4.jpg"], "test": ["t.jpg"]}
    assert left_out == {"near duplicate in val": 1}
    write_clean(CleanId("rsicd", dedup="remoteclip"))
    assert images(CleanId("rsicd", dedup="remoteclip"))[0]["train"] == ["r1.jpg", "r2.jpg", "r3.jpg", "r4.jpg"]


def test_the_list_does_not_fit_a_part_of_a_dataset():
    listed("r2.jpg", "another.jpg")
    with pytest.raises(DatasetError, match=r"names 1 images that are not outside test \(another.jpg\)"):
        write_clean(CleanId("rsicd", "swan"))
    write_clean(CleanId("rsicd", "swan"), listed=False)
    assert [len(split) for split in images(CleanId("rsicd", "swan"))[0].values()] == [4, 1, 1]


def test_a_protocol_is_not_defined_everywhere():
    with pytest.raises(ParamsError, match="split protocol ret-2 is not defined on ucm: use it on rsicd, rsitmd"):
        write_clean(CleanId("ucm", "ret-2"))


def test_a_joint_set_trains_on_all_its_members_and_tests_on_one():
    build_joint("ret-2", "remoteclip")
    rsicd, rsitmd = (CleanId(name, "ret-2", "remoteclip") for name in ("rsicd", "rsitmd"))
    facts = write_clean(rsicd)
    found, left_out = images(rsicd)
    # r3 is like a test image of RSITMD. RSITMD's val image is part of the published training set.
    train = ["rsicd/r1.jpg", "rsicd/r2.jpg", "rsicd/r4.jpg", "rsitmd/1.tif", "rsitmd/2.tif"]
    assert found == {"train": train, "val": ["v.jpg"], "test": ["t.jpg"]}
    assert left_out == {"near duplicate of a test image": 1}
    assert facts.parent_sha == "sha of rsicd"
    write_clean(rsitmd)
    # There it chooses the epoch.
    assert images(rsitmd)[0] == {"train": train[:-1], "val": ["2.tif"], "test": ["3.tif"]}
    assert training_images(rsitmd) == [
        ("rsicd", "r1.jpg"),
        ("rsicd", "r2.jpg"),
        ("rsicd", "r4.jpg"),
        ("rsitmd", "1.tif"),
    ]


def test_images_of_other_members_are_found_where_they_are():
    build_joint("ret-2", "none")
    write_clean(CleanId("rsitmd", "ret-2"))
    splits, facts, _ = load_splits(Paths.clean(CleanId("rsitmd", "ret-2")))
    paths = {path.as_posix() for path in splits["train"].paths}
    assert paths == {f"data/extracted/rsicd/images/r{n}.jpg" for n in (1, 2, 3, 4)} | {
        "data/extracted/rsitmd/images/1.tif"
    }
    assert facts.root == "data/extracted/rsitmd"
    assert splits["train"].captions[-1] == "rsitmd 1.tif"


def test_a_joint_set_of_another_table_is_refused():
    build_joint("ret-2", "none")
    write_clean(CleanId("rsicd", "ret-2"))
    before = read_facts(Paths.clean(CleanId("rsicd", "ret-2"))).data_sha
    table, facts = read_table(Paths.dataset("rsicd"))
    write_table(table, facts._replace(data_sha="another"), Paths.dataset("rsicd"))
    with pytest.raises(DatasetError, match=r"ret-2-none.parquet was built from another table of rsicd: build it again"):
        write_clean(CleanId("rsicd", "ret-2"))
    assert read_facts(Paths.clean(CleanId("rsicd", "ret-2"))).data_sha == before


def test_without_its_joint_set_a_clean_table_cannot_be_built():
    with pytest.raises(DatasetError, match=r"data/joint/ret-2-none.parquet is missing: build it with"):
        write_clean(CleanId("rsicd", "ret-2"))


def test_copies_inside_all_members_are_needed(tmp_path):
    inside = put_near_duplicates(tmp_path, "rsicd", "rsicd", [])
    Paths.near_duplicates("rsicd", "rsicd").parent.mkdir(parents=True)
    shutil.move(inside, Paths.near_duplicates("rsicd", "rsicd"))
    with pytest.raises(DatasetError, match="the near duplicates of rsicd in rsitmd are needed"):
        build_joint("ret-2", "copies")
