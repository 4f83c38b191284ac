"""Tables from made-up records: what stands in each cell, what stands below, and that equal input gives equal bytes."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from rsitr.datasets.splits import SplitData
from rsitr.datasets.table import DATASET_SCHEMA, DatasetFacts
from rsitr.figures import comparison as figure
from rsitr.params import parse_params
from rsitr.records.artefact import Outcome
from rsitr.records.cell import Published
from rsitr.records.parquet import write_table
from rsitr.retrieval.rank_files import SplitRanks, write_ranks
from rsitr.retrieval.recall import Ranks
from rsitr.tables import comparison, datasets, tidy
from tests.helpers.lab import Records, params, written

OTHERS = ["ablation", "protocol", "control"]
KINDS = ("csv", "md", "tex", "html", "narrow.tex", "long.csv", "png")
OWN = "official-none"
"""The clean table of a dataset's own splits."""

VSEPP = Published(paper="amfmn2022", table="table2", method="vse++")  # on ucm: mR 36.93
MTFN = Published(paper="amfmn2022", table="table2", method="mtfn")  # on ucm: mR 44.65
COMMAND = "snakemake --cores 8 all --config experiment=lab"


class Lab(Records):
    """Writes records and builds the comparison of the experiment ``lab``."""

    def build(self, chosen, overlaps=None):
        return comparison.build(self.view(chosen, overlaps), self.out)

    def read(self, suffix):
        return (self.out / f"comparison.{suffix}").read_text(encoding="utf-8")

    def cell(self, method, column):
        """Text of the first table's cell in the csv."""
        rows = csv.DictReader(line for line in self.read("csv").splitlines() if not line.startswith("#"))
        return next(row for row in rows if row["method"] == method)[column]

    def long(self):
        return pd.read_csv(self.out / "comparison.long.csv", keep_default_na=False, dtype=str)


@pytest.fixture
def lab(tmp_path):
    return Lab(tmp_path)


MIXED = params((["ucm", "scenes-a"], ["chance", "vse++"], [0, 1]), (["ucm"], ["vse@big"], [0]))


@pytest.fixture
def mixed(lab):
    """Every fate a cell can have, on two datasets."""
    lab.put("ucm", "chance", 0, 2.0)
    lab.put("ucm", "chance", 1, 4.0)
    lab.put("ucm", "vse++", 0, 40.0, published=VSEPP)
    lab.put("ucm", "vse++", 1, 42.0, published=VSEPP)
    lab.put("ucm", "vse@big", 0, 50.0, stale=["code", "data"], published=MTFN, deviations=["epochs 2 instead of 30"])
    lab.put("scenes-a", "chance", 0, 10.0)
    lab.put("scenes-a", "vse++", 0, outcome=Outcome(status="failed", reason="OSError: disk\nfull | 100%"))
    lab.put("scenes-a", "vse++", 1, outcome=Outcome(status="skipped", reason="weights unavailable: a_b.pt"))
    return lab


def repeat(text, separator, times=7):
    return separator.join([text] * times)


