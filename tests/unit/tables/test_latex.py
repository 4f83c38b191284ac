"""Tables in LaTeX: escaping, columns, what is cut for a page, shared notes; and what TeX makes of those in git."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from rsitr.tables.latex import TALLEST, to_latex
from rsitr.tables.layout import Cell, Group, Note, Row, Sheet, Table
from tests.unit.tables.test_layout import SHEET, kinds

RESULTS = Path(__file__).parents[3] / "results/tables"
DOCUMENT = r"""
\documentclass[a4paper,10pt,twocolumn]{article}
\usepackage[T1]{fontenc}
\usepackage[margin=2cm]{geometry}
\usepackage{array,booktabs,graphicx,amssymb}
\begin{document}
%s
\end{document}
"""


def latex(rows, *columns, environment="table*"):
    """Lines of a table without a caption."""
    table = Table("T", "", "row", (Group("", columns),), tuple(rows))
    return to_latex(Sheet("S", (table,), "make it"), environment).splitlines()


def captions(lines):
    return [line.removeprefix(r"\caption{").removesuffix(".}") for line in lines if line.startswith(r"\caption")]


def test_escapes_and_spans_groups():
    assert to_latex(SHEET).splitlines() == [
        r"% Title <1>; needs \usepackage{array,booktabs,graphicx,amssymb}",
        r"\begin{table*}",
        r"\centering",
        r"\caption{T\textbar{}1. Caption\_1}",
        r"\footnotesize\setlength{\tabcolsep}{3pt}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        r"\begin{tabular}{lrrrr}",
        r"\toprule",
        r" & \multicolumn{1}{c}{} & \multicolumn{2}{c}{A\&B} & \multicolumn{1}{c}{C} \\",
        r"\cmidrule(lr){3-4}\cmidrule(lr){5-5}",
        r"row & unit & x & y & z \\",
        r"\midrule",
        r"a\_b & \% & \textbf{1 $\pm$ 2} & $-$3\textsuperscript{1} & * \\",
        r"\midrule",
        r"c &  & {[}4] & \textless{}5\textgreater{} & 6 \\",
        r"\bottomrule",
        r"\end{tabular}}",
        r"\end{table*}",
        r"{\footnotesize\raggedright\noindent",
        r"\textsuperscript{1}~50\% of \textless{}b\textgreater{}x\_y\textless{}/b\textgreater{} \& \$z\$ \#1 "
        r"\textasciicircum{}\textasciitilde{}\textbackslash{}\{\}\par",
        "}",
        "% make it",
    ]


@pytest.mark.parametrize(("columns", "tables"), [(7, 1), (8, 2)])  # with the unit 22 and 25
def test_a_table_that_is_too_wide_is_cut_by_title(columns, tables):
    lines = to_latex(kinds(columns)).splitlines()
    assert captions(lines) == (["T. Caption"] if tables == 1 else ["T (A). Caption", "T (B)"])
    if tables == 2:
        assert [line.count("&") for line in lines if line.startswith("a &")] == [17, 9]
        assert r" & \multicolumn{1}{c}{} & \multicolumn{8}{c}{} & \multicolumn{8}{c}{published} \\" in lines
        assert r"\cmidrule(lr){11-18}" in lines


def test_all_tables_of_a_file_share_their_notes():
    shared, own = Note("shared"), Note("own", "†")
    tables = (
        Table(name, "", "row", (Group("", ("x",)),), (Row("a", (Cell("1", notes=notes),)),))
        for name, notes in (("A", (shared,)), ("B", (shared, own)))
    )
    lines = to_latex(Sheet("S", tuple(tables), "make it")).splitlines()
    assert lines[-6:-1] == [
        r"\end{table*}",
        r"{\footnotesize\raggedright\noindent",
        r"\textsuperscript{1}~shared\par",
        r"\textsuperscript{\dag{}2}~own\par",
        "}",
    ]
    assert sum("shared" in line for line in lines) == 1


def test_a_table_that_is_too_tall_is_cut_by_section_and_by_number():
    sections = ["one"] * 2 + ["two"] * TALLEST + ["one", ""]
    rows = [Row(str(n), (Cell("1", bold=not n),), section=section) for n, section in enumerate(sections)]
    lines = latex(rows, "x")
    assert captions(lines) == [
        "T (one). In 3 tables: bold compares the rows of all",
        "T (two, 1 of 2)",
        "T (two, 2 of 2)",
    ]
    assert [line.split()[0] for line in lines if line.endswith(r" & 1 \\") or "textbf" in line] == [
        str(n) for n in (0, 1, TALLEST + 2, TALLEST + 3, *range(2, TALLEST + 2), TALLEST + 3)
    ]
    assert latex(rows, "x", environment="table")[1] == r"\begin{table}"
    assert captions(latex(rows[1 : TALLEST + 1], "x")) == ["T"]


def test_what_is_too_long_for_a_line_is_set_in_several():
    address = "https://example.org/" + "a" * 18
    lines = latex([Row("a", (Cell("1"), Cell(address), Cell("-")))] * 30, "n", "address", "z")
    assert r"\begin{tabular}{lr>{\raggedright\arraybackslash}p{18em}r}" in lines
    whole = r"https://exam\allowbreak{}ple.org/aaaa\allowbreak{}aaaaaaaaaaaa\allowbreak{}aa"
    assert rf"a & 1 & {whole} & - \\" in lines
    # 39 characters are two lines, so that a page holds half as many rows.
    lines = latex([Row("a", (Cell(f"{address}b"),))] * 30, "address")
    assert captions(lines) == ["T (1 of 2)", "T (2 of 2)"]
    assert [len(table.split(r" \\")) - 2 for table in "".join(lines).split(r"\begin{table*}")[1:]] == [22, 8]


@pytest.mark.slow
@pytest.mark.parametrize("experiment", ["demo", "laptop", "paper"])
def test_tex_sets_every_table_in_git_on_its_page(experiment, tmp_path):
    if not shutil.which("pdflatex"):
        pytest.skip("pdflatex is not installed (Debian: texlive-latex-recommended)")
    files = sorted((RESULTS / experiment).glob("*.tex"))
    assert files
    (tmp_path / "all.tex").write_text(DOCUMENT % "\n".join(rf"\input{{{path}}}\clearpage" for path in files))
    run = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"], cwd=tmp_path, capture_output=True
    )
    log = (tmp_path / "all.log").read_text(encoding="latin-1")
    assert run.returncode == 0, log[-2000:]
    assert not re.findall(r"^(?:LaTeX Warning.*|.*too large.*|Overfull .*|Missing character.*)$", log, re.MULTILINE)
    assert "Output written on all.pdf" in log
