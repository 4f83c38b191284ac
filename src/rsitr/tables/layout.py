"""A table as a reader sees it, and its rendering to csv, Markdown and HTML; ``latex`` has that to LaTeX.

A ``Sheet`` is one file: tables under one title, footnotes numbered throughout, and the command that reproduces it. The
specs of single tables build sheets and know nothing about formats; the formats know nothing about methods and datasets.
"""

from __future__ import annotations

import csv
import io
import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import accumulate, compress
from pathlib import Path

from jinja2 import Environment

from rsitr.records.files import write_text

FORMULA = re.compile(r"[=@\t\r]|[-+].*[(|!]", re.DOTALL)
"""How a text begins that a spreadsheet may compute: with a sign only if it calls something."""


@dataclass(frozen=True)
class Note:
    """A footnote. Equal notes share a number; ``symbol`` comes before it, as in †2."""

    text: str
    symbol: str = ""


@dataclass(frozen=True)
class Cell:
    """Plain text; each format escapes it."""

    text: str = ""
    bold: bool = False
    notes: tuple[Note, ...] = ()


def noted(text: str, *remarks: str) -> Cell:
    """A cell with a footnote for each remark that is not empty."""
    return Cell(text, notes=tuple(Note(remark) for remark in remarks if remark))


def labelled(dataset: str, synthetic: bool) -> str:
    """What a table calls a dataset."""
    return f"{dataset} (synthetic)" if synthetic else dataset


@dataclass(frozen=True)
class Group:
    """Neighbouring columns under a common header; without a title they describe the row, like its label."""

    title: str
    columns: tuple[str, ...]
    kind: str = ""
    """What sets the columns apart from others under the same title: ``published``."""

    @property
    def heading(self) -> str:
        """The common header: ``rsicd published``."""
        return " ".join(filter(None, (self.title, self.kind)))

    @property
    def names(self) -> list[str]:
        """Column names that need no header above them: ``rsicd published mR``."""
        return [" ".join(filter(None, (self.heading, column))) for column in self.columns]


@dataclass(frozen=True)
class Row:
    """A label and one cell for each column of all groups."""

    label: str
    cells: tuple[Cell, ...]
    rule: bool = False
    """Whether a line above sets the row apart."""
    section: str = ""
    """What it is set with where a table is too tall for a page; without any, it is set with each."""


@dataclass(frozen=True)
class Table:
    """``stub`` heads the row labels."""

    name: str
    caption: str
    stub: str
    groups: tuple[Group, ...]
    rows: tuple[Row, ...]

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row.cells) != len(self.columns):
                raise ValueError(f"row {row.label!r} has {len(row.cells)} cells for {len(self.columns)} columns")

    @property
    def columns(self) -> list[str]:
        """Names of all columns after the label, unique in the table."""
        return [name for group in self.groups for name in group.names]

    @property
    def starts(self) -> list[int]:
        """Place of the first column of each group."""
        return [0, *accumulate(len(group.columns) for group in self.groups[:-1])]

    @property
    def notes(self) -> list[Note]:
        """Every note once, in reading order."""
        return list(dict.fromkeys(note for row in self.rows for cell in row.cells for note in cell.notes))

    @property
    def bold(self) -> bool:
        """Whether any number is marked as the best."""
        return any(cell.bold for row in self.rows for cell in row.cells)

    def parts(self) -> Iterator[Table]:
        """If the table is too wide, one part per title of groups, with the describing columns repeated."""
        for title in dict.fromkeys(group.title for group in self.groups if group.title) or [""]:
            keep = [group.title in ("", title) for group in self.groups for _ in group.columns]
            groups = (replace(group, title="") for group in self.groups if group.title in ("", title))
            rows = (replace(row, cells=tuple(compress(row.cells, keep))) for row in self.rows)
            yield Table(title, "", self.stub, tuple(groups), tuple(rows))


@dataclass(frozen=True)
class Sheet:
    """One file."""

    title: str
    tables: tuple[Table, ...]
    command: str

    def marks(self) -> dict[Note, str]:
        """What marks each note: its symbol and its number, counted across the file."""
        notes = dict.fromkeys(note for table in self.tables for note in table.notes)
        return {note: f"{note.symbol}{number}" for number, note in enumerate(notes, start=1)}


def write(sheet: Sheet, stem: Path) -> list[Path]:
    """Write ``<stem>.csv``, ``.md``, ``.tex`` and ``.html``; equal sheets give equal bytes."""
    from rsitr.tables.latex import to_latex  # which needs the classes above

    renderings = {"csv": to_csv, "md": to_markdown, "tex": to_latex, "html": to_html}
    paths = []
    for suffix, render in renderings.items():
        paths.append(stem.with_name(f"{stem.name}.{suffix}"))
        write_text(paths[-1], render(sheet))
    return paths


def command(experiment: str) -> str:
    """The command that reproduces every result of an experiment."""
    return f"snakemake --cores 8 all --config experiment={shlex.quote(experiment)}"


def write_tables(title: str, tables: Iterable[Table], experiment: str, stem: Path) -> list[Path]:
    """Write the sheet of an experiment's tables."""
    return write(Sheet(title, tuple(tables), command(experiment)), stem)


def one_line(text: str) -> str:
    """Text on one line: a reason may be an error message with line breaks."""
    return " ".join(text.split())


def _plain(cell: Cell, marks: dict[Note, str]) -> str:
    return " ".join([one_line(cell.text), *(f"[{marks[note]}]" for note in cell.notes)]).strip()


