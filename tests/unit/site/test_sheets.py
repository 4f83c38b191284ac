"""Tables as their files have them come back as they were laid out."""

from __future__ import annotations

from rsitr.site.sheets import parse
from rsitr.tables.layout import Cell, Group, Note, Row, Sheet, Table, to_csv


def test_a_sheet_comes_back_with_the_columns_of_each_table_and_its_notes() -> None:
    first = Table(
        "Recall, plain",
        "",
        "method",
        (Group("ucm", ("mR", "seeds")),),
        (
            Row("vse", (Cell("41.00 ± 0.50", notes=(Note("why", "†"), Note("x < y"))), Cell("3"))),
            Row("scan", (Cell("NA", notes=(Note("not\nrun"),)), Cell())),
        ),
    )
    second = Table("Times", "", "method", (Group("", ("s",)),), (Row("vse", (Cell("1.5"),)),))
    found = parse(to_csv(Sheet("title", (first, second), "make it")))
    assert found["notes"] == {"†1": "why", "2": "x < y", "3": "not run"}
    assert [table["name"] for table in found["tables"]] == ["Recall, plain", "Times"]
    assert [table["columns"] for table in found["tables"]] == [["method", "ucm mR", "ucm seeds"], ["method", "s"]]
    assert found["tables"][0]["rows"] == [
        [["vse"], ["41.00 ± 0.50", "†1", "2"], ["3"]],
        [["scan"], ["NA", "3"], [""]],
    ]
    assert found["tables"][1]["rows"] == [[["vse"], ["1.5"]]]


def test_an_empty_file_has_no_table() -> None:
    assert parse("") == {"tables": [], "notes": {}}
