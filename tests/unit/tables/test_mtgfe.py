"""The tables of MTGFE: every printed number, the size of the datasets, and retrieval in two stages."""

from __future__ import annotations

import csv
from types import SimpleNamespace

import pandas as pd
import pytest

from rsitr.params import parse_params
from rsitr.records.artefact import Outcome
from rsitr.records.cell import Published
from rsitr.records.files import write_json
from rsitr.records.paths import Paths
from rsitr.records.two_stage import Point, Seconds, TwoStageRecord, Way
from rsitr.tables import mtgfe_datasets, mtgfe_filter
from rsitr.tables.mtgfe import TABLES
from rsitr.tables.published import METRICS
from rsitr.tables.two_stage import collect
from tests.helpers.lab import PaperLab, Reader, params, placed_numbers, printed_numbers, written

BY_NUMBER = {int(table.name[-1]): table for table in TABLES}
KEY = Published(paper="mtgfe2023", table="table2", method="mtgfe")
AMFMN = Published(paper="amfmn2022", table="table2", method="amfmn-sim")


@pytest.fixture
def lab(tmp_path):
    return PaperLab(tmp_path)


@pytest.mark.parametrize("number", [2, 3])
def test_every_printed_number_has_its_place(number):
    place = ("mtgfe2023", number, "method", "variant")
    assert placed_numbers(BY_NUMBER[number], *place) == printed_numbers(*place) != {}


def test_the_rows_are_these():
    assert [row.method for row in BY_NUMBER[2].rows] == [
        *("vse++", "scan-t2i", "mtfn", "sam", "amfmn-sim", "lw-mcr@distilled", "mafa-net", "fbclm", "galr", "mtgfe"),
        *("envlf", "vse"),
    ]
    tasks = {row.method: "".join("x" if fact else "." for fact in row.facts) for row in BY_NUMBER[3].rows}
    assert tasks == {"mtgfe@itm": "x..", "mtgfe@itm-mlm": "xx.", "mtgfe@itm-mvjrc": "x.x", "mtgfe": "xxx"}


def test_ours_theirs_and_what_cannot_be_rebuilt(lab):
    lab.put("ucm", "mtgfe", 0, 60.0, published=KEY)
    lab.put("ucm", "amfmn-sim", 0, 50.0, published=AMFMN)
    lab.build(BY_NUMBER[2], params((["ucm"], ["mtgfe", "amfmn-sim"], [0])))
    rows = lab.rows()
    assert (rows["MTGFE"]["ucm published mR"], rows["MTGFE"]["ucm Δ mR"]) == ("71.00", "-11.00")
    assert rows["MTGFE"]["sydney published mR"].startswith("61.52 [")
    assert lab.note(rows["MTGFE"]["sydney published mR"]) == "printed mR 61.52, its six recalls give 65.12"
    for name in ("SAM", "MAFA-Net", "FBCLM"):
        assert rows[name]["method"] == ""
        assert lab.note(rows[name]["ucm mR"]).startswith("not rebuilt (internals not public): ")
    # The paper's AMFMN is one form of it on ucm and another on sydney: no difference is shown to either.
    assert rows["AMFMN"]["ucm Δ mR"].startswith("n/c [")
    assert "AMFMN-fusion on ucm and rsicd" in lab.note(rows["AMFMN"]["ucm Δ mR"])
    assert lab.note(rows["EnVLF"]["ucm published mR"]) == "not in the paper"
    assert rows["SAM"]["rsitmd published mR"].startswith("– [")


def test_the_ablation_stands_beside_the_paper(lab):
    key = Published(paper="mtgfe2023", table="table3", method="mtgfe", variant="ITM")
    lab.put("rsitmd", "mtgfe@itm", 0, 40.0, published=key)
    lab.build(BY_NUMBER[3], params((["rsitmd"], ["mtgfe@itm"], [0])))
    rows = lab.rows()
    assert (rows["ITM"]["rsitmd Δ mR"], rows["ITM"]["MLM"], rows["ITM+MLM"]["MLM"]) == ("+2.40", "", "✓")
    assert lab.note(rows["ITM"]["rsitmd published mR"]) == "the text gives an mR of 38.89"
    assert "its six recalls give 39.16" in lab.read("csv")


