"""What the papers count of the datasets: every printed number has its line, and ours is counted as the paper does."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from rsitr.errors import DatasetError
from rsitr.tables import counts
from rsitr.tables.published import load
from tests.helpers.lab import Reader, written

# RSITMD in small: the split of PIR draws its val images from those of train and val, class by class.
ROWS = [
    ("port_1.tif", "train", "port", ["a", "b"], ["ship", "sea"]),
    ("port_2.tif", "val", "port", ["a", "a"], ["ship"]),
    ("port_3.tif", "test", "port", ["c"], []),
    ("boat_1.tif", "train", "boat", ["d", "e"], ["boat"]),
]


def frame() -> pd.DataFrame:
    return pd.DataFrame(ROWS, columns=["image_id", "split", "class_name", "captions", "keywords"])


def count(variant: str, metric: str, paper: str = "pir2024") -> counts.Count:
    return counts.Count(0, paper, "sec5-prose", "rsitmd", variant, metric, 0.0)


def test_every_printed_count_has_a_line_once() -> None:
    rows = load()
    stated = rows[rows["method"].eq("dataset") & ~rows["table"].eq("fig9") & ~rows["paper"].eq("mtgfe2023")]
    of_test = rows[rows["table"].eq("sec4.5-prose")]
    wanted = sorted(
        [*zip(stated.index, stated["metric"], strict=True), *zip(of_test.index, of_test["metric"], strict=True)]
    )
    assert sorted((each.row, each.metric) for each in counts.printed()) == wanted
    assert len(wanted) == 32 + 3 + 4 + 2
    assert {each.dataset for each in counts.printed()} == {*counts.DATASETS}


@pytest.mark.parametrize(
    ("variant", "metric", "expected"),
    [
        ("class=port", "images", 3),
        ("class=plane", "images", 0),
        ("", "images", 4),
        ("", "captions", 7),
        ("", "keywords", 4),
        ("", "text_image_ratio", 5 / 4),  # a, b, c, d, e
        ("split=test", "images", 1),
        ("split=test", "captions", 1),
    ],
)
def test_ours_by_hand(variant: str, metric: str, expected: float, tmp_path: Path) -> None:
    assert counts.measured(count(variant, metric), frame(), tmp_path) == expected


def test_a_split_is_that_of_the_paper(tmp_path: Path) -> None:
    """Of two images of ports and one of boats, 80 % rounds to two and one: PIR has no val image, MTGFE has one."""
    assert counts.measured(count("split=val", "images"), frame(), tmp_path) == 0
    assert counts.measured(count("split=val", "images", "mtgfe2023"), frame(), tmp_path) == 1


class Read(Reader):
    def __init__(self, out: Path):
        self.out, self.name = out, "counts"

    def lines(self) -> dict[tuple[str, str], dict[str, str]]:
        text = [line for line in self.read("csv").splitlines() if not line.startswith("#")]
        return {(row["place"], row["what"]): row for row in csv.DictReader(text)}


def test_ours_next_to_the_papers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = SimpleNamespace(root=str(tmp_path))

    def read_table(path: Path) -> tuple[SimpleNamespace, SimpleNamespace]:
        if path.name == "rsicd":
            raise DatasetError("there is no table")
        return SimpleNamespace(to_pandas=lambda: frame().assign(keywords=[[]] * 4)), facts

    monkeypatch.setattr(counts, "read_table", read_table)
    written(counts.TABLE, tmp_path, canonical={"rsitmd": tmp_path / "rsitmd", "rsicd": tmp_path / "rsicd"})
    reader = Read(tmp_path)
    lines = reader.lines()
    port = lines["AMFMN, Table I", "images of class port"]
    assert (port["ours"], port["published"], port["Δ"]) == ("3", "178", "-175")
    boat = lines["AMFMN, Table I", "images of class boat"]
    assert reader.note(boat["published"]) == "40 more than in the annotation, and pond 40 fewer"
    assert lines["PIR, section V", "test images"]["ours"] == "1"
    assert reader.note(lines["AMFMN, section IV", "keywords"]["ours"]) == counts.NO_KEYWORDS
    assert reader.note(lines["MTGFE, section 4.5", "test captions"]["ours"]) == "there is no table"
    written(counts.TABLE, tmp_path, canonical={"rsitmd": tmp_path / "rsitmd"})
    ratio = reader.lines()["AMFMN, section IV", "text-image ratio"]
    assert (reader.note(ratio["ours"]), ratio["Δ"]) == ("not part of this experiment", "")
    assert ratio["published"].startswith("1.665 [")


def test_the_counts_of_the_real_annotation(mirror: Path, tmp_path: Path) -> None:
    """All but four of AMFMN's 32 classes agree, and those of a plane are with the airports."""
    from rsitr.datasets.rsitmd import RSITMD

    folder = mirror / "rsitmd"
    classes = pd.Series([row.class_name for row in RSITMD().parse(folder)]).value_counts()
    differs = {
        each.variant: int(classes[each.variant.removeprefix("class=")] - each.value)
        for each in counts.printed()
        if each.variant.startswith("class=") and classes[each.variant.removeprefix("class=")] != each.value
    }
    assert differs == {
        **{"class=storagetanks": 50, "class=intersection": -50, "class=pond": 40, "class=boat": -40},
        "class=airport": -classes["plane"],
    }
