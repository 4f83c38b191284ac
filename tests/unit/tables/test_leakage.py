"""The leakage report as it is read: the matrix, its footnotes, the tidy file and the list of images."""

from __future__ import annotations

import csv

import pytest
from PIL import Image

from rsitr.errors import RecordError
from rsitr.records.files import seal_text
from rsitr.tables import leakage
from tests.helpers.leaking_sets import put_all, put_table

OWN = "official-none"
"""The clean table of a dataset's own splits."""

FILES = [f"leakage.{suffix}" for suffix in ("csv", "md", "tex", "html", "long.csv", "images.csv", "png")]


def unsealed(text):
    """The lines of a sealed file but for its seal."""
    *lines, _ = text.splitlines(keepends=True)
    assert seal_text("".join(lines)) == text
    return [line.rstrip("\n") for line in lines]


@pytest.fixture
def sets(tmp_path):
    tables, near_duplicates = put_all(tmp_path)
    put_table(tmp_path, "small", synthetic=True)
    del near_duplicates["big", "small"]
    return tables, near_duplicates


def build(sets, folder):
    """Build the report and return the texts of its files by suffix."""
    paths = leakage.build(*sets, "lab", folder / "out")
    assert [path.name for path in paths] == FILES
    with Image.open(paths[-1]) as picture:
        assert picture.width > 500
    return {path.name.removeprefix("leakage."): path.read_text(encoding="utf-8") for path in paths[:-1]}


MATRIX = """\
The largest overlap: of the 1 test images of small, 1 (100.0 %) have a near duplicate in prior by copies, 0 by \
remoteclip.

### big: 3 test images

| source | images at hand | remoteclip | copies |
|:--|--:|--:|--:|
| prior | 2 | 1 (33.3 %) | 1 (33.3 %) |
| big train | 3 | 1 (33.3 %) | 1 (33.3 %) |
| big val | 1 | 0 (0.0 %) | 2 (66.7 %) |
| small train (synthetic) | 1 | 1 (33.3 %) | NA<sup>2</sup> |
| gone train | 0 | NA<sup>1</sup> | NA<sup>1</sup> |

### small (synthetic): 1 test images

| source | images at hand | remoteclip | copies |
|:--|--:|--:|--:|
| prior | 2 | 0 (0.0 %) | 1 (100.0 %) |
| big train | 3 | 0 (0.0 %) | NA<sup>2</sup> |
| big val | 1 | 0 (0.0 %) | NA<sup>2</sup> |
| small train (synthetic) | 1 | 0 (0.0 %) | 0 (0.0 %) |
| gone train | 0 | NA<sup>1</sup> | NA<sup>1</sup> |

### gone: no test images at hand

| source | images at hand | remoteclip | copies |
|:--|--:|--:|--:|
| prior | 2 | NA<sup>1</sup> | NA<sup>1</sup> |
| big train | 3 | NA<sup>1</sup> | NA<sup>1</sup> |
| big val | 1 | NA<sup>1</sup> | NA<sup>1</sup> |
| small train (synthetic) | 1 | NA<sup>1</sup> | NA<sup>1</sup> |
| gone train | 0 | NA<sup>1</sup> | NA<sup>1</sup> |

- <sup>1</sup> no images of gone at hand
- <sup>2</sup> big and small: near duplicates were not looked for

Reproduce with `snakemake --cores 8 all --config experiment=lab`
"""


def test_the_matrix_in_markdown(sets, tmp_path):
    head, matrix = build(sets, tmp_path)["md"].split("The largest overlap")
    assert "The largest overlap" + matrix == MATRIX
    assert head == f"# Leakage of lab\n\n## Leakage\n\n{leakage.CAPTION.replace('~', '')} "


def test_the_matrix_for_a_paper(sets, tmp_path):
    tex = build(sets, tmp_path)["tex"].splitlines()
    start = tex.index(r"\toprule")
    assert tex[start : start + 8] == [
        r"\toprule",
        r" & \multicolumn{1}{c}{} & \multicolumn{2}{c}{big: 3 test images} & "
        r"\multicolumn{2}{c}{small (synthetic): 1 test images} & \multicolumn{2}{c}{gone: no test images at hand} \\",
        r"\cmidrule(lr){3-4}\cmidrule(lr){5-6}\cmidrule(lr){7-8}",
        r"source & images at hand & remoteclip & copies & remoteclip & copies & remoteclip & copies \\",
        r"\midrule",
        r"prior & 2 & 1 (33.3 \%) & 1 (33.3 \%) & 0 (0.0 \%) & 1 (100.0 \%) & NA\textsuperscript{1} & "
        r"NA\textsuperscript{1} \\",
        r"\midrule",
        r"big train & 3 & 1 (33.3 \%) & 1 (33.3 \%) & 0 (0.0 \%) & NA\textsuperscript{2} & NA\textsuperscript{1} & "
        r"NA\textsuperscript{1} \\",
    ]
    # A line between the datasets, none between the splits of one.
    assert tex[start + 8].startswith("big val")


