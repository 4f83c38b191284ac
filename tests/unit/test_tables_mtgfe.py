"""The tables of MTGFE: every printed number, the size of the datasets, and retrieval in two stages."""

from __future__ import annotations

import csv
import re
from types import SimpleNamespace

import pandas as pd
import pytest

from rsitr.cells import Outcome, Published
from rsitr.tables import mtgfe_datasets, mtgfe_filter
from rsitr.tables.mtgfe import TABLES
from rsitr.tables.published import FILE, METRICS, lookup
from tests.unit.lab import PaperLab, Reader, params

BY_NUMBER = {int(table.name[-1]): table for table in TABLES}
KEY = Published(paper="mtgfe2023", table="table2", method="mtgfe")
AMFMN = Published(paper="amfmn2022", table="table2", method="amfmn-sim")


@pytest.fixture
def lab(tmp_path):
    return PaperLab(tmp_path)


def printed_numbers(number):
    """Every number that the paper prints in a table, as published.csv has it."""
    with FILE.open(encoding="utf-8") as file:
        return {
            (row["method"], row["variant"], row["dataset"], row["metric"]): float(row["value"])
            for row in csv.DictReader(file)
            if (row["paper"], row["table"]) == ("mtgfe2023", f"table{number}")
        }


@pytest.mark.parametrize("number", [2, 3])
def test_every_printed_number_has_its_place(number):
    table, found = BY_NUMBER[number], {}
    for row in table.rows:
        for dataset in table.datasets if row.published else ():
            key = row.published
            assert (key.paper, key.table) == ("mtgfe2023", f"table{number}")
            values = lookup(key, dataset, tuple(table.printed))
            found.update({(key.method, key.variant, dataset, metric): value for metric, value in values.items()})
    assert found == printed_numbers(number)


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
    mtgfe_datasets.build({"ucm": tmp_path, "nwpu": tmp_path}, "lab", tmp_path)
    reader = Read(tmp_path, "mtgfe-table-1")
    rows = reader.rows()
    assert list(rows) == ["ucm", "sydney", "rsicd", "rsitmd", "nwpu"]
    columns = ("images", "captions", "captions per image", "classes", "side (px)")
    for dataset in ("ucm", "sydney", "rsicd", "rsitmd"):
        shown = [rows[dataset][f"MTGFE published {column}"] for column in columns]
        values = [float(text.partition(" ")[0]) for text in shown]
        metrics = ("images", "captions", "captions_per_image", "classes", "image_size_px")
        assert values == [printed_numbers(1)["dataset", "", dataset, metric] for metric in metrics]
    assert reader.note(rows["sydney"]["MTGFE published captions"]).startswith("613 images of 5 captions are 3,065")
    assert reader.note(rows["sydney"]["ours images"]) == "not part of this experiment"
    assert reader.note(rows["nwpu"]["MTGFE published images"]) == "not in the paper"
    assert rows["ucm"]["ours images"] == "4"
    facts.synthetic = True
    mtgfe_datasets.build({"scenes-a": tmp_path}, "lab", tmp_path)
    assert "published" not in reader.read("csv")
    assert list(reader.rows()) == ["scenes-a (synthetic)"]


def answered(mr, i2t, t2i, k=0):
    times = SimpleNamespace(i2t=i2t, t2i=t2i)
    return SimpleNamespace(metrics=dict.fromkeys(METRICS, mr), seconds=times, k=k)


def two_stage(shift=0.0, status="ok"):
    """A run: the scorer alone takes .4 and .1 s a query, with 128 candidates .02 and .05 s."""
    points = [answered(39.0 + shift, 0.01, 0.025, 32), answered(39.5 + shift, 0.02, 0.05, 128)]
    ways = {"exhaustive": answered(40 + shift, 0.4, 0.1), "filtered": answered(20, 0.001, 0.001), "points": points}
    return SimpleNamespace(outcome=Outcome(status=status, reason="why" if status != "ok" else ""), **ways)


