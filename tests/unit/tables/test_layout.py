"""The rendering of tables: escaping, spanning headers, footnotes, in each format."""

from __future__ import annotations

import csv
import io

import pytest

from rsitr.tables.layout import Cell, Group, Note, Row, Sheet, Table, no_formula, to_csv, to_html, to_markdown, write
from tests.helpers.pages import Page

HOSTILE = Note("50% of <b>x_y</b> & $z$ #1 ^~\\{}")
SHEET = Sheet(
    "Title <1>",
    (
        Table(
            "T|1",
            "Caption_1",
            "row",
            (Group("", ("unit",)), Group("A&B", ("x", "y")), Group("C", ("z",))),
            (
                Row("a_b", (Cell("%"), Cell("1 ± 2", bold=True), Cell("-3", notes=(HOSTILE,)), Cell("*"))),
                Row("c", (Cell(), Cell("[4]"), Cell("<5>"), Cell("6")), rule=True),
            ),
        ),
    ),
    "make it",
)


def test_markdown_escapes_and_gives_each_titled_group_a_table():
    assert to_markdown(SHEET).splitlines()[6:] == [
        "### A&B",
        "",
        "| row | unit | x | y |",
        "|:--|--:|--:|--:|",
        r"| a\_b | % | **1 ± 2** | -3<sup>1</sup> |",
        r"| c |  | \[4\] | \<5\> |",
        "",
        "### C",
        "",
        "| row | unit | z |",
        "|:--|--:|--:|",
        r"| a\_b | % | \* |",
        "| c |  | 6 |",
        "",
        r"- <sup>1</sup> 50% of \<b\>x\_y\</b\> & \$z\$ #1 ^\~\\{}",
        "",
        "Reproduce with `make it`",
    ]


def kinds(columns):
    """A table of two titles, the first with columns of two kinds, ``columns`` for each of the three groups."""
    names = tuple(f"x{number}" for number in range(columns))
    groups = (Group("", ("unit",)), Group("A", names), Group("A", names, "published"), Group("B", names))
    cells = [Cell(str(number)) for number in range(1 + 3 * columns)]
    cells[-1] = Cell("9", notes=(Note("of B"),))
    return Sheet("S", (Table("T", "Caption.", "row", groups, (Row("a", tuple(cells)),)),), "make it")


def test_columns_of_one_title_and_several_kinds_stay_together():
    assert to_csv(kinds(1)).splitlines()[0] == "table,row,unit,A x0,A published x0,B x0"
    assert to_markdown(kinds(1)).splitlines()[6:] == [
        "### A",
        "",
        "| row | unit | x0 | published x0 |",
        "|:--|--:|--:|--:|",
        "| a | 0 | 1 | 2 |",
        "",
        "### B",
        "",
        "| row | unit | x0 |",
        "|:--|--:|--:|",
        "| a | 0 | 9<sup>1</sup> |",
        "",
        "- <sup>1</sup> of B",
        "",
        "Reproduce with `make it`",
    ]
    assert Page(to_html(kinds(1))).rows[0] == ["", "", "A", "A published", "B"]


def test_html_is_well_formed_escaped_and_links_its_notes():
    text = to_html(SHEET)
    page = Page(text)
    assert page.rows == [
        ["", "", "A&B", "C"],
        ["row", "unit", "x", "y", "z"],
        ["a_b", "%", "1 ± 2", "-31", "*"],
        ["c", "", "[4]", "<5>", "6"],
    ]
    assert page.open == []
    assert page.links == page.ids == {"note-1-1"}
    assert "<b>x_y" not in text
    assert "http" not in text
    assert text.endswith("<p>Reproduce with <code>make it</code></p>\n</body>\n</html>\n")


def test_numbers_of_notes_run_through_a_file():
    def table(name, note):
        return Table(name, "", "row", (Group("", ("x",)),), (Row("a", (Cell("1", notes=(note,)),)),))

    sheet = Sheet("S", (table("A", Note("one")), table("B", Note("two")), table("C", Note("one"))), "cmd")
    body = to_csv(sheet).splitlines()
    assert body == ["table,row,x", "A,a,1 [1]", "B,a,1 [2]", "C,a,1 [1]", "# [1] one", "# [2] two", "# cmd"]


def test_a_row_must_have_a_cell_for_each_column():
    with pytest.raises(ValueError, match="row 'a' has 1 cells for 2 columns"):
        Table("A", "", "row", (Group("g", ("x", "y")),), (Row("a", (Cell("1"),)),))


def test_files_are_written_with_plain_line_ends(tmp_path):
    paths = write(SHEET, tmp_path / "new" / "sheet.v2")
    assert [path.name for path in paths] == ["sheet.v2.csv", "sheet.v2.md", "sheet.v2.tex", "sheet.v2.html"]
    assert not any(b"\r" in path.read_bytes() for path in paths)


@pytest.mark.parametrize("text", ["=1+1", "@SUM(A1)", "+cmd|' /C calc'!A0", "-1+cmd|' /C calc'!A0", "\t=1", "\r=1"])
def test_no_spreadsheet_takes_a_text_for_a_formula(text):
    sheet = Sheet("T", (Table("T", "", "row", (Group("", ("x",)),), (Row(text, (Cell(text),)),)),), "make it")
    assert no_formula(text) == f"'{text}"
    row = [*csv.reader(io.StringIO(to_csv(sheet), newline=""))][1]
    assert row[1] == row[2]
    assert row[2].lstrip("'") == text.strip()
    assert row[2][0] not in "=@+-\t\r"


@pytest.mark.parametrize(
    "text", ["", "-3", "+36.7", "-76.4 [‡1]", "-0.5 ± 0.1", "+1e-5", "-0.5 to +0.1", "+TEL", "-", "a=b", "−3"]
)
def test_numbers_and_other_texts_are_left_alone(text):
    assert no_formula(text) == text
