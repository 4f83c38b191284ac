"""The table of priors: which cells are compared, on which queries, and what is said where nothing is known."""

from __future__ import annotations

import csv

import numpy as np
import pandas as pd
import pytest

from rsitr.params.ids import CellId
from rsitr.records.files import seal_text
from rsitr.tables import prior_leak
from rsitr.tables.entries import alike
from tests.helpers.lab import Reader, Records, params, written

PRIORS = {"pir": "scenes://lab/aid", "pir@aid-clean": "scenes://lab/aid-clean", "pir@random": "none"}
METHODS = ["vse", *PRIORS, "pir@wide"]
SCENES = {"scenes://lab/aid": ["aid"], "scenes://lab/aid-clean": ["aid"], "scenes://lab/far": ["resisc45"]}
# Three images of two captions each; the prior has seen x and y.
IMAGES, TEXTS = ["x", "y", "z"], [0, 0, 1, 1, 2, 2]
LONG = "source,source_split,test,rule,images,of,percent,status,reason\n"
KNOWN = "aid,all,rsicd,remoteclip,0,3,0,ok,\naid,all,rsicd,copies,2,3,66.7,ok,\nrsicd,val,rsicd,copies,1,3,33.3,ok,\n"
SEEN = "test,test_image,source,source_split\nrsicd,x,aid,all\nrsicd,y,aid,all\nrsicd,z,rsicd,val\nucm,z,aid,all\n"


class Lab(Records, Reader):
    """Records with ranks, the table leakage, and the table."""

    name = "prior-leak"

    def put(self, method, seed, ranks, dataset="rsicd", **config):
        """A cell whose queries of image i have rank ``ranks[i]``, 1 or 30."""
        config = {"epochs": 9, "instruction_weights": PRIORS.get(method, PRIORS["pir"])} | config
        hits = np.mean([rank == 1 for rank in ranks])
        super().put(dataset, method, seed, 100.0 * float(hits), config=config)
        cell = CellId("lab", dataset, method, seed)
        frames = [
            pd.DataFrame({"direction": "i2t", "image_id": IMAGES, "rank": np.int32(ranks)}),
            pd.DataFrame({"direction": "t2i", "image_id": [IMAGES[i] for i in TEXTS], "rank": np.int32(ranks)[TEXTS]}),
        ]
        pd.concat(frames).to_parquet(self.cells / cell.path / "ranks.parquet")

    def leakage(self, long=KNOWN, images=SEEN):
        self.out.mkdir(exist_ok=True)
        (self.out / "leakage.long.csv").write_text(seal_text(LONG + long), encoding="utf-8")
        (self.out / "leakage.images.csv").write_text(seal_text(images), encoding="utf-8")

    def build(self, seeds=(0, 1), scenes=SCENES, methods=METHODS, datasets=("rsicd",)):
        paths = written(prior_leak.TABLE, self.out, view=self.view(params((datasets, methods, seeds))), scenes=scenes)
        assert [path.name for path in paths] == [f"prior-leak.{kind}" for kind in ("csv", "md", "tex", "html")]
        lines = [line for line in self.read("csv").splitlines() if not line.startswith("#")]
        rows = list(csv.DictReader(lines))
        return [[row for row in rows if row["table"] == name] for name in ("Prior", "Differences between priors")]


@pytest.fixture
def lab(tmp_path):
    """The leaking prior finds what it has seen, the clean one half of that, the random one nothing."""
    lab = Lab(tmp_path)
    lab.leakage()
    for seed in (0, 1):
        lab.put("pir", seed, (1, 1, 30))
        lab.put("pir@aid-clean", seed, (1, 30, 1))
        lab.put("pir@random", seed, (30, 30, 1 if seed else 30))
        lab.put("pir@wide", seed, (1, 1, 1), epochs=12)
        lab.put("vse", seed, (1, 1, 1), instruction_weights=None)
    return lab


def test_mr_among_what_the_prior_has_seen_and_among_the_rest(lab):
    found = {row["method"]: row for row in lab.build()[0]}
    # pir@wide trains longer and vse has no prior; neither has a partner.
    assert list(found) == ["pir", "pir@aid-clean", "pir@random"]
    assert [row["prior"] for row in found.values()] == ["aid", "aid-clean", "random"]
    assert {row["test images: all/overlapping/other"] for row in found.values()} == {"3/2/1"}
    shown = {name: [row[f"mR, {part}"] for part in ("all", "overlapping", "other")] for name, row in found.items()}
    assert shown == {
        "pir": ["66.67 ± 0.00", "100.00 ± 0.00", "0.00 ± 0.00"],
        "pir@aid-clean": ["66.67 ± 0.00", "50.00 ± 0.00", "100.00 ± 0.00"],
        "pir@random": ["16.67 ± 23.57", "0.00 ± 0.00", "50.00 ± 70.71"],
    }