HEAD = "i2t R@1 | i2t R@5 | i2t R@10 | t2i R@1 | t2i R@5 | t2i R@10 | mR"
MIXED_MARKDOWN = f"""\
# The lab

## Recall

Recall at K and mR, the mean of the six recalls, on the test split in percent: mean ± sample standard deviation over \
seeds; one seed has no deviation. Bold: best of the column, among two or more rows of role main with all their seeds \
and no fewer than most main rows here have on the dataset (any number without training). Δ mR: mean minus published \
value; n/c: the configurations are not comparable. Synthetic data (scenes-a): not comparable with any published number.

### ucm

| method | seeds | {HEAD} | published mR | Δ mR |
|:--|{"--:|" * 10}
| chance | 2 | {repeat("3.00 ± 1.41", " | ")} |  |  |
| vse++ | 2 | {repeat("41.00 ± 1.41", " | ")} | 36.93<sup>2</sup> | +4.07 |
| vse@big | 1 | {repeat("**50.00**<sup>†4</sup>", " | ")} | 44.65<sup>5</sup> | n/c<sup>6</sup> |

### scenes-a (synthetic)

| method | seeds | {HEAD} |
|:--|{"--:|" * 8}
| chance | 1/2 | {repeat("NA<sup>1</sup>", " | ")} |
| vse++ | 0/2 | {repeat("NA<sup>3</sup>", " | ")} |
| vse@big | {repeat("–<sup>7</sup>", " | ", 8)} |

- <sup>1</sup> seed 1: not run yet
- <sup>2</sup> published in amfmn2022 table2, vse++
- <sup>3</sup> seed 0: failed: OSError: disk full \\| 100%; seed 1: skipped: weights unavailable: a\\_b.pt
- <sup>†4</sup> made by other code and data than the present
- <sup>5</sup> published in amfmn2022 table2, mtfn
- <sup>6</sup> not comparable with the published value: epochs 2 instead of 30
- <sup>7</sup> not part of this experiment

## Duplicate-aware recall

As above, but a caption identical to one of the image's own, or to one of an identical picture, counts as its own. \
Last row: the ceiling that identical captions and pictures set for the recalls above.

### ucm

| method | {HEAD} |
|:--|{"--:|" * 7}
| chance | {repeat("4.00 ± 1.41", " | ")} |
| vse++ | {repeat("42.00 ± 1.41", " | ")} |
| vse@big | {repeat("**51.00**<sup>†4</sup>", " | ")} |
| caption ceiling | {repeat("96.50", " | ")} |

### scenes-a (synthetic)

| method | {HEAD} |
|:--|{"--:|" * 7}
| chance | {repeat("NA<sup>1</sup>", " | ")} |
| vse++ | {repeat("NA<sup>3</sup>", " | ")} |
| vse@big | {repeat("–<sup>7</sup>", " | ")} |
| caption ceiling | {repeat("96.50", " | ")} |

- <sup>1</sup> seed 1: not run yet
- <sup>3</sup> seed 0: failed: OSError: disk full \\| 100%; seed 1: skipped: weights unavailable: a\\_b.pt
- <sup>†4</sup> made by other code and data than the present
- <sup>7</sup> not part of this experiment

Reproduce with `{COMMAND}`
"""


def test_every_fate_of_a_cell_in_markdown(mixed):
    mixed.build(MIXED)
    assert mixed.read("md") == MIXED_MARKDOWN


def test_every_fate_of_a_cell_in_csv(mixed):
    mixed.build(MIXED)
    names = HEAD.split(" | ")
    header = ["table", "method", *(f"ucm {name}" for name in ("seeds", *names, "published mR", "Δ mR"))]
    header += [f"scenes-a (synthetic) {name}" for name in ("seeds", *names)]
    assert mixed.read("csv").splitlines() == [
        ",".join(header),
        f"Recall,chance,2,{repeat('3.00 ± 1.41', ',')},,,1/2,{repeat('NA [1]', ',')}",
        f"Recall,vse++,2,{repeat('41.00 ± 1.41', ',')},36.93 [2],+4.07,0/2,{repeat('NA [3]', ',')}",
        f"Recall,vse@big,1,{repeat('50.00 [†4]', ',')},44.65 [5],n/c [6],{repeat('– [7]', ',', 8)}",
        f"Duplicate-aware recall,chance,,{repeat('4.00 ± 1.41', ',')},,,,{repeat('NA [1]', ',')}",
        f"Duplicate-aware recall,vse++,,{repeat('42.00 ± 1.41', ',')},,,,{repeat('NA [3]', ',')}",
        f"Duplicate-aware recall,vse@big,,{repeat('51.00 [†4]', ',')},,,,{repeat('– [7]', ',')}",
        f"Duplicate-aware recall,caption ceiling,,{repeat('96.50', ',')},,,,{repeat('96.50', ',')}",
        "# [1] seed 1: not run yet",
        "# [2] published in amfmn2022 table2, vse++",
        "# [3] seed 0: failed: OSError: disk full | 100%; seed 1: skipped: weights unavailable: a_b.pt",
        "# [†4] made by other code and data than the present",
        "# [5] published in amfmn2022 table2, mtfn",
        "# [6] not comparable with the published value: epochs 2 instead of 30",
        "# [7] not part of this experiment",
        f"# {COMMAND}",
    ]
    assert pd.read_csv(mixed.out / "comparison.csv", comment="#").shape == (7, 20)


