"""The tables of the PIR paper: every printed number, those that nobody can rebuild, and what is not comparable."""

from __future__ import annotations

import subprocess
import sys

import pytest

from rsitr.figures import curves
from rsitr.records.cell import Published
from rsitr.tables import pir_curves
from rsitr.tables.pir import TABLES
from tests.helpers.lab import PaperLab, params, placed_numbers, printed_numbers

BY_NUMBER = {int(table.name[-1]): table for table in TABLES}
NUMBERS = sorted(BY_NUMBER)
SOFT = Published(paper="pir2024", table="table1", method="pir-itr-soft")  # rsitmd: mR 39.25, 161 M parameters
AMFMN = Published(paper="amfmn2022", table="table2", method="scan-t2i")
REGIONS = "not rebuilt (regions not public): its regions come from a detector (RoI Transformer, trained on DOTA)"


@pytest.fixture
def lab(tmp_path):
    return PaperLab(tmp_path)


@pytest.mark.parametrize("number", NUMBERS)
def test_every_printed_number_has_its_place(number):
    place = ("pir2024", number, "method", "variant", "backbone")
    assert placed_numbers(BY_NUMBER[number], *place) == printed_numbers(*place) != {}


ROWS = {
    1: "vse@resnet-gru-triplet scan-i2t scan-t2i camp-triplet camera lw-mcr@distilled amfmn-sim galr kcr swan hvsa "
    "dove vse@vit-bert vse@swin-bert-triplet vse vse@tel pir-itr-hard pir-itr-soft vse++ camp-bce "
    "vse@deit-bert lw-mcr",
    2: "clip clip-ft pe-rsitr remoteclip remoteclip@vit-l-14 skyclip skyclip@vit-l-14 georsclip georsclip-ft "
    "georsclip@ret-2 pir-clip pir-clip@ret-2 pir-clip@ret-3",
    3: "pir-itr-hard@baseline pir-itr-hard@spatial pir-itr-hard@temporal pir-itr-hard@affiliation "
    "pir-itr-hard@spatial-temporal pir-itr-hard@spatial-affiliation pir-itr-hard@temporal-affiliation pir-itr-hard "
    "pir-itr-soft@baseline pir-itr-soft@spatial pir-itr-soft@temporal pir-itr-soft@affiliation "
    "pir-itr-soft@spatial-temporal pir-itr-soft@spatial-affiliation pir-itr-soft@temporal-affiliation pir-itr-soft "
    "clip-ft pir-clip@no-affiliation pir-clip@affiliation pir-clip",
    4: "pir-itr-hard@keep-10 pir-itr-hard@keep-20 pir-itr-hard@keep-30 pir-itr-hard pir-itr-hard@keep-50 pir-itr-soft",
    5: "pir-itr-hard@vgg16-aid pir-itr-hard@vgg19-aid pir-itr-hard pir-itr-hard@resnet101-aid pir-itr-hard@vit-aid "
    "pir-itr-hard@swin-t-aid pir-itr-hard@vgg16-imagenet pir-itr-hard@resnet50-imagenet pir-itr-hard@swin-t-imagenet "
    "pir-itr-hard@vgg16-resisc45 pir-itr-hard@resnet50-resisc45 pir-itr-hard@swin-t-resisc45 "
    "pir-itr-hard@resnet50-aid-clean pir-itr-hard@random-prior",
}


@pytest.mark.parametrize("number", NUMBERS)
def test_the_rows_are_these(number):
    assert [row.method for row in BY_NUMBER[number].rows] == ROWS[number].split()


def test_what_each_row_is_said_to_be():
    table = BY_NUMBER[3]
    assert table.facts == ("model", "S-PAE", "T-PAE", "L_A")
    ticks = {row.method: "".join("x" if fact else "." for fact in row.facts[1:]) for row in table.rows}
    assert [ticks[f"pir-itr-hard@{name}"] for name in ("baseline", "spatial", "temporal", "affiliation")] == [
        *("...", "x..", ".x.", "..x")
    ]
    assert [ticks[name] for name in ("pir-itr-hard", "pir-itr-soft", "pir-clip")] == ["xxx", "xxx", "x.x"]
    assert {row.published.variant for row in table.rows if row.published} >= {"baseline", "CLIP-baseline", "+S-PAE+L_A"}
    table = BY_NUMBER[2]
    trained = {row.method: row.facts[1:] for row in table.rows}
    assert trained["clip"] == ("WIT (CLIP)", "")
    assert trained["georsclip@ret-2"] == ("RS5M", "RET-2")
    assert trained["pir-clip"] == ("RS5M", "the dataset itself")
    assert {row.facts for row in BY_NUMBER[4].rows} == {("hard",), ("soft",)}