def test_the_differences_and_their_significance(lab):
    rows = {row["priors"]: row for row in lab.build()[1]}
    assert list(rows) == ["aid minus aid-clean", "aid minus random", "aid-clean minus random"]
    shown = {
        name: [row[f"{part} queries Δ mR"] for part in ("all", "overlapping", "other")] for name, row in rows.items()
    }
    assert shown == {
        "aid minus aid-clean": ["+0.00", "+50.00", "-100.00"],
        "aid minus random": ["+50.00", "+100.00", "-50.00"],
        "aid-clean minus random": ["+50.00", "+50.00", "+50.00"],
    }
    # One image alone has no spread: every draw is on one side, 2 / 2001, times the nine comparisons at most.
    row = rows["aid minus aid-clean"]
    assert (row["other queries 95 % interval"], row["other queries p"]) == ("-100.00 to -100.00", "0.009")
    assert {row["method"] for row in rows.values()} == {"pir"}


def test_an_incomplete_set_of_seeds_is_compared_with_nothing(lab):
    (lab.cells / CellId("lab", "rsicd", "pir@random", 1).path / "cell.json").unlink()
    members, differences = lab.build()
    row = members[2]
    assert row["seeds"] == "1/2"
    assert [lab.note(row[f"mR, {part}"]) for part in ("all", "overlapping", "other")] == ["seed 1: not run yet"] * 3
    assert [row["all queries Δ mR"] for row in differences] == ["+0.00", "", ""]


@pytest.mark.parametrize(
    ("long", "scenes", "reason"),
    [
        (KNOWN.replace(",ok", ",unknown"), SCENES, "near duplicates of rsicd in aid were not counted"),
        (None, SCENES, "near duplicates of rsicd in aid were not counted"),
        (KNOWN, {}, "no prior of this family is in params.yaml, so what it has seen is unknown"),
    ],
)
def test_what_is_not_known_is_not_claimed(lab, long, scenes, reason):
    if long is None:
        (lab.out / "leakage.long.csv").unlink()
    else:
        lab.leakage(long)
    members, differences = lab.build(scenes=scenes)
    assert [members[0][f"mR, {part}"][:2] for part in ("all", "overlapping", "other")] == ["66", "NA", "NA"]
    assert lab.note(members[0]["mR, other"]) == reason
    assert [differences[0][f"{part} queries Δ mR"] for part in ("all", "overlapping", "other")] == ["+0.00", "", ""]


def test_where_nothing_or_everything_overlaps_a_part_is_empty(lab):
    lab.leakage(images="test,test_image,source,source_split\n")
    row = lab.build()[0][0]
    assert row["test images: all/overlapping/other"] == "3/–/3"
    assert lab.note(row["mR, overlapping"]) == "no test image has a near duplicate in what the priors were trained on"
    assert row["mR, other"] == row["mR, all"] == "66.67 ± 0.00"
    lab.leakage(images=SEEN + "rsicd,z,aid,all\n")
    assert lab.note(lab.build()[0][0]["mR, other"]) == "no other test image"


def test_without_two_priors_there_is_nothing_to_compare(lab):
    members, differences = lab.build(methods=["pir", "vse"])
    assert members == differences == []
    assert prior_leak.NONE.split("`")[0] in lab.read("md")


def test_alike_are_those_of_one_method_that_agree_in_all_the_rest(lab):
    lab.put("vse@far", 0, (1, 1, 1), instruction_weights="scenes://lab/far")
    lab.put("chance", 0, (1, 1, 1))
    methods = ["chance", "pir@wide", "vse@far", "pir@random", "pir", "vse"]
    entries = lab.view(params((["rsicd"], methods, [0]))).entries.values()
    groups = [[entry.method for entry in same] for same in alike(entries, {"instruction_weights"})]
    assert groups == [["chance"], ["pir@wide"], ["vse@far", "vse"], ["pir@random", "pir"]]
    assert list(alike(entries, {"instruction_weights", "absent"})) == []


def test_the_role_of_each_prior(lab):
    chosen = params((["rsicd"], ["pir"], [0, 1]), (["rsicd"], ["pir@aid-clean", "pir@random"], [0, 1], "ablation"))
    written(prior_leak.TABLE, lab.out, view=lab.view(chosen), scenes=SCENES)
    lines = [line for line in lab.read("csv").splitlines() if not line.startswith("#")]
    roles = {row["method"]: row["role"] for row in csv.DictReader(lines) if row["table"] == "Prior"}
    assert roles == {"pir": "main", "pir@aid-clean": "ablation", "pir@random": "ablation"}