def test_the_tidy_table_has_every_metric_of_every_expected_pair(mixed):
    mixed.build(MIXED)
    rows = mixed.long()
    assert list(rows) == list(tidy.COLUMNS)
    assert len(rows) == 5 * 21  # three methods on ucm, two on scenes-a; recalls, duplicate-aware, ceilings
    assert list(rows["dataset"].unique()) == ["ucm", "scenes-a"]
    assert set(rows["clean"]) == {"official-none"}
    shown = (
        rows[rows["metric"].eq("mr")].drop(columns=["table", "metric", "prior_overlap", "clean"]).to_numpy().tolist()
    )
    assert shown == [
        ["ucm", "chance", "", "main", "2", "3.0", "1.414214", "", "", "ok", "", ""],
        ["ucm", "vse++", "", "main", "2", "41.0", "1.414214", "36.93", "4.07", "ok", "", ""],
        [
            *["ucm", "vse", "big", "main", "1", "50.0", "", "44.65", "", "stale"],
            "made by other code and data than the present; "
            "not comparable with the published value: epochs 2 instead of 30",
            "",
        ],
        ["scenes-a", "chance", "", "main", "1", "", "", "", "", "incomplete", "seed 1: not run yet", ""],
        [
            *["scenes-a", "vse++", "", "main", "0", "", "", "", "", "failed"],
            "seed 0: failed: OSError: disk full | 100%; seed 1: skipped: weights unavailable: a_b.pt",
            "",
        ],
    ]
    first = rows[rows["method"].eq("vse++") & rows["metric"].eq("i2t_r1")].iloc[0]
    assert (first["published"], first["delta"]) == ("12.38", "28.62")  # every recall has its counterpart here
    assert set(rows[rows["metric"].str.contains("_.*_")]["published"]) == {""}


def test_equal_input_gives_equal_bytes_and_the_paths_are_those_written(mixed):
    paths = mixed.build(MIXED)
    assert [path.name for path in paths] == [f"comparison.{s}" for s in KINDS]
    first = {path: path.read_bytes() for path in paths}
    mixed.build(MIXED)
    assert {path: path.read_bytes() for path in mixed.out.iterdir()} == first
    picture = first[mixed.out / "comparison.png"]
    assert picture.startswith(b"\x89PNG")
    assert not any(key in picture for key in (b"tEXt", b"tIME", b"Software"))


def test_nothing_run_yet_still_gives_a_complete_table(lab):
    lab.build(params((["ucm"], ["vse"], [0, 1])))
    assert "| vse | 0/2 |" in lab.read("md")
    assert "- <sup>1</sup> not run yet\n" in lab.read("md")
    assert set(lab.long()["status"]) == {"missing"}


def test_records_outside_the_matrix_are_not_read(lab):
    lab.put("ucm", "vse", 0, 20.0)
    lab.put("ucm", "vse", 1, 90.0)
    lab.put("rsicd", "vse++", 0, 90.0)
    lab.build(params((["ucm"], ["vse"], [0])))
    assert lab.cell("vse", "ucm mR") == "20.00"
    assert "90" not in lab.read("md") + lab.read("long.csv")


def test_synthetic_numbers_never_stand_beside_published_ones(lab):
    lab.put("ucm", "vse++", 0, 40.0, published=VSEPP, data={"synthetic": True})
    lab.build(params((["ucm"], ["vse++"], [0])))
    assert "### ucm (synthetic)" in lab.read("md")
    assert "36.93" not in lab.read("md") + lab.read("long.csv")


def test_a_published_number_stands_beside_a_cell_that_was_skipped(lab):
    lab.put("ucm", "vse++", 0, outcome=Outcome(status="skipped", reason="no weights"), published=VSEPP)
    lab.build(params((["ucm"], ["vse++"], [0])))
    assert lab.cell("vse++", "ucm published mR") == "36.93 [2]"
    assert lab.cell("vse++", "ucm Δ mR") == "NA [1]"


def test_a_published_contradiction_stays_visible(lab):
    soft = Published(paper="amfmn2022", table="table2", method="amfmn-soft")
    lab.put("rsicd", "vse", 0, 20.0, published=soft)
    lab.build(params((["rsicd"], ["vse"], [0])))
    assert "amfmn-soft; printed mR 16.02, its six recalls give 16.16\n" in lab.read("md")


