"""What became of the printed numbers in small experiments: comparable, not comparable and why, measured, or absent."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from rsitr.params import Params, parse_params
from rsitr.records.cell import UNCLAIMED, Published
from rsitr.tables import coverage
from rsitr.tables.coverage import Covered, cover
from rsitr.tables.declared import Declared, Shown
from rsitr.tables.not_rebuilt import KEY, NotRebuilt
from rsitr.tables.published import load, places
from tests.helpers.lab import Reader, written

SPLIT = "trained with the split protocol official instead of {}"


def lab(*methods: str, datasets: tuple[str, ...] = ("rsicd",), **fields: Any) -> Params:
    matrix = [{"datasets": [*datasets], "methods": [*methods], "seeds": [0, 1]}]
    return parse_params({"experiment": "lab", "experiments": {"lab": {"title": "Lab", "matrix": matrix} | fields}})


def row(found: dict[coverage.Value, Covered], metric: str = "mr", **key: str) -> Covered:
    """What became of one number."""
    frame = load()
    for field, value in key.items():
        frame = frame[frame[field].eq(value)]
    (place,) = frame.loc[frame["metric"].eq(metric)].index
    return found[place, metric]


VSEPP = {"paper": "amfmn2022", "table": "table2", "method": "vse++"}
CLIP = {"paper": "pir2024", "table": "table2", "method": "clip"}
COPIED = {"paper": "mtgfe2023", "table": "table2", "method": "vse++"}


def test_what_is_not_trained_needs_the_published_settings_alone() -> None:
    found = cover(lab("clip", dedup="copies"), "lab")
    assert row(found, **CLIP, dataset="rsicd") == Covered("comparable", "clip", "pir-table-2", role="main")
    assert row(found, **CLIP, dataset="rsitmd") == Covered("not in this experiment")
    changed = cover(lab("clip", settings={"all": {"prompt": "a photo of {}"}}), "lab")
    assert row(changed, **CLIP, dataset="rsicd").why == ("other settings in params.yaml",)
    # A setting that is the published one changes nothing.
    same = cover(lab("clip", settings={"all": {"prompt": "{}", "epochs": 3}}), "lab")
    assert row(same, **CLIP, dataset="rsicd").status == "comparable"


def test_what_is_trained_needs_the_images_of_the_paper_too() -> None:
    def trained(found: dict[coverage.Value, Covered], dataset: str, **key: str) -> list[str]:
        return [why for why in row(found, **key, dataset=dataset).why if why.startswith("trained ")]

    found = cover(lab("vse++@amfmn", "mtgfe", datasets=("rsicd", "rsitmd"), dedup="copies"), "lab")
    duplicates = "trained with the de-duplication rule copies instead of none"
    assert trained(found, "rsicd", **VSEPP) == [SPLIT.format("amfmn-holdout"), duplicates]
    of_mtgfe = {"paper": "mtgfe2023", "table": "table2", "method": "mtgfe"}
    assert trained(found, "rsicd", **of_mtgfe) == [duplicates]
    assert trained(found, "rsitmd", **of_mtgfe) == ["trained without the images of the val split", duplicates]
    assert trained(cover(lab("mtgfe"), "lab"), "rsicd", **of_mtgfe) == []


def test_tuned_settings_are_not_known_before_they_are_found() -> None:
    matrix = [{"datasets": ["rsicd"], "methods": ["vse++@amfmn", "clip"], "seeds": [0], "settings": "tuned"}]
    found = cover(lab(matrix=matrix, tuning={}), "lab")
    assert "tuned settings" in row(found, **VSEPP, dataset="rsicd").why
    assert row(found, **CLIP, dataset="rsicd").status == "comparable"  # it is not trained


def test_a_block_may_train_as_the_paper_of_a_row() -> None:
    blocks = [{"datasets": ["rsicd"], "methods": ["vse++@amfmn"], "seeds": [0], "split_protocol": "amfmn-holdout"}]
    joint = {"datasets": ["rsicd"], "methods": ["pir-clip@ret-3"], "seeds": [0], "split_protocol": "ret-3"}
    blocks.append(joint | {"dedup": "remoteclip"})
    raw = {"experiment": "lab", "experiments": {"lab": {"title": "Lab", "matrix": blocks}}}
    found = cover(parse_params(raw), "lab")
    assert row(found, **VSEPP, dataset="rsicd").ours == "vse++@amfmn"
    key = {"paper": "pir2024", "table": "table2", "method": "pir-clip", "dataset": "rsicd"}
    assert row(found, **key, variant="train=RET-3").ours == "pir-clip@ret-3"
    shown = [row(found, **VSEPP, dataset="rsicd"), row(found, **key, variant="train=RET-3")]
    assert not [why for each in shown for why in each.why if why.startswith("trained ")]


def test_a_method_says_itself_where_it_departs_and_a_table_where_a_row_differs() -> None:
    found = cover(lab("galr", "scan-i2t"), "lab")
    galr = row(found, paper="pir2024", table="table1", method="galr", dataset="rsicd")
    assert galr.status == "not comparable"
    assert "local branch on cells of the last feature map instead of detected objects" in galr.why
    scan = row(found, paper="pir2024", table="table1", method="scan-i2t", dataset="rsicd")
    assert scan.why[0].startswith("published with detected regions")
    times = row(cover(lab("vse++"), "lab"), "eval_time_s", **{**VSEPP, "table": "table7"}, dataset="rsicd")
    assert (times.ours, times.table, times.why[0]) == ("vse++", "amfmn-table-7", "times on other hardware")


def test_a_number_for_all_datasets_is_next_to_the_method_on_any() -> None:
    found = cover(lab("swan", datasets=("rsitmd",)), "lab")
    size = row(found, "params_m", paper="pir2024", table="table1", method="swan", dataset="")
    assert (size.ours, size.table) == ("swan", "pir-table-1")


def test_a_copied_row_is_copied_whatever_is_next_to_it() -> None:
    found = cover(lab("vse++"), "lab")
    assert row(found, **VSEPP, dataset="rsicd").ours == "vse++"
    assert row(found, **COPIED, dataset="rsicd") == Covered("copied", why=("the row vse++ of AMFMN's Table II",))


def test_a_cell_stands_before_a_reason_why_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever rebuilds a row need not touch the file of reasons."""
    key = {"paper": "pir2024", "table": "table2", "method": "pir-clip", "dataset": "rsicd"}
    line = NotRebuilt(**key | {"dataset": "*"}, variant="train=RET-*", kind="internals", reason="why")
    rows = load()[list(KEY)].reset_index().drop_duplicates().itertuples(index=False)
    fitting = {place: line for place, *fields in rows if line.fits(tuple(fields))}
    monkeypatch.setattr(coverage, "reasons", lambda: fitting)
    found = cover(lab("pir-clip@ret-3"), "lab")
    assert row(found, **key, variant="train=RET-3").ours == "pir-clip@ret-3"
    assert row(found, **key, variant="train=RET-2").status == "internals"


