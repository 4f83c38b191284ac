"""A table in LaTeX, for a paper: what is too large for a page is cut, and all tables of a file share their notes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import accumulate, compress, groupby

from rsitr.tables.layout import Cell, Note, Row, Sheet, Table, one_line

_TEX = {character: f"\\{character}" for character in "{}$&#%_"} | {
    "\0": r"\allowbreak{}",
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "`": r"\textasciigrave{}",
    "[": "{[}",  # after a row end, a bare bracket would be its optional argument
    "±": r"$\pm$",
    "†": r"\dag{}",
    "‡": r"\ddag{}",
    "–": "--",
    "×": r"$\times$",
    "✓": r"\checkmark{}",
    "α": r"$\alpha$",
    "β": r"$\beta$",
    "γ": r"$\gamma$",
    "Δ": r"$\Delta$",
}
WIDEST, TALLEST = 24, 44
"""Columns after the label, and rows, that fit on a page; more of them, scaled to it, would be unreadable."""
LONG = 36
"""Characters of a column that is set in lines."""


def _tex(text: str) -> str:
    # Addresses and hashes are words that no line holds.
    broken = re.sub(r"\S{24,}", lambda word: re.sub(r"\S{12}", "\\g<0>\0", word[0]), one_line(text))
    escaped = "".join(_TEX.get(character, character) for character in broken)
    return re.sub(r"^-(?=\d)", "$-$", escaped)


def _tex_mark(notes: Iterable[Note], marks: dict[Note, str]) -> str:
    return r"\textsuperscript{" + ",".join(_tex(marks[note]) for note in notes) + "}"


def _tex_cell(cell: Cell, marks: dict[Note, str]) -> str:
    text = rf"\textbf{{{_tex(cell.text)}}}" if cell.bold and cell.text else _tex(cell.text)
    return text + (_tex_mark(cell.notes, marks) if cell.notes else "")


def _tex_header(table: Table) -> Iterator[str]:
    if any(group.heading for group in table.groups):
        spans = (rf"\multicolumn{{{len(group.columns)}}}{{c}}{{{_tex(group.heading)}}}" for group in table.groups)
        yield " & ".join(["", *spans]) + r" \\"
        places = [(s + 2, s + 1 + len(g.columns)) for s, g in zip(table.starts, table.groups, strict=True) if g.heading]
        yield "".join(rf"\cmidrule(lr){{{first}-{last}}}" for first, last in places)
    yield " & ".join(map(_tex, [table.stub, *(name for group in table.groups for name in group.columns)])) + r" \\"


def _long(table: Table) -> list[bool]:
    """Of the label and every column, whether it has a text that is too long for a line."""
    texts = zip(*([row.label, *(cell.text for cell in row.cells)] for row in table.rows), strict=True)
    return [max(map(len, column)) > LONG for column in texts]


def _lines(row: Row, long: list[bool]) -> int:
    """About how many lines a row takes."""
    texts = compress([row.label, *(cell.text for cell in row.cells)], long)
    return max((-(-len(text) // LONG) for text in texts), default=1) or 1


def _tex_columns(table: Table) -> str:
    """Numbers are flush right; what is too long for a line is set in several."""
    wide = rf">{{\raggedright\arraybackslash}}p{{{LONG / 2:g}em}}"
    return "".join(wide if each else "r" if place else "l" for place, each in enumerate(_long(table)))


def _tex_table(table: Table, marks: dict[Note, str], environment: str) -> Iterator[str]:
    yield rf"\begin{{{environment}}}"
    yield r"\centering"
    yield rf"\caption{{{_tex(f'{table.name}. {table.caption}')}}}"
    yield r"\footnotesize\setlength{\tabcolsep}{3pt}"
    # As wide as it is, and at most as wide as the page.
    yield r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"
    yield rf"\begin{{tabular}}{{{_tex_columns(table)}}}"
    yield r"\toprule"
    yield from _tex_header(table)
    yield r"\midrule"
    for number, row in enumerate(table.rows):
        if row.rule and number:
            yield r"\midrule"
        yield " & ".join([_tex(row.label), *(_tex_cell(cell, marks) for cell in row.cells)]) + r" \\"
    yield from (r"\bottomrule", r"\end{tabular}}", rf"\end{{{environment}}}")


def _cut(rows: Sequence[Row], long: list[bool]) -> list[tuple[Row, ...]]:
    """The rows of each page."""
    ends = accumulate(_lines(row, long) for row in rows)
    pages = groupby(zip(ends, rows, strict=True), lambda placed: (placed[0] - 1) // TALLEST)
    return [tuple(row for _, row in page) for _, page in pages]


def _pages(table: Table) -> Iterator[Table]:
    """The table in parts that fit on a page: by titles of groups, by sections of rows, by lines."""
    for part in table.parts() if len(table.columns) > WIDEST else [replace(table, name="")]:
        long = _long(part)
        whole = len(_cut(part.rows, long)) < 2
        sections = [""] if whole else dict.fromkeys(row.section for row in part.rows if row.section) or [""]
        for section in sections:
            pages = _cut([row for row in part.rows if not section or row.section in ("", section)], long)
            for number, rows in enumerate(pages, start=1):
                what = (part.name, section, f"{number} of {len(pages)}" if len(pages) > 1 else "")
                named = ", ".join(filter(None, what))
                yield replace(part, name=f"{table.name} ({named})" if named else table.name, rows=rows)


def to_latex(sheet: Sheet, environment: str = "table*") -> str:
    r"""Tables to ``\input`` and, after the last, their notes; the document needs array, booktabs, graphicx and amssymb.

    A table that no page holds is cut into several, of which only the first has the caption.
    """
    marks = sheet.marks()
    lines = [rf"% {one_line(sheet.title)}; needs \usepackage{{array,booktabs,graphicx,amssymb}}"]
    for table in sheet.tables:
        pages = [*_pages(table)]
        more = f" In {len(pages)} tables: bold compares the rows of all." if len(pages) > 1 and table.bold else ""
        for number, page in enumerate(pages):
            lines += _tex_table(replace(page, caption="" if number else table.caption + more), marks, environment)
    if marks:
        lines.append(r"{\footnotesize\raggedright\noindent")
        lines += [rf"{_tex_mark([note], marks)}~{_tex(note.text)}\par" for note in marks]
        lines.append("}")
    return "\n".join([*lines, f"% {sheet.command}"]) + "\n"
