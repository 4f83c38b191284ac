"""The published numbers as data: complete, in range, unique, and their contradictions in plain sight."""

from __future__ import annotations

import pandas as pd
import pytest

from rsitr.errors import DatasetError, ParamsError
from rsitr.records.cell import Published
from rsitr.tables import published
from rsitr.tables.published import FILE, METRICS, RECALLS, UNITS, checks, describe, discrepancy, load, lookup, typed

VSEPP = Published(paper="amfmn2022", table="table2", method="vse++")
TABLE4 = Published(paper="amfmn2022", table="table4", method="amfmn")
INPUTS = ("input=sentence", "input=keywords", "input=sentence+keywords")
SOFT = Published(paper="amfmn2022", table="table2", method="amfmn-soft")


def written() -> pd.DataFrame:
    """The file as text."""
    return pd.read_csv(FILE, dtype=str, keep_default_na=False)


def test_every_value_is_typed():
    frame = load()
    assert len(frame) == 1566
    assert frame["value"].dtype == float
    assert not frame.isna().any().any()


def test_a_row_gives_its_recalls_and_what_else_it_prints():
    """Line 239 of the file, as PIR's Table II prints it; its number of parameters is in ``other``."""
    rows = load().query("method == 'skyclip' and backbone == 'ViT-L / Transformer' and dataset == 'rsicd'")
    assert dict(zip(rows["metric"], rows["value"], strict=True)) == {
        "i2t_r1": 7.04,
        "i2t_r5": 17.75,
        "i2t_r10": 27.08,
        "t2i_r1": 6.40,
        "t2i_r5": 21.21,
        "t2i_r10": 34.00,
        "mr": 18.91,
        "params_m": 428,
    }
    assert set(rows["note"]) == {"zero-shot (no fine-tuning data printed)"}
    assert len(set(rows.index)) == 1


def test_units_name_exactly_the_metrics_of_the_file():
    assert set(UNITS) == set(load()["metric"])


def test_each_mean_recall_stands_with_its_six_recalls():
    # One mean recall is from a text, without its recalls.
    counts = load().query("metric in @METRICS and table != 'sec4.4.2-prose'")["metric"].value_counts()
    assert counts.to_dict() == dict.fromkeys(METRICS, 199)


def test_contradicting_mean_recalls_are_these_five():
    found = [
        (row.paper, row.table, row.method, row.variant, row.dataset, row.printed, round(row.recomputed, 2))
        for row in checks().itertuples()
    ]
    assert found == [
        ("amfmn2022", "table2", "amfmn-soft", "", "rsicd", 16.02, 16.16),
        ("mtgfe2023", "table2", "mtgfe", "", "sydney", 61.52, 65.12),
        ("mtgfe2023", "table3", "mtgfe", "ITM+MLM+MVJRC", "rsitmd", 40.78, 39.16),
        ("pir2024", "table1", "dove", "", "rsitmd", 37.73, 38.7),
        ("pir2024", "table1", "hvsa", "", "rsicd", 20.61, 20.16),
    ]
    assert checks()["difference"].round(2).tolist() == [-0.14, -3.60, 1.62, -0.97, 0.45]


def test_the_notes_of_the_file_tell_of_the_same_contradictions():
    frame = load()
    noted = frame[frame["metric"].eq("mr") & frame["note"].str.contains("six recalls give")]
    assert sorted(noted["value"]) == sorted(checks()["printed"])


def test_a_difference_that_rounding_explains_is_no_contradiction(monkeypatch):
    rows = load().query("method == 'vse++' and table == 'table2' and paper == 'amfmn2022' and dataset == 'rsicd'")
    mean = rows[rows["metric"].isin(RECALLS)]["value"].mean()  # 62.59 / 6 = 10.4317
    for printed, expected in ((mean + 0.0099, 0), (mean - 0.0101, 1)):
        changed = rows.assign(value=rows["value"].where(rows["metric"].ne("mr"), printed))
        monkeypatch.setattr(published, "load", lambda changed=changed: changed)
        assert len(checks()) == expected


def test_lookup_gives_recalls_and_mean():
    assert lookup(VSEPP, "rsicd") == {
        "i2t_r1": 3.38,
        "i2t_r5": 9.51,
        "i2t_r10": 17.46,
        "t2i_r1": 2.82,
        "t2i_r5": 11.32,
        "t2i_r10": 18.10,
        "mr": 10.43,
    }