def expected(*records, dataset="rsicd", scorer="mtgfe", chosen="retrieval-filter", **facts):
    return mtgfe_filter.Expected(dataset, scorer, chosen, records, **facts)


def table_4(out, *found):
    mtgfe_filter.build(found, "lab", "The lab", out)
    return Read(out, "mtgfe-table-4")


def lines_of(reader):
    text = [line for line in reader.read("csv").splitlines() if not line.startswith("#")]
    return list(csv.DictReader(text))


def test_two_stages_beside_the_paper(tmp_path):
    reader = table_4(tmp_path, expected(two_stage(), two_stage(1.0)))
    rows = lines_of(reader)
    assert [(row["scorer"], row["filter"], row["K"]) for row in rows] == [
        *(("MTGFE", "", ""), ("MTGFE+Filter", "retrieval-filter", "128")),
        *(("mtgfe", "retrieval-filter", "32"), ("retrieval-filter", "", "")),
    ]
    whole, filtered, short, alone = rows
    assert (whole["ours mR"], whole["ours i2t time (ms)"], whole["ours lost mR"]) == (
        *("40.50 ± 0.71", "400.00 ± 0.00"),
        "",
    )
    assert filtered["ours mR"] == "40.00 ± 0.71"
    assert filtered["ours lost mR"] == "0.50 ± 0.00"
    assert (filtered["ours i2t times faster"], filtered["ours t2i times faster"]) == ("20.00 ± 0.00", "2.00 ± 0.00")
    assert (short["ours lost mR"], alone["ours lost mR"]) == ("1.00 ± 0.00", "20.50 ± 0.71")
    heads = {name: f"MTGFE published {head}" for name, head in mtgfe_filter.PRINTED.items()}
    for row, method in ((whole, ("mtgfe", "")), (filtered, ("mtgfe+filter", "k=128"))):
        found = {(*method, "rsicd", name): float(row[head]) for name, head in heads.items()}
        assert found == {key: value for key, value in printed_numbers(4).items() if key[:2] == method}
    assert reader.note(short[heads["mr"]]) == "not in the paper"


def test_the_papers_rows_stand_without_ours_and_others_below(tmp_path):
    other = expected(two_stage(), scorer="scan-t2i", chosen="vse")
    rows = lines_of(table_4(tmp_path, other))
    assert [row["scorer"] for row in rows] == ["MTGFE", "MTGFE+Filter", "scan-t2i", "scan-t2i", "scan-t2i", "vse"]
    assert rows[0]["MTGFE published mR"] == "30.68"
    assert rows[0]["ours mR"].startswith("– [")
    assert [(row["filter"], row["K"]) for row in rows[2:]] == [("", ""), ("vse", "32"), ("vse", "128"), ("", "")]


def test_what_has_no_number_says_why(tmp_path):
    failed = expected(two_stage(), two_stage(status="failed"), None, dataset="ucm")
    rows = lines_of(table_4(tmp_path, failed))
    ours = next(row for row in rows if row["scorer"] == "mtgfe")
    assert ours["ours mR"].startswith("NA [")
    assert Read(tmp_path, "mtgfe-table-4").note(ours["ours mR"]) == "failed: why; not run yet"
    uneven = two_stage()
    uneven.points.pop()
    rows = lines_of(table_4(tmp_path, expected(two_stage(), uneven, dataset="ucm", stale=("code",))))
    ours = {row["K"]: row["ours mR"] for row in rows if row["scorer"] == "mtgfe"}
    assert ours["128"].startswith("NA [")
    assert re.fullmatch(r"40\.00 ± 0\.00 \[†\d+\]", ours[""])


def test_synthetic_numbers_stand_alone(tmp_path):
    reader = table_4(tmp_path, expected(two_stage(), dataset="scenes-a", synthetic=True))
    assert "published" not in reader.read("csv")
    assert "scenes-a (synthetic)" in reader.read("csv")
    assert mtgfe_filter.build([], "lab", "The lab", tmp_path) == []