def test_who_cannot_be_rebuilt_keeps_the_published_row_with_the_typed_reason(lab):
    lab.put("rsicd", "vse", 0, 20.0, published=SOFT)
    lab.build(BY_NUMBER[1], params((["rsicd"], ["vse"], [0])))
    rows = lab.rows()
    for name, value in (("CAMERA", "14.39"), ("KCR", "19.89"), ("DOVE", "22.72")):
        row = rows[name]
        assert (row["method"], row["rsicd published mR"]) == ("", value)
        assert row["rsicd mR"].startswith("NA [")
        assert row["rsicd Δ mR"] == row["rsicd seeds"] == row["rsicd mR"]
    assert lab.note(rows["DOVE"]["rsicd mR"]).startswith(REGIONS)
    assert lab.note(rows["KCR"]["rsicd mR"]) == (
        "not rebuilt (internals not public): what is public of it does not say how to build it"
    )
    assert lab.note(rows["KCR"]["rsitmd published mR"]) == "not in the paper"
    # One that could be there and is not is another thing.
    assert rows["SWAN"]["method"] == "swan"
    assert rows["SWAN"]["rsicd mR"].startswith("– [")
    assert lab.note(rows["SWAN"]["rsicd mR"]) == "not part of this experiment"
    mean = [row for row in lab.long() if (row["dataset"], row["metric"], row["variant"]) == ("rsicd", "mr", "")]
    long = {row["method"]: row for row in mean}
    assert {name: long[name]["status"] for name in ("dove", "swan", "vse")} == {
        **{"dove": "not rebuilt", "swan": "absent", "vse": "ok"}
    }
    assert long["dove"]["published"] == "22.72"
    assert long["dove"]["reason"].startswith(REGIONS)


def test_slips_of_the_paper_stand_as_printed_with_a_footnote(lab):
    lab.put("rsicd", "vse", 0, 20.0, published=SOFT)
    lab.build(BY_NUMBER[1], params((["rsicd"], ["vse"], [0])))
    text = lab.read("csv")
    assert "printed mR 20.61, its six recalls give 20.16" in text  # HVSA on RSICD
    assert "printed mR 37.73, its six recalls give 38.70" in text  # DOVE on RSITMD
    assert lab.rows()["DOVE"]["rsitmd published mR"].startswith("37.73 [")


def test_ours_theirs_and_how_large_they_are(lab):
    size = {"parameters": {"total": 160_987_654, "trainable": 5}}
    for seed, value in enumerate((38.0, 40.0)):
        lab.put("rsitmd", "pir-itr-soft", seed, value, published=SOFT, **size)
        lab.put("rsitmd", "scan-t2i", seed, value, published=AMFMN)
        lab.put("rsitmd", "vse++", seed, value, published=AMFMN)
    lab.build(BY_NUMBER[1], params((["rsitmd"], ["pir-itr-soft", "scan-t2i", "vse++"], [0, 1])))
    rows = lab.rows()
    soft = rows["PIR-ITR with soft"]
    assert (soft["rsitmd mR"], soft["rsitmd Δ mR"]) == ("39.00 ± 1.41", "-0.25")
    assert (soft["rsitmd published mR"], soft["any dataset published parameters (M)"]) == ("39.25", "161")
    assert soft["rsitmd parameters (M)"].startswith("160.99")
    # No deviation is recorded, but what the paper has read regions.
    assert lab.note(rows["SCAN t2i"]["rsitmd Δ mR"]).endswith(
        "published with detected regions (RoI Transformer) instead of the cells of a feature map"
    )
    assert lab.note(rows["SCAN t2i"]["rsitmd parameters (M)"]) == "not stated in the records"
    assert lab.note(rows["VSE++"]["rsitmd Δ mR"]) == "not in the paper"
    page = lab.read("md")
    assert "**160.99" not in page  # no size is the best one
    assert "**161**" not in page


def test_a_pair_of_towers_is_compared_with_the_row_of_its_training_data(lab):
    key = Published(paper="pir2024", table="table2", method="georsclip-ft", variant="train=RET-2")
    lab.put("rsicd", "georsclip@ret-2", 0, 40.0, published=key)
    lab.build(BY_NUMBER[2], params((["rsicd"], ["georsclip@ret-2"], [0])))
    row = next(row for row in lab.long() if (row["variant"], row["metric"]) == ("ret-2", "mr"))
    assert (row["dataset"], row["published"], row["delta"]) == ("rsicd", "38.87", "1.13")


def test_the_names_of_the_tables_cost_no_library():
    code = "import sys, rsitr.tables.pir; print({'torch', 'matplotlib', 'pandas'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_curves_go_through_the_methods_own_configuration(lab, monkeypatch):
    drawn = []
    monkeypatch.setattr(curves, "draw", lambda title, panels, path: drawn.append(panels) or path)
    own = {"keep": 40, "affiliation": 1.0, "temporal": True}
    overlays = {"": {}, "@keep-10": {"keep": 10}, "@keep-20": {"keep": 20}, "@baseline": {"temporal": False, "keep": 9}}
    for variant, overlay in overlays.items():
        for seed in (0, 1):
            value = (own | overlay)["keep"] + seed
            lab.put("rsitmd", f"pir-itr-hard{variant}", seed, value, config=own | overlay)
    (lab.cells / "lab/rsitmd/pir-itr-hard@keep-20/1/cell.json").unlink()
    methods = [f"pir-itr-hard{variant}" for variant in overlays]
    paths = pir_curves.build(lab.view(params((["rsitmd"], methods, [0, 1]))), lab.out)
    assert [path.name for path in paths] == ["pir-curves.png"]
    scale, size = drawn[0]
    assert scale.curves == ()
    ours, theirs = size.curves
    # keep-20 has a seed too few, and the baseline is another model.
    assert ours == curves.Curve("pir-itr-hard, rsitmd", ((10.0, (10.0, 11.0)), (40.0, (40.0, 41.0))))
    assert [seeds[0] for _, seeds in theirs.points] == [37.98, 38.0, 37.24, 38.24, 37.48]
    assert pir_curves.TABLE.files(params((["rsitmd"], ["vse"], [0]))["lab"]) == []