def test_a_dataset_that_the_paper_does_not_have_is_no_error():
    assert lookup(VSEPP, "scenes-a") == {}


def test_a_key_without_rows_is_an_error():
    with pytest.raises(ParamsError, match=r"no recalls for amfmn2022 table2, vsepp: correct"):
        lookup(VSEPP.model_copy(update={"method": "vsepp"}), "rsicd")


def test_a_key_finds_its_row_whatever_the_queries():
    found = {variant: lookup(TABLE4.model_copy(update={"variant": variant}), "rsitmd")["mr"] for variant in INPUTS}
    assert list(found.values()) == [29.72, 20.80, 30.58]
    with pytest.raises(ParamsError, match="fits 3 published rows on rsitmd"):
        lookup(TABLE4, "rsitmd")


def test_other_metrics_are_looked_up_by_name_and_without_a_dataset():
    key = Published(paper="amfmn2022", table="table7", method="scan")
    times = ("eval_time_s", "inference_time_s")
    assert [lookup(key, dataset, times) for dataset in ("ucm", "", "scenes-a")] == [
        {"eval_time_s": 5.51},
        {"inference_time_s": 0.1025},
        {},
    ]
    with pytest.raises(ParamsError, match="no recalls for amfmn2022 table7, scan"):
        lookup(key, "ucm")
    with pytest.raises(ParamsError, match=r"no eval_time_s or inference_time_s for amfmn2022 table2, vse\+\+"):
        lookup(VSEPP, "ucm", times)


def test_an_ambiguous_key_lists_what_it_fits():
    vague = Published(paper="pir2024", table="table1", method="vse", backbone="Swin-T / BERT")
    with pytest.raises(ParamsError, match=r"fits 3 published rows on rsicd") as error:
        lookup(vague, "rsicd")
    assert [f"variant={v!r}" in str(error.value) for v in ("loss=TL", "loss=CL", "+TEL")] == [True] * 3
    assert lookup(vague.model_copy(update={"variant": "loss=CL"}), "rsicd")["mr"] > 0


def test_discrepancy_speaks_of_the_row_it_concerns():
    assert discrepancy(SOFT, "rsicd") == "printed mR 16.02, its six recalls give 16.16"
    assert discrepancy(SOFT, "rsitmd") == ""


def test_a_key_in_words():
    assert describe(VSEPP) == "amfmn2022 table2, vse++"
    key = Published(paper="pir2024", table="table1", method="vse", variant="loss=TL", backbone="ResNet-50 / GRU")
    assert describe(key) == "pir2024 table1, vse (loss=TL, ResNet-50 / GRU)"


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("method", "VSE++", "method is not a lower-case id: line 3"),
        ("dataset", "RSICD", "dataset is not a lower-case id: line 3"),
        ("protocol", "closed", "protocol is unknown: line 3"),
        ("task", "image", "task is unknown: line 3"),
        ("other", "r1=5", "metric is unknown: add it to UNITS with its unit: line 3"),
        ("i2t_r1", "100.1", "value is not a number from 0, or up to 100 for a share: line 3"),
        ("mr", "-0.1", "value is not a number from 0, or up to 100 for a share: line 3"),
        ("mr", "n/a", "value is not a number from 0, or up to 100 for a share: line 3"),
        ("other", "images=7 words", "value is not a number from 0, or up to 100 for a share: line 3"),
        ("other", "images=7 images=8", "the same number twice: line 3"),
        ("other", "i2t_r1=5", "the same number twice: line 3"),
        ("dataset", "rsicd", "the same number twice: line 2, 3"),
    ],
)
def test_a_faulty_row_is_named_by_its_line(column, value, message):
    rows = written().query("method == 'vse++' and table == 'table2' and dataset in ('rsicd', 'rsitmd')").head(2)
    rows = rows.assign(train_data="").reset_index(drop=True)
    typed(rows)
    rows.loc[1, column] = value
    with pytest.raises(DatasetError) as error:
        typed(rows)
    assert str(error.value).splitlines() == ["published.csv must be repaired:", f"  {message}"]


def test_a_count_may_exceed_a_hundred_and_columns_may_not_change():
    assert load().query("metric == 'images'")["value"].max() == 10921
    with pytest.raises(DatasetError, match="the columns must be paper,table"):
        typed(written().drop(columns="note"))
