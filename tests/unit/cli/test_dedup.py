"""The commands of de-duplication, from pictures on disk to tables and drawings."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image

from rsitr.datasets.table import read_table
from rsitr.dedup.pairs import read_near_duplicates
from rsitr.params.ids import CleanId
from rsitr.records.parquet import write_table
from rsitr.records.paths import Paths
from tests.helpers.commands import refused, run
from tests.helpers.pictures import picture, put


@pytest.fixture(autouse=True)
def sets(tmp_path, monkeypatch):
    """RSICD with a test image that is a crop of a training image, and UCM with that training image turned."""
    monkeypatch.chdir(tmp_path)
    one, other, third = (Image.fromarray(picture(seed, 256)) for seed in range(3))
    crop = one.crop((32, 0, 256, 224))
    put("rsicd", {"one.png": ("train", one), "crop.png": ("test", crop), "other.png": ("train", other)})
    put("rsitmd", {"third.png": ("train", third)})
    turned = one.transpose(Image.Transpose.ROTATE_180)
    put("ucm", {"turned.png": ("train", turned), "noise.png": ("train", Image.fromarray(picture(9, 256)))})
    for name, images in (("rsicd", 3), ("rsitmd", 1), ("ucm", 2)):
        assert run("dedup", "thumbnails", name).stdout == f"data/thumbnails/{name}.parquet: 0 of {images} left out\n"


def test_copies_inside_and_between(tmp_path):
    assert run("dedup", "pairs", "rsicd").stdout == "data/near_duplicates/rsicd/rsicd.parquet: 1 pairs\n"
    # The order of the names does not matter.
    assert run("dedup", "pairs", "ucm", "rsicd").stdout == "data/near_duplicates/rsicd/ucm.parquet: 2 pairs\n"
    inside, between = (read_near_duplicates(Paths.near_duplicates("rsicd", name))[0] for name in ("rsicd", "ucm"))
    assert inside[["first", "second", "part", "second_split"]].to_numpy().tolist() == [
        ["crop.png", "one.png", "first", "train"]
    ]
    assert between[["first", "second"]].to_numpy().tolist() == [["crop.png", "turned.png"], ["one.png", "turned.png"]]
    assert set(between["orientation"]) == {"turned 180"}


def test_shards_are_gathered():
    run("dedup", "pairs", "rsicd", "ucm")
    whole = read_near_duplicates(Paths.near_duplicates("rsicd", "ucm"))
    for shard in ("0/2", "1/2"):
        assert run("dedup", "pairs", "rsicd", "ucm", "--shard", shard).exit_code == 0
    assert run("dedup", "gather", "rsicd", "ucm", "2").stdout == "data/near_duplicates/rsicd/ucm.parquet: 2 pairs\n"
    again = read_near_duplicates(Paths.near_duplicates("rsicd", "ucm"))
    pd.testing.assert_frame_equal(again[0], whole[0])
    assert again[1] == whole[1]
    assert "0/8 for the first of eight" in refused("dedup", "pairs", "rsicd", "--shard", "2/2")


def test_a_training_image_leaves_for_its_copy_in_test():
    run("dedup", "pairs", "rsicd")
    said = run("data", "clean", "rsicd", "--dedup", "copies").stdout
    assert said.endswith(", images: 1 of 3 left out (1 x near duplicate in test)\n")
    cleaned = read_table(Paths.clean(CleanId("rsicd", dedup="copies")))[0].to_pandas().set_index("image_id")
    assert cleaned["reason"].to_dict() == {"crop.png": "", "one.png": "near duplicate in test", "other.png": ""}
    assert cleaned.loc["crop.png", "duplicate_group"] == cleaned.loc["one.png", "duplicate_group"]
    assert cleaned["duplicate_group"].nunique() == 2


def test_copies_of_other_data_are_refused():
    run("dedup", "pairs", "rsicd")
    table, facts = read_table(Paths.dataset("rsicd"))
    write_table(table, facts._replace(data_sha="other"), Paths.dataset("rsicd"))
    assert "made from other data of rsicd: delete it and run again" in refused(
        "data", "clean", "rsicd", "--dedup", "copies"
    )


def test_an_export_says_which_test_images_have_near_duplicates():
    """Hashes are blind to crops, and pixels are compared once somebody asks for it."""
    unknown = (
        "- Not measured by rule `copies`. To know, run `rsitr dedup thumbnails rsicd` and `rsitr dedup pairs rsicd`"
    )
    by_hash = "- 0 of 1 test images have one in train: 64-bit perceptual hashes"
    assert run("data", "export", "rsicd", "--format", "karpathy", "--out", "before").exit_code == 0
    before = Path("before/README.md").read_text(encoding="utf-8")
    assert by_hash in before
    assert unknown in before
    run("dedup", "pairs", "rsicd")
    assert run("data", "export", "rsicd", "--format", "karpathy", "--out", "after").exit_code == 0
    after = Path("after/README.md").read_text(encoding="utf-8")
    assert by_hash in after
    assert "- 1 of 1 test images have one in train: pixels agree" in after
    assert "Not measured" not in after


def test_what_is_missing_says_how_to_build_it():
    message = refused("data", "clean", "rsicd", "--dedup", "copies")
    assert "rsicd.parquet is missing: build it with `snakemake" in message
    assert "aid.parquet is missing: build it with `snakemake" in refused("dedup", "pairs", "aid")
    assert "dataset.parquet is missing" in refused("dedup", "thumbnails", "aid")
    assert "is missing: build it with" in refused("dedup", "show", "rsicd")


def test_joint_training_sets():
    for pair in (("rsicd",), ("rsitmd",), ("ucm",), ("rsicd", "rsitmd"), ("rsicd", "ucm"), ("rsitmd", "ucm")):
        run("dedup", "pairs", *pair)
    said = run("dedup", "joint", "ret-3").stdout
    assert said.startswith("data/joint/ret-3-copies.parquet: data ")
    assert said.endswith(", images: 2 of 5 left out (2 x near duplicate of a test image)\n")
    table = pq.ParquetFile(Paths.joint("ret-3", "copies")).read()
    frame, facts = table.to_pandas(), json.loads(table.schema.metadata[b"rsitr"])
    left = frame.loc[frame["keep"], ["dataset", "image_id"]].to_numpy().tolist()
    assert left == [["rsicd", "other.png"], ["rsitmd", "third.png"], ["ucm", "noise.png"]]
    because = frame.set_index(["dataset", "image_id"])["because"]
    assert list(because["ucm", "turned.png"]) == list(because["rsicd", "one.png"]) == ["rsicd/crop.png"]
    assert facts["datasets"] == ["rsicd", "rsitmd", "ucm"]
    assert "official" in refused("dedup", "joint", "official")


def test_pairs_and_groups_are_drawn():
    run("dedup", "pairs", "rsicd")
    run("dedup", "pairs", "rsicd", "ucm")
    assert run("dedup", "show", "rsicd", "ucm", "--out", "pairs.png").stdout == "pairs.png: 2 of 2 pairs\n"
    chosen = ("--pair", "turned.png", "crop.png", "--out", "pair.png")
    assert run("dedup", "show", "rsicd", "ucm", *chosen).stdout == "pair.png: 1 of 1 pairs\n"
    assert "not a pair of near duplicates" in refused("dedup", "show", "rsicd", "--pair", "one.png", "other.png")
    assert run("dedup", "group", "ucm", "turned.png").stdout == "group.png: 3 of 3 images, rsicd/crop.png is kept\n"
    assert "ucm/noise.png has no near duplicate" in refused("dedup", "group", "ucm", "noise.png")
    for name in ("pairs.png", "pair.png", "group.png"):
        with Image.open(Path(name)) as drawn:
            assert drawn.width > 400
