"""RET-2 and RET-3 from tiny tables: who leaves because of which test image, worked out by hand."""

from __future__ import annotations

import json
import shutil

import pyarrow.parquet as pq
import pytest

from rsitr.dedup.joint import DUPLICATE, build_joint, join, removed, shared
from rsitr.errors import DatasetError, ParamsError
from rsitr.records.paths import Paths
from tests.helpers.dedup_tables import mark, put, put_near_duplicates

A, B, C, D, E = ((first, first + 1, first + 2, first + 3) for first in (0, 10, 20, 30, 40))
RSICD = [
    ("r1.jpg", "train", mark(*A)),
    ("r2.jpg", "train", mark(*B)),
    ("r3.jpg", "train", mark(*C)),
    ("r4.jpg", "train", mark(*A)),
    ("r5.jpg", "train", mark(*E)),
    ("v.jpg", "val", mark(*D)),
    ("t1.jpg", "test", mark(*A, 60)),
    ("t2.jpg", "test", mark(*E)),
]
# Two datasets use the name 1.tif.
RSITMD = [("1.tif", "train", mark(*C)), ("2.tif", "val", mark(*D)), ("3.tif", "test", mark(*B))]
UCM = [
    ("1.tif", "train", mark(*A, 61, 62)),
    ("2.tif", "train", mark(50, 51)),
    ("3.tif", "test", mark(*B, 63)),
    ("4.tif", "test", mark(*B, 62)),
]


@pytest.fixture
def tables(tmp_path):
    """Of RSICD's images, r4 and the test image t2 have blank captions only."""
    blank = {"r4.jpg": [""], "t2.jpg": ["", ""], "r3.jpg": ["", "a pier"]}
    return {
        "ucm": put(tmp_path, "ucm", UCM),
        "rsicd": put(tmp_path, "rsicd", RSICD, captions=blank),
        "rsitmd": put(tmp_path, "rsitmd", RSITMD),
    }


@pytest.fixture
def here(tables, tmp_path, monkeypatch):
    """The tables where the project has them, below the working folder."""
    monkeypatch.chdir(tmp_path)
    for name, path in tables.items():
        Paths.dataset(name).parent.mkdir(parents=True)
        shutil.copy(path, Paths.dataset(name))


def lacking(path, name, images):
    """A table of a dataset whose images are not at hand."""
    ids = [image_id for image_id, _, _ in images]
    return put(path, name, [(*image[:2], "") for image in images], problem=dict.fromkeys(ids, "missing image"))


def told(frame):
    """(dataset/image, reason, because) of every image, in order."""
    names = frame["dataset"] + "/" + frame["image_id"]
    return list(zip(names, frame["reason"], map(list, frame["because"]), strict=True))


def test_images_leave_because_of_the_test_images_of_every_member(tables):
    frame, facts = join("ret-3", "remoteclip", tables)
    assert told(frame) == [
        ("rsicd/r1.jpg", DUPLICATE, ["rsicd/t1.jpg"]),
        ("rsicd/r2.jpg", DUPLICATE, ["rsitmd/3.tif", "ucm/3.tif", "ucm/4.tif"]),
        ("rsicd/r3.jpg", "", []),
        # Without a caption it would not be trained on anyway.
        ("rsicd/r4.jpg", "no captions", []),
        # Its near duplicate t2 has no caption, so it is no test image that could be evaluated.
        ("rsicd/r5.jpg", "", []),
        ("rsitmd/1.tif", "", []),
        # The authors' train split; its near duplicate v is in val, and the rule speaks of test.
        ("rsitmd/2.tif", "", []),
        # Three bits from t1, but two from r1, which is one bit from it.
        ("ucm/1.tif", DUPLICATE, ["rsicd/t1.jpg"]),
        ("ucm/2.tif", "", []),
    ]
    assert frame["keep"].tolist() == [reason == "" for reason in frame["reason"]]
    assert frame["captions"].map(list).tolist()[2:4] == [["a pier"], []]
    assert frame["path"][0] == "images/r1.jpg"
    groups = frame["duplicate_group"]
    assert groups[0] == groups[3] == groups[7]
    assert groups[2] == groups[5]
    assert groups.nunique() == 6
    assert facts.datasets == ("rsicd", "rsitmd", "ucm")
    assert facts.roots == ("data/extracted/rsicd", "data/extracted/rsitmd", "data/extracted/ucm")
    assert facts.parent_shas == ("sha of rsicd", "sha of rsitmd", "sha of ucm")
    assert facts.absent == ()


def test_an_image_counts_once_for_each_test_set_and_once_in_all(tables):
    frame, _ = join("ret-3", "remoteclip", tables)
    assert removed(frame).because == {
        ("rsicd", "rsicd"): 1,
        ("rsicd", "rsitmd"): 1,
        ("rsicd", "ucm"): 1,
        ("ucm", "rsicd"): 1,
    }
    assert removed(frame).total == {"rsicd": 2, "ucm": 1}
    # r3 and RSITMD's 1.tif; r1 and UCM's 1.tif are near as well, but both leave.
    assert shared(frame) == {"rsicd": 1, "rsitmd": 1}


def test_only_the_members_matter(tables):
    frame, facts = join("ret-2", "remoteclip", tables)
    assert told(frame)[1] == ("rsicd/r2.jpg", DUPLICATE, ["rsitmd/3.tif"])
    assert len(frame) == 7
    assert facts.datasets == ("rsicd", "rsitmd")


def test_nothing_leaves_under_the_published_splits_alone(tables):
    frame, facts = join("ret-3", "none", tables)
    assert set(frame["reason"]) == {"", "no captions"}
    assert frame["duplicate_group"].nunique() == len(frame) == 9
    assert facts.data_sha != join("ret-3", "remoteclip", tables)[1].data_sha