def frame():
    images = [(["a", "b"], "x", 40, 30), (["a", "b"], "y", 40, 40), (["c"], "y", 50, 20), ([], "", 0, 0)]
    return pd.DataFrame(images, columns=["captions", "class_name", "width", "height"])


def test_sizes_of_a_dataset_by_hand():
    assert [cell.text for cell in mtgfe_datasets.measured(frame())] == ["4", "5", "2 (0 to 2)", "2", "40 (40 to 50)"]
    nameless = mtgfe_datasets.measured(frame()[1:2].assign(class_name=None))
    assert [cell.text for cell in nameless] == ["1", "2", "2", "–", "40"]


class Read(Reader):
    def __init__(self, out, name):
        self.out, self.name = out, name


def test_sizes_as_printed_and_as_found(tmp_path, monkeypatch):
    facts = SimpleNamespace(synthetic=False)
    table = SimpleNamespace(to_pandas=frame)
    monkeypatch.setattr(mtgfe_datasets, "read_table", lambda path: (table, facts))
    written(mtgfe_datasets.TABLE, tmp_path, canonical={"ucm": tmp_path, "nwpu": tmp_path})
    reader = Read(tmp_path, "mtgfe-table-1")
    rows = reader.rows()
    assert list(rows) == ["ucm", "sydney", "rsicd", "rsitmd", "nwpu"]
    columns = ("images", "captions", "captions per image", "classes", "side (px)")
    for dataset in ("ucm", "sydney", "rsicd", "rsitmd"):
        shown = [rows[dataset][f"MTGFE published {column}"] for column in columns]
        values = [float(text.partition(" ")[0]) for text in shown]
        metrics = ("images", "captions", "captions_per_image", "classes", "image_size_px")
        assert values == [
            printed_numbers("mtgfe2023", 1, "method", "variant")["dataset", "", dataset, metric] for metric in metrics
        ]
    assert reader.note(rows["sydney"]["MTGFE published captions"]).startswith("613 images of 5 captions are 3,065")
    assert reader.note(rows["sydney"]["ours images"]) == "not part of this experiment"
    assert reader.note(rows["nwpu"]["MTGFE published images"]) == "not in the paper"
    assert rows["ucm"]["ours images"] == "4"
    facts.synthetic = True
    written(mtgfe_datasets.TABLE, tmp_path, canonical={"scenes-a": tmp_path})
    assert "published" not in reader.read("csv")
    assert list(reader.rows()) == ["scenes-a (synthetic)"]


def answered(mr, i2t, t2i):
    metrics = dict.fromkeys(METRICS, 10.0) | {"mr": mr}
    return {"metrics": metrics, "seconds": Seconds(i2t=i2t, t2i=t2i)}


def two_stage(dataset="rsicd", seed=0, scorer="mtgfe", chosen="retrieval-filter", shift=0.0, **changes):
    """A record: the scorer alone takes .4 and .1 s a query, with 128 candidates .02 and .05 s."""
    stages = {"filter_seconds": Seconds(i2t=0, t2i=0), "rerank_seconds": Seconds(i2t=0, t2i=0)}
    times = ((32, 39.0, 0.01, 0.025), (128, 39.5, 0.02, 0.05))
    made = TwoStageRecord(
        **{"experiment": "lab", "dataset": dataset, "scorer": scorer, "filter": chosen, "seed": seed},
        exhaustive=Way(**answered(40 + shift, 0.4, 0.1)),
        filtered=Way(**answered(20, 0.001, 0.001)),
        points=[Point(**answered(mr + shift, *way), k=k, **stages) for k, mr, *way in times],
        data={"synthetic": dataset.startswith("scenes")},
    )
    return made.model_copy(update=changes)


@pytest.fixture
def stages(tmp_path, monkeypatch):
    """``stages(*records)`` builds table 4 of an experiment that asks for these, and for the two seeds of each."""
    monkeypatch.chdir(tmp_path)

    def build(*records, stale=None, **block):
        blocks = [
            {"datasets": [r.dataset], "scorer": r.scorer, "filter": r.filter, "shortlists": [32, 128], "seeds": [0, 1]}
            for r in records
        ]
        matrix = [{"datasets": ["rsicd"], "methods": ["mtgfe"], "seeds": [0]} | block]
        lab = {"title": "The lab", "matrix": matrix, "two_stage": blocks}
        chosen = parse_params({"experiment": "lab", "experiments": {"lab": lab}})
        for record in records:
            write_json(Paths.two_stage(record.id), record)
        series = collect(chosen, "lab", stale or {})
        written(mtgfe_filter.TABLE, tmp_path, experiment=chosen["lab"], series=series)
        return Read(tmp_path, "mtgfe-table-4")

    return build