def test_seeds_made_by_different_code_are_told_apart(lab):
    lab.put("ucm", "vse", 0, 10.0, stale=["parameters"])
    lab.put("ucm", "vse", 1, 20.0)
    lab.put("ucm", "vse", 2, 30.0, stale=["parameters"])
    lab.build(params((["ucm"], ["vse"], [0, 1, 2])))
    assert lab.cell("vse", "ucm mR") == "20.00 ± 10.00 [†1]"
    assert "- <sup>†1</sup> seeds 0, 2: made by other parameters than the present\n" in lab.read("md")


def test_a_failure_of_older_code_says_so(lab):
    lab.put("ucm", "vse", 0, outcome=Outcome(status="failed", reason="boom"), stale=["code"])
    lab.build(params((["ucm"], ["vse"], [0])))
    assert "failed: boom (record made by other code than the present)\n" in lab.read("md")


def test_the_difference_to_the_published_value_is_marked_when_stale(lab):
    lab.put("ucm", "vse++", 0, 36.0, stale=["code"], published=VSEPP)
    lab.build(params((["ucm"], ["vse++"], [0])))
    assert lab.cell("vse++", "ucm Δ mR") == "-0.93 [†1]"


ROLES = params(
    (["ucm"], ["chance"], [0], "control"),
    (["ucm"], ["vse@selected-on-test"], [0], "protocol"),
    (["ucm", "rsicd"], ["vse@tel"], [0], "ablation"),
    (["ucm", "rsicd"], ["vse"], [0]),
    (["ucm"], ["vse++@tel"], [0], "ablation"),
    (["rsicd"], ["vse++@tel"], [0]),
)


def test_a_control_is_never_the_best_and_equal_means_share_the_place(lab):
    for method, value in (("chance", 60.0), ("vse", 50.001), ("vse++", 50.004), ("clip", 49.9)):
        lab.put("ucm", method, 0, value)
    lab.build(params((["ucm"], ["chance"], [0], "control"), (["ucm"], ["vse", "vse++", "clip"], [0])))
    main = lab.read("md").split("## Duplicate-aware")[0]
    assert [main.count(text) for text in ("**50.00**", "**60.00**", "**49.90**", "**")] == [14, 0, 0, 28]


def test_a_metric_that_the_records_lack_is_named(lab):
    lab.put("ucm", "vse", 0, 20.0)
    lab.put("ucm", "vse", 1)
    lab.build(params((["ucm"], ["vse"], [0, 1])))
    assert "- <sup>1</sup> not stated in the records\n" in lab.read("md")


def put_ranks(lab, dataset, method, rank):
    """Ranks of two images and four captions, all the same."""
    names, captions = ["x", "y"], [f"caption {number}" for number in range(4)]
    split = SplitData(names, [*map(Path, names)], ["", ""], captions, np.array([0, 0, 1, 1]), ("", ""))
    ranks = SplitRanks(*[Ranks(np.full(2, rank), np.full(4, rank))] * 3)
    write_ranks(lab.cells / "lab" / dataset / method / "0" / "ranks.parquet", split, ranks)


def test_metrics_are_those_of_the_ranks_and_not_those_a_record_states(lab):
    lab.put("ucm", "vse", 0, 20.0)
    lab.put("ucm", "vse++", 0)  # as records of the second version are: no recall in them
    for method, rank in (("vse", 1), ("vse++", 6)):
        put_ranks(lab, "ucm", method, rank)
    lab.build(params((["ucm"], ["vse", "vse++"], [0])))
    assert lab.cell("vse", "ucm mR") == "100.00"
    assert (lab.cell("vse++", "ucm i2t R@5"), lab.cell("vse++", "ucm i2t R@10")) == ("0.00", "100.00")
    assert lab.cell("vse++", "ucm mR") == "33.33"
    # What ranks do not say is the record's.
    assert lab.read("md").count("| caption ceiling | 96.50 |") == 1


def test_ranks_of_a_cell_that_failed_are_no_result(lab):
    lab.put("ucm", "vse", 0, outcome=Outcome(status="failed", reason="boom"))
    put_ranks(lab, "ucm", "vse", 1)
    lab.build(params((["ucm"], ["vse"], [0])))
    assert lab.cell("vse", "ucm mR") == "NA [1]"
    assert "100.00" not in lab.read("md")


TRAINED = {"total": 9, "trainable": 4}
NOT_TRAINED = {"total": 9, "trainable": 0}
LEAKY = params((["rsicd", "ucm"], ["chance", "clip", "vse++"], [0]))


