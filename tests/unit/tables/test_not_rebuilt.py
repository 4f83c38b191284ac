"""Published rows that no cell stands for: which lines there may be, and what each of them fits."""

from __future__ import annotations

from pathlib import Path

import pytest

from rsitr.errors import DatasetError
from rsitr.methods import registry
from rsitr.records.cell import Published
from rsitr.tables import not_rebuilt as module
from rsitr.tables.not_rebuilt import KINDS, not_rebuilt, reasons, unavailable
from rsitr.tables.published import load

HEADER = "paper,table,method,variant,dataset,kind,reason"
KCR = "pir2024,table1,kcr,*,*,internals,why"


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """``read(*lines)`` reads a file of these lines."""

    def of(*lines: str) -> dict[int, module.NotRebuilt]:
        path = tmp_path / "not_rebuilt.csv"
        path.write_text("\n".join([HEADER, *lines]) + "\n", encoding="utf-8")
        monkeypatch.setattr(module, "FILE", path)
        monkeypatch.setattr(module, "not_rebuilt", not_rebuilt.__wrapped__)
        return reasons.__wrapped__()

    return of


def test_methods_that_cannot_be_rebuilt_are_none_of_ours() -> None:
    names = {line.method for line in not_rebuilt() if line.kind in ("internals", "regions")}
    assert names == {"camera", "kcr", "dove", "sam", "mafa-net", "fbclm"}
    assert not names & set(registry())
    assert {line.kind for line in not_rebuilt()} == {*KINDS}


def test_a_line_fits_the_rows_of_its_key(read) -> None:
    frame = load()
    found = read(KCR, "mtgfe2023,table2,scan,,rs*,copied,why")
    rows = frame.loc[[*found]].drop_duplicates(["method", "dataset"])
    assert sorted(zip(rows["paper"], rows["method"], rows["dataset"], strict=True)) == [
        ("mtgfe2023", "scan", "rsicd"),
        ("mtgfe2023", "scan", "rsitmd"),
        ("pir2024", "kcr", "rsicd"),
    ]
    assert {line.reason for line in found.values()} == {"why"}


def test_a_star_stands_for_any_text_at_the_end_alone(read) -> None:
    found = read("pir2024,table2,pir-clip,train=RET-*,rsicd,internals,why")
    assert set(load().loc[[*found], "variant"]) == {"train=RET-2", "train=RET-3"}
    with pytest.raises(DatasetError, match="fits no row"):
        read("pir2024,table2,pir-clip,*-2,rsicd,internals,why")


def test_only_rows_that_nobody_can_rebuild_are_unavailable() -> None:
    line = unavailable(Published(paper="pir2024", table="table1", method="kcr"))
    assert line is not None
    assert line.text.startswith("not rebuilt (internals not public): what is public of it")
    # A copied row is next to the method whose row was copied.
    assert unavailable(Published(paper="mtgfe2023", table="table2", method="vse++")) is None
    assert unavailable(Published(paper="pir2024", table="table2", method="pir-clip", variant="train=RET-3")) is None
    assert unavailable(None) is None


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["a,b,c,*,*,secret,why"], "line 2: kind: Input should be 'internals'"),
        (["a,b,c,*,*,regions,"], "line 2: reason: String should have at least 1"),
        ([KCR, KCR], r"line 3: pir2024, table1, kcr, \*, \* is there twice: keep one line"),
        (["pir2024,table1,kcr,*,ucm,internals,why"], "kcr, .*, ucm fits no row of published.csv: correct or delete"),
        ([KCR, "pir2024,table1,kcr,*,rsicd,regions,why"], "kcr, .*, rsicd fits line 202 of published.csv, as another"),
    ],
)
def test_a_faulty_line_is_named(lines: list[str], message: str, read) -> None:
    with pytest.raises(DatasetError, match=message):
        read(*lines)