def test_facts_of_datasets_are_measured_where_the_experiment_has_them() -> None:
    found = cover(lab("vse++"), "lab")
    fig9 = {"paper": "amfmn2022", "table": "fig9", "method": "dataset"}
    assert row(found, "diversity", **fig9, dataset="rsicd") == Covered("measured", "statistics", "statistics")
    assert row(found, "diversity", **fig9, dataset="ucm").status == "not in this experiment"


def test_two_stages_are_next_to_the_paper_where_they_have_its_pair_and_length() -> None:
    stages = {"datasets": ["rsicd"], "scorer": "mtgfe", "filter": "retrieval-filter", "seeds": [0]}
    key = {"paper": "mtgfe2023", "table": "table4", "method": "mtgfe+filter"}
    found = {}
    for length in (64, 128):
        settings = {"methods": {"retrieval-filter": {"teacher": "mtgfe"}}}
        blocks = [{**stages, "shortlists": [length]}]
        found[length] = cover(lab("mtgfe", "retrieval-filter", two_stage=blocks, settings=settings), "lab")
    assert row(found[64], **key).status == "not in this experiment"
    assert row(found[128], **key).ours == "retrieval-filter"
    assert "times on other hardware" in row(found[128], "time_ms_i2t", **key).why
    assert row(found[64], **{**key, "method": "mtgfe"}).ours == "mtgfe"


@pytest.mark.parametrize("methods", [("vse++@joint", "vse++@amfmn"), ("vse++@amfmn", "vse++@joint")])
def test_of_several_of_ours_the_one_that_names_the_row_comes_first(
    methods: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    printed = places(Published(**VSEPP), "rsicd", ["mr"])
    shown = [Shown("a", printed, "rsicd", method) for method in methods]
    table = Declared("a", lambda material: [], "", shows=lambda experiment: shown)
    monkeypatch.setattr(coverage, "registry", lambda: {"a": table})
    assert row(cover(lab(*methods), "lab"), **VSEPP, dataset="rsicd").ours == "vse++@amfmn"
    (found,) = coverage.claimed(lab("vse++@joint"), "lab").values()
    assert found.ours == "vse++@joint"
    assert UNCLAIMED in found.why


class Read(Reader):
    def __init__(self, out: Path):
        self.out, self.name = out, "coverage"


def test_the_files_agree_with_each_other(tmp_path: Path) -> None:
    params = lab("vse++", "clip")
    paths = written(coverage.TABLE, tmp_path, params=params)
    assert [path.name for path in paths] == coverage.TABLE.files(params["lab"])
    reader = Read(tmp_path)
    lines = reader.long()
    counted = Counter(line["status"] for line in lines)
    assert len(lines) == 1566
    assert counted["comparable"] == 8  # clip on rsicd: seven recalls and its size
    text = [line for line in reader.read("csv").splitlines() if not line.startswith("#")]
    rows = [row for row in csv.DictReader(text) if row["table"] == "Printed values"]
    *tables, whole = rows
    heads = {"values": sum(counted.values()), "comparable": 8, "copied": counted["copied"], "validation split": 7}
    for head, number in heads.items():
        assert whole[head] == f"{number:,}"
        assert sum(int(row[head] or 0) for row in tables) == number
    second = next(line for line in lines if line["ours"] == "clip")
    assert (second["paper"], second["metric"], second["value"], second["shown in"]) == (
        *("pir2024", "i2t_r1"),
        *("4.76", "pir-table-2"),
    )
    page = reader.read("md")
    assert "| mtgfe2023 | table2 | vse++ | 28 | copied | the row vse++ of AMFMN's Table II |" in page
    assert f"| amfmn2022 | {SPLIT.format('amfmn-holdout')} | 9 | vse++ |" in page  # seven recalls and two times


def test_synthetic_data_has_no_such_table() -> None:
    assert coverage.TABLE.files(lab("vse++", datasets=("scenes-a", "scenes-b"))["lab"]) == []
    assert coverage.TABLE.files(lab("vse++", datasets=("scenes-a", "ucm"))["lab"])