@pytest.fixture
def leaky(lab):
    """A method without training, one with weights of its own, and one that was trained, on two datasets."""
    for dataset in ("rsicd", "ucm"):
        lab.put(dataset, "chance", 0, 1.0, parameters=NOT_TRAINED)
        lab.put(dataset, "clip", 0, 30.0, parameters=NOT_TRAINED)
        lab.put(dataset, "vse++", 0, 40.0, parameters=TRAINED, published=VSEPP)
    return lab


def test_numbers_of_methods_that_saw_test_images_in_training_are_marked(leaky):
    leaky.build(LEAKY, overlaps={("rsicd", OWN): (1024, 1093), ("ucm", OWN): (0, 210)})
    note = "- <sup>‡1</sup> 1,024 of 1,093 test images with a near duplicate in train (rule copies)\n"
    text = leaky.read("md")
    assert text.count(note) == 2  # below either table
    assert text.count("‡") == 2 + 7 + 1 + 7  # the notes, the recalls, the difference, the duplicate-aware recalls
    assert leaky.cell("vse++", "rsicd mR") == "40.00 [‡1]"
    assert leaky.cell("vse++", "rsicd Δ mR").endswith(" [‡1]")
    assert leaky.cell("vse++", "ucm mR") == "40.00"
    assert [leaky.cell(method, "rsicd mR") for method in ("chance", "clip")] == ["1.00", "30.00"]
    assert "were not counted" not in text
    assert r"40.00}\textsuperscript{\ddag{}1}" in leaky.read("tex")


def test_the_tidy_table_counts_what_was_seen_in_training(leaky):
    leaky.build(LEAKY, overlaps={("rsicd", OWN): (1024, 1093), ("ucm", OWN): (0, 210)})
    rows = leaky.long()
    found = {place: set(group["overlap"]) for place, group in rows.groupby(["dataset", "method"])}
    assert found == {
        **{(dataset, method): {""} for dataset in ("rsicd", "ucm") for method in ("chance", "clip")},
        ("rsicd", "vse++"): {"1024"},
        ("ucm", "vse++"): {"0"},
    }


@pytest.mark.parametrize("overlaps", [None, {("rsicd", OWN): None, ("ucm", OWN): (0, 210)}], ids=["none", "one"])
def test_what_was_not_measured_is_said_once_and_marks_nothing(leaky, overlaps):
    leaky.build(LEAKY, overlaps=overlaps)
    text, named = leaky.read("md"), "rsicd" if overlaps else "rsicd, ucm"
    assert text.count(f" Near duplicates of test images in train were not counted for {named}.\n") == 1
    assert "‡" not in text
    assert set(leaky.long().query("dataset == 'rsicd'")["overlap"]) == {""}


def test_where_nothing_was_trained_nothing_had_to_be_measured(lab):
    lab.put("ucm", "chance", 0, 1.0, parameters=NOT_TRAINED)
    lab.put("ucm", "vse", 0, outcome=Outcome(status="failed", reason="boom"), parameters=TRAINED)
    lab.build(params((["ucm"], ["chance", "vse"], [0])))
    assert "were not counted" not in lab.read("md")


def test_a_number_may_be_stale_and_leak(lab):
    lab.put("ucm", "vse", 0, 40.0, parameters=TRAINED, stale=["code"])
    lab.build(params((["ucm"], ["vse"], [0])), overlaps={("ucm", OWN): (3, 210)})
    assert lab.cell("vse", "ucm mR") == "40.00 [†1] [‡2]"


def test_the_comparison_page_and_paper_end_with_the_command(mixed):
    mixed.build(MIXED)
    html, tex = mixed.read("html"), mixed.read("tex")
    assert html.count("<table>") == tex.count(r"\begin{table*}") == 2
    assert set(re.findall(r'href="#([^"]+)"', html)) == set(re.findall(r'id="([^"]+)"', html)) != set()
    assert html.endswith(f"<p>Reproduce with <code>{COMMAND}</code></p>\n</body>\n</html>\n")
    assert tex.endswith(f"\\par\n}}\n% {COMMAND}\n")