def lines_of(reader):
    text = [line for line in reader.read("csv").splitlines() if not line.startswith("#")]
    return list(csv.DictReader(text))


def test_two_stages_next_to_the_paper(stages):
    reader = stages(two_stage(), two_stage(seed=1, shift=1.0))
    rows = lines_of(reader)
    assert [(row["scorer"], row["filter"], row["K"]) for row in rows] == [
        *(("MTGFE", "", "all"), ("MTGFE+Filter", "retrieval-filter", "128")),
        ("mtgfe", "retrieval-filter", "32"),
    ]
    whole, filtered, short = rows
    assert (whole["ours mR"], whole["ours i2t time (ms)"]) == ("40.50 ± 0.71", "400.00 ± 0.00")
    assert (whole["ours lost mR"], short["ours lost mR"]) == ("", "1.00 ± 0.00")
    assert (filtered["ours mR"], filtered["ours lost mR"]) == ("40.00 ± 0.71", "0.50 ± 0.00")
    assert (filtered["ours i2t times faster"], filtered["ours t2i times faster"]) == ("20.00 ± 0.00", "2.00 ± 0.00")
    heads = {name: f"MTGFE published {head}" for name, head in mtgfe_filter.COLUMNS.items()}
    for row, method in ((whole, ("mtgfe", "")), (filtered, ("mtgfe+filter", "k=128"))):
        found = {(*method, "rsicd", name): float(row[head]) for name, head in heads.items()}
        assert found == {
            key: value
            for key, value in printed_numbers("mtgfe2023", 4, "method", "variant").items()
            if key[:2] == method
        }
    assert reader.note(short[heads["mr"]]) == "not in the paper"


def test_the_role_of_a_retrieval_is_next_to_its_filter(stages):
    pair = {"scorer": "scan-t2i", "chosen": "vse"}
    reader = stages(two_stage(**pair), two_stage(**pair, seed=1), methods=["vse"], role="control")
    rows = lines_of(reader)
    assert [*rows[0]][1:5] == ["scorer", "filter", "role", "K"]
    assert [row["role"] for row in rows] == ["", "", "control", "control", "control"]


def test_the_papers_rows_stand_without_ours_and_others_below(stages):
    pair = {"scorer": "scan-t2i", "chosen": "vse", "dataset": "ucm"}
    reader = stages(two_stage(**pair), two_stage(**pair, seed=1))
    rows = lines_of(reader)
    assert [(row["scorer"], row["K"]) for row in rows] == [
        *(("MTGFE", "all"), ("MTGFE+Filter", "128")),
        *(("scan-t2i", "all"), ("scan-t2i", "32"), ("scan-t2i", "128")),
    ]
    assert (rows[0]["MTGFE published mR"], rows[1]["MTGFE published mR"]) == ("30.68", "29.80")
    assert reader.note(rows[0]["ours mR"]) == "not part of this experiment"


def test_what_has_no_number_says_why(stages):
    failed = two_stage(outcome=Outcome(status="failed", reason="a slip"))
    reader = stages(failed)
    assert reader.note(lines_of(reader)[0]["ours mR"]) == "seed 0: failed: a slip; seed 1: not run yet"
    whole = two_stage(seed=1)
    reader = stages(two_stage(), whole, stale={whole.id: ["code"]})
    shown = lines_of(reader)[0]["ours mR"]
    assert "†" in shown
    assert reader.note(shown) == "made by other code than the present (seed 1)"


def test_synthetic_numbers_stand_alone(stages):
    reader = stages(two_stage("scenes-a"), two_stage("scenes-a", 1))
    assert "published" not in reader.read("csv")
    assert "scenes-a (synthetic)" in reader.read("csv")


def test_nothing_without_two_stages(tmp_path):
    assert written(mtgfe_filter.TABLE, tmp_path, series=[]) == []