def no_formula(text: str) -> str:
    """A text as a cell that no spreadsheet takes for a formula: an apostrophe comes before what begins like one."""
    return f"'{text}" if FORMULA.match(text) else text


def to_csv(sheet: Sheet) -> str:
    """One rectangle: the first column names the table, the others are the columns of all tables.

    Footnotes and command follow as lines that start with #, so ``pandas.read_csv(..., comment="#")`` reads it.
    """
    marks = sheet.marks()
    columns = list(dict.fromkeys(name for table in sheet.tables for name in table.columns))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["table", sheet.tables[0].stub, *columns])
    for table in sheet.tables:
        for row in table.rows:
            texts = dict(zip(table.columns, (_plain(cell, marks) for cell in row.cells), strict=True))
            label = one_line(row.label)
            writer.writerow(map(no_formula, [table.name, label, *(texts.get(name, "") for name in columns)]))
    lines = [f"# [{mark}] {one_line(note.text)}" for note, mark in marks.items()]
    return out.getvalue() + "".join(f"{line}\n" for line in [*lines, f"# {sheet.command}"])


def _md(text: str) -> str:
    return re.sub(r"([\\`*_|<>~$\[\]])", r"\\\1", one_line(text))


def _md_cell(cell: Cell, marks: dict[Note, str]) -> str:
    text = f"**{_md(cell.text)}**" if cell.bold and cell.text else _md(cell.text)
    return text + (f"<sup>{','.join(marks[note] for note in cell.notes)}</sup>" if cell.notes else "")


def _md_table(table: Table, marks: dict[Note, str]) -> str:
    rows = [[_md(row.label), *(_md_cell(cell, marks) for cell in row.cells)] for row in table.rows]
    head, *lines = ("| " + " | ".join(texts) + " |" for texts in [[*map(_md, [table.stub, *table.columns])], *rows])
    return "\n".join([head, "|:--|" + "--:|" * len(table.columns), *lines])


def to_markdown(sheet: Sheet) -> str:
    """Markdown as GitHub renders it; it has no spanning headers, so each title becomes its own table."""
    marks = sheet.marks()
    blocks = [f"# {_md(sheet.title)}"]
    for table in sheet.tables:
        blocks += [f"## {_md(table.name)}", _md(table.caption)]
        for part in table.parts():
            blocks += [*([f"### {_md(part.name)}"] if part.name else []), _md_table(part, marks)]
        if table.notes:
            blocks.append("\n".join(f"- <sup>{marks[note]}</sup> {_md(note.text)}" for note in table.notes))
    return "\n\n".join([*blocks, f"Reproduce with `{sheet.command}`"]) + "\n"


_HTML = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ sheet.title }}</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem; color: #1a1a1a; background: #fff; }
p { max-width: 60rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; border: solid; border-width: 2px 0; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .6rem; text-align: right; white-space: nowrap; }
th { font-weight: 600; }
tr > :first-child { text-align: left; position: sticky; left: 0; background: #fff; font-weight: 400; }
thead tr:last-child { border-bottom: 1px solid; }
th[colspan] { text-align: center; }
th[colspan] + th, td.first, th.first { border-left: 1px solid #ccc; }
tr.rule { border-top: 1px solid; }
tbody tr:hover > * { background: #f2f5f9; }
sup a { color: inherit; text-decoration: none; }
.notes { list-style: none; padding: 0; font-size: 13px; max-width: 60rem; }
</style>
</head>
<body>
<h1>{{ sheet.title }}</h1>
{% for table in sheet.tables %}
{% set number = loop.index %}
<h2>{{ table.name }}</h2>
<p>{{ table.caption }}</p>
<div class="wide">
<table>
<thead>
{% if table.groups | selectattr("heading") | list %}
<tr><th></th>
{%- for group in table.groups %}<th colspan="{{ group.columns | length }}">{{ group.heading }}</th>{% endfor %}</tr>
{% endif %}
<tr><th>{{ table.stub }}</th>
{%- for group in table.groups %}{% for column in group.columns -%}
<th{% if loop.first %} class="first"{% endif %}>{{ column }}</th>
{%- endfor %}{% endfor %}</tr>
</thead>
<tbody>
{% set starts = table.starts %}
{% for row in table.rows %}
<tr{% if row.rule %} class="rule"{% endif %}><th>{{ row.label }}</th>
{%- for cell in row.cells -%}
<td{% if loop.index0 in starts %} class="first"{% endif %}>
{%- if cell.bold %}<b>{{ cell.text }}</b>{% else %}{{ cell.text }}{% endif %}
{%- if cell.notes %}<sup>
{%- for note in cell.notes -%}
<a href="#note-{{ number }}-{{ marks[note] }}" title="{{ note.text }}">{{ marks[note] }}</a>
{%- if not loop.last %},{% endif %}{% endfor %}</sup>
{%- endif %}</td>
{%- endfor %}</tr>
{% endfor %}
</tbody>
</table>
</div>
{% if table.notes %}
<ul class="notes">
{% for note in table.notes %}
<li id="note-{{ number }}-{{ marks[note] }}"><sup>{{ marks[note] }}</sup> {{ note.text }}</li>
{% endfor %}
</ul>
{% endif %}
{% endfor %}
<p>Reproduce with <code>{{ sheet.command }}</code></p>
</body>
</html>
"""


def to_html(sheet: Sheet) -> str:
    """A self-contained page; a footnote shows on its mark as well as under the table."""
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
    return environment.from_string(_HTML).render(sheet=sheet, marks=sheet.marks())