def test_a_tall_comparison_is_set_by_paper(lab):
    methods = ["vse++", "vse", "mtgfe", "chance", "pir-clip", *(f"vse++@{number}" for number in range(45))]
    lab.build(params((["ucm"], methods, [0])))
    captions = re.findall(r"\\caption\{(\w+ \([^)]*\)|[^.]*)", lab.read("tex"))
    papers = ["AMFMN, 1 of 2", "AMFMN, 2 of 2", "PIR", "MTGFE", "others"]
    assert captions == [f"Recall ({paper})" for paper in papers] + [
        *(f"Duplicate-aware recall ({paper})" for paper in papers)
    ]


def test_the_narrow_form_has_the_mean_recall_of_main_methods(lab):
    lab.put("ucm", "vse", 0, 10.0)
    lab.put("ucm", "vse@tel", 0, 20.0)
    lab.build(params((["ucm", "rsicd"], ["vse", "vse++"], [0]), (["ucm"], ["vse@tel"], [0], "ablation")))
    lines = lab.read("narrow.tex").splitlines()
    assert lines[1] == r"\begin{table}"
    assert [line for line in lines if line.endswith(r" \\")] == [
        r"method & ucm \\",
        r"vse & 10.00 \\",
        r"vse++ & NA\textsuperscript{1} \\",
    ]
    assert lines[-3] == r"\textsuperscript{1}~not run yet\par"


def test_a_wholly_synthetic_picture_says_so(lab, monkeypatch):
    titles = []
    monkeypatch.setattr(figure, "draw", lambda title, panels, path: titles.append(title))
    for dataset in ("scenes-a", "ucm"):
        lab.put(dataset, "vse", 0, 10.0)
    lab.build(params((["scenes-a"], ["vse"], [0])))
    lab.build(params((["scenes-a", "ucm"], ["vse"], [0])))
    assert titles == ["lab: The lab (synthetic data)", "lab: The lab"]


def test_the_picture_leaves_out_what_has_no_number_unless_nothing_has(lab, monkeypatch):
    drawn = []
    monkeypatch.setattr(figure, "draw", lambda title, panels, path: drawn.append(panels))
    chosen = params((["ucm", "rsicd", "sydney"], ["vse", "vse++", "chance"], [0]))
    lab.build(chosen)
    lab.put("ucm", "vse", 0, 10.0)
    lab.put("rsicd", "chance", 0, 1.0)
    lab.build(chosen)
    shown = [[(panel.title, *(bar.method for bar in panel.bars)) for panel in panels] for panels in drawn]
    assert shown[0] == [(dataset, "vse", "vse++", "chance") for dataset in ("ucm", "rsicd", "sydney")]
    assert shown[1] == [("ucm", "vse", "chance"), ("rsicd", "vse", "chance")]


def test_main_rows_come_first_and_others_by_role(lab):
    lab.build(ROLES)
    lines = [line for line in lab.read("csv").splitlines() if not line.startswith("#")]
    rows = [(row["table"], row["method"], row["role"]) for row in csv.DictReader(lines)]
    order = [
        ("vse", "main"),
        ("vse++@tel", "main (rsicd), ablation (ucm)"),
        ("vse@tel", "ablation"),
        ("vse@selected-on-test", "protocol"),
        ("chance", "control"),
    ]
    assert [row[1:] for row in rows if row[0] == "Recall"] == order
    assert [row[1:] for row in rows if row[0] != "Recall"] == [*order, ("caption ceiling", "")]
    assert lab.read("tex").count(r"\midrule") == 2 + 3 + 4  # below the heads; above the first of each role; the ceiling
    assert lab.read("html").count('<tr class="rule">') == 3 + 4
    found = {(row["dataset"], row["method"], row["variant"]): row["role"] for _, row in lab.long().iterrows()}
    assert found["ucm", "vse++", "tel"] == found["rsicd", "vse", "tel"] == "ablation"
    assert found["rsicd", "vse++", "tel"] == found["ucm", "vse", ""] == "main"


def test_where_all_are_main_there_is_no_column_of_roles(mixed):
    mixed.build(MIXED)
    assert "role" not in mixed.read("csv").splitlines()[0].split(",")