def write_near_duplicates(folder, **found):
    """Tables of near duplicates of RET-3's members; ``found`` are the pairs by the names of both."""
    names = ("rsicd", "rsitmd", "ucm")
    pairs = [(first, second) for place, first in enumerate(names) for second in names[place:]]
    return [put_near_duplicates(folder, *pair, found.get("_".join(pair), [])) for pair in pairs]


def test_copies_instead_of_hashes(tables, tmp_path):
    near_duplicates = write_near_duplicates(
        tmp_path, rsicd_rsicd=[(RSICD[2], RSICD[6])], rsitmd_ucm=[(RSITMD[0], UCM[2]), (RSITMD[1], UCM[1])]
    )
    frame, _ = join("ret-3", "copies", tables, near_duplicates)
    assert [row for row in told(frame) if row[1]] == [
        ("rsicd/r3.jpg", DUPLICATE, ["rsicd/t1.jpg"]),
        ("rsicd/r4.jpg", "no captions", []),
        ("rsitmd/1.tif", DUPLICATE, ["ucm/3.tif"]),
    ]
    assert shared(frame) == {"rsitmd": 1, "ucm": 1}


def test_a_chain_through_a_dataset_outside_is_none(tables, tmp_path):
    a = ("a.jpg", "train")
    near_duplicates = [
        *write_near_duplicates(tmp_path),
        put_near_duplicates(tmp_path, "aid", "rsicd", [(a, RSICD[1]), (a, RSICD[6])]),
    ]
    frame, _ = join("ret-3", "copies", tables, near_duplicates)
    assert DUPLICATE not in set(frame["reason"])


def test_a_member_without_images_is_in_the_union_and_nothing_of_it_is_kept(tables, tmp_path):
    tables["rsitmd"] = lacking(tmp_path, "rsitmd", RSITMD)
    # There are no copies of it to be had, so they are not asked for.
    near_duplicates = [path for path in write_near_duplicates(tmp_path) if "rsitmd" not in path.name]
    for rule in ("remoteclip", "copies"):
        frame, facts = join("ret-3", rule, tables, near_duplicates)
        assert facts.absent == ("rsitmd",)
        assert told(frame)[5:7] == [("rsitmd/1.tif", "missing image", []), ("rsitmd/2.tif", "missing image", [])]
        assert frame["captions"].map(list)[5] == ["rsitmd 1.tif"]
    frame, _ = join("ret-3", "remoteclip", tables)
    assert removed(frame).because["rsicd", "rsitmd"] == 0
    assert removed(frame).because["rsicd", "ucm"] == 1


def test_what_is_written_is_what_was_joined(tables, here):
    facts, reasons = build_joint("ret-3", "remoteclip")
    table = pq.ParquetFile(Paths.joint("ret-3", "remoteclip")).read()
    frame, read = table.to_pandas(), json.loads(table.schema.metadata[b"rsitr"])
    joined, _ = join("ret-3", "remoteclip", tables)
    assert read == json.loads(json.dumps(facts._asdict()))
    assert told(frame) == told(joined)
    assert reasons == frame["reason"].tolist()
    assert frame.drop(columns="because").map(str).equals(joined.drop(columns="because").map(str))


def test_the_hash_covers_what_a_method_can_see(tables, tmp_path):
    before = join("ret-3", "remoteclip", tables)[1].data_sha
    put(tmp_path, "ucm", UCM, path={"1.tif": "elsewhere.tif"})
    assert join("ret-3", "remoteclip", tables)[1].data_sha == before
    put(tmp_path, "ucm", UCM, captions={"2.tif": ["another sentence"]})
    assert join("ret-3", "remoteclip", tables)[1].data_sha != before
    put(tmp_path, "ucm", [(*image[:2], mark(9)) if image[0] == "2.tif" else image for image in UCM])
    assert join("ret-3", "remoteclip", tables)[1].data_sha == before
    put(tmp_path, "ucm", [(*image[:2], mark(*A)) if image[0] == "2.tif" else image for image in UCM])
    assert join("ret-3", "remoteclip", tables)[1].data_sha != before


def test_what_a_user_can_get_wrong(tables, tmp_path):
    with pytest.raises(ParamsError, match="swan trains on one dataset at a time: the joint ones are ret-2, ret-3"):
        join("swan", "none", tables)
    with pytest.raises(ParamsError, match="unknown de-duplication rule 'phash': the known ones are none, remoteclip"):
        join("ret-3", "phash", tables)
    with pytest.raises(DatasetError, match="ret-3 needs ucm as well: build their tables first"):
        join("ret-3", "none", {name: path for name, path in tables.items() if name != "ucm"})
    with pytest.raises(DatasetError, match=r"gone\.parquet is missing: build it with"):
        join("ret-3", "none", tables | {"ucm": tmp_path / "gone.parquet"})


def test_copies_have_to_be_there_and_of_this_data(tables, tmp_path):
    near_duplicates = write_near_duplicates(tmp_path)
    with pytest.raises(
        DatasetError,
        match=r"the near duplicates of rsicd in ucm are needed: build data/near_duplicates/rsicd/ucm\.parquet",
    ):
        join("ret-3", "copies", tables, [path for path in near_duplicates if path.name != "rsicd-ucm.parquet"])
    put_near_duplicates(tmp_path, "rsicd", "ucm", [], sha="older")
    with pytest.raises(DatasetError, match=r"rsicd-ucm\.parquet was made from other data of rsicd: delete it and run"):
        join("ret-3", "copies", tables, near_duplicates)