def test_the_tidy_file_tells_nothing_from_unknown(sets, tmp_path):
    rows = list(csv.reader(unsealed(build(sets, tmp_path)["long.csv"])))
    assert rows[0] == ["source", "source_split", "test", "rule", "images", "of", "percent", "status", "reason"]
    assert len(rows) == 1 + 5 * 3 * 2
    assert rows[1:7] == [
        ["prior", "all", "big", "remoteclip", "1", "3", "33.333333", "ok", ""],
        ["prior", "all", "big", "copies", "1", "3", "33.333333", "ok", ""],
        ["prior", "all", "small", "remoteclip", "0", "1", "0.0", "ok", ""],
        ["prior", "all", "small", "copies", "1", "1", "100.0", "ok", ""],
        ["prior", "all", "gone", "remoteclip", "", "0", "", "unknown", "no images of gone at hand"],
        ["prior", "all", "gone", "copies", "", "0", "", "unknown", "no images of gone at hand"],
    ]
    reason = "big and small: near duplicates were not looked for"
    assert ["big", "train", "small", "copies", "", "1", "", "unknown", reason] in rows
    assert ["big", "train", "small", "remoteclip", "0", "1", "0.0", "ok", ""] in rows


def test_every_image_that_leaks_is_listed_with_what_speaks_for_it(sets, tmp_path):
    assert unsealed(build(sets, tmp_path)["images.csv"]) == [
        "test,test_image,source,source_split,source_image,link,part,orientation,detail,agreement",
        "big,t1,prior,all,p1,pair,test,same,0.932,1.000",
        "small,u,prior,all,p2,pair,test,flipped,0.750,0.875",
        "big,t1,big,train,b,pair,test,turned left,0.900,0.950",
        "big,t2,big,val,v,chain,,,,",
        "big,t3,big,val,v,pair,test,same,0.650,0.810",
    ]


def test_where_no_copies_were_looked_for_nothing_is_claimed(sets, tmp_path):
    texts = build((sets[0], {}), tmp_path)
    assert "largest" not in texts["md"]
    assert len(unsealed(texts["images.csv"])) == 1
    assert "| prior | 2 | 1 (33.3 %) | NA<sup>1</sup> |\n" in texts["md"]
    rows = csv.DictReader(unsealed(texts["long.csv"]))
    assert {row["status"] for row in rows if row["rule"] == "copies"} == {"unknown"}


def test_equal_input_gives_equal_bytes(sets, tmp_path):
    assert build(sets, tmp_path) == build(sets, tmp_path)


def test_what_is_trained_on_is_written_down_and_read_back(tmp_path):
    found = {
        ("big", OWN): (2, 3),
        ("small", OWN): (0, 1),
        ("gone", OWN): None,
        ("big", "lab/all"): (1, 3),
        ("gone", "lab/all"): None,
    }
    path = leakage.write_training(found, tmp_path / "training.csv")
    lines = ["dataset,images,of,training", f"big,2,3,{OWN}", f"small,0,1,{OWN}", f"gone,,,{OWN}"]
    expected = "\n".join([*lines, "big,1,3,lab/all", "gone,,,lab/all", ""])
    assert path.read_text(encoding="utf-8") == seal_text(expected)
    assert leakage.read_training(path) == found


@pytest.mark.parametrize("damage", ["cut", "a line less", "a number"])
def test_damaged_marks_are_not_believed(damage, tmp_path):
    path = leakage.write_training({("big", OWN): (2, 3), ("small", OWN): (0, 1)}, tmp_path / "training.csv")
    text = path.read_text(encoding="utf-8")
    changed = {
        "cut": text[:30],
        "a line less": text.replace(f"big,2,3,{OWN}\n", ""),
        "a number": text.replace("2,3", "0,3"),
    }
    path.write_text(changed[damage], encoding="utf-8")
    with pytest.raises(RecordError, match=r"training\.csv is not what was written: restore it from git"):
        leakage.read_training(path)