def test_each_role_has_its_picture_with_the_method_itself_as_a_mark(lab, monkeypatch):
    drawn = {}
    monkeypatch.setattr(figure, "draw", lambda title, panels, path: drawn.update({path.name: (title, panels)}))
    for method, value in (("vse", 50.0), ("vse@tel", 40.0), ("chance", 1.0), ("vse++@tel", 30.0)):
        lab.put("ucm", method, 0, value)
    lab.put("rsicd", "vse++@tel", 0, 20.0)
    lab.build(ROLES)
    bars = {
        name: [(panel.title, bar.method, bar.seeds, bar.base) for panel in panels for bar in panel.bars]
        for name, (_, panels) in drawn.items()
    }
    assert bars == {
        "comparison.png": [
            *(("ucm", "vse", (50.0,), None), ("ucm", "vse++@tel", (), None)),
            *(("rsicd", "vse", (), None), ("rsicd", "vse++@tel", (20.0,), None)),
        ],
        "comparison.ablation.png": [("ucm", "vse++@tel", (30.0,), None), ("ucm", "vse@tel", (40.0,), 50.0)],
        "comparison.protocol.png": [
            *(("ucm", "vse@selected-on-test", (), 50.0), ("rsicd", "vse@selected-on-test", (), None)),
        ],
        "comparison.control.png": [("ucm", "chance", (1.0,), None)],
    }
    assert [title for title, _ in drawn.values()] == ["lab: The lab", *(f"lab, role {role}" for role in OTHERS)]
    assert [*comparison.TABLE.files(ROLES["lab"])][-4:] == [*drawn]


def put_dataset(path, synthetic=False):
    rows = [
        ("a", "train", "port", ["Two boats.", "two boats", "a pier"], ""),
        ("b", "train", "", ["It's red"], "missing image"),
        ("c", "val", "lake", [], ""),
        ("d", "test", "port", ["a red roof.", "a river"], ""),
        ("e", "test", "lake", ["A red roof", "two planes"], ""),
    ]
    frame = pd.DataFrame(rows, columns=["image_id", "split", "class_name", "captions", "problem"])
    frame = frame.assign(path="x", keywords=[[]] * 5, width=1, height=1, sha256="", fingerprint="")
    facts = DatasetFacts("tiny", "Tiny", "generated", "none", synthetic, "root", "sha")
    write_table(pa.Table.from_pandas(frame, DATASET_SCHEMA, preserve_index=False), facts, path)


def test_dataset_statistics_counted_by_hand(tmp_path):
    put_dataset(tmp_path / "tiny.parquet", synthetic=True)
    tables = {"tiny": tmp_path / "tiny.parquet", "gone": Path("data/gone/dataset.parquet")}
    paths = written(datasets.TABLE, tmp_path / "out", canonical=tables)
    assert [path.name for path in paths] == ["datasets.csv", "datasets.md", "datasets.tex", "datasets.html"]
    lines = paths[0].read_text(encoding="utf-8").splitlines()
    # 8 captions; "two boats" and "a red roof" each twice; 2+2+2+2+3+2+3+2 = 18 words; two boats a pier it's red.
    # Of the 4 test captions, one of the two equal ones cannot be first.
    assert lines[:3] == [
        "table,dataset,train images,val images,test images,unusable images,captions,unique captions,words per caption,"
        "vocabulary,classes,ceiling t2i R@1,ceiling t2i R@5,origin",
        "Datasets,tiny (synthetic),2,1,2,1,8,6,2.25,6,2,75.00,100.00,generated",
        f"Datasets,gone,{repeat('NA [1]', ',', 12)}",
    ]
    assert lines[3].startswith("# [1] data/gone/dataset.parquet is missing: build it with")
    assert lines[4] == f"# {COMMAND}"


def test_reading_tables_needs_neither_torch_nor_matplotlib():
    code = (
        "import sys, rsitr.tables.comparison, rsitr.tables.datasets; print({'torch', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_other_split_protocols_are_named_in_the_caption_and_the_rows(lab):
    blocks = [
        {"datasets": ["rsicd"], "methods": ["vse", "swan"], "seeds": [0], "split_protocol": "swan"},
        {"datasets": ["rsicd"], "methods": ["chance"], "seeds": [0]},
    ]
    chosen = parse_params({"experiment": "lab", "experiments": {"lab": {"title": "Lab", "matrix": blocks}}})
    lab.put("rsicd", "vse", 0, 20.0)
    lab.build(chosen)
    assert " Train and val by another split protocol than the official one: swan: vse, swan." in lab.read("md")
    rows = lab.long()
    assert dict(zip(rows["method"], rows["clean"], strict=True)) == {
        **{"vse": "swan-none", "swan": "swan-none", "chance": "official-none"}
    }
