"""The tables of an experiment as their files have them, and the long lists that come with them."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rsitr.errors import RecordError
from rsitr.pipeline.report import Material
from rsitr.records.files import read_csv
from rsitr.records.paths import Paths
from rsitr.site.models import Paged, Sheet
from rsitr.site.scripts import Folder
from rsitr.tables.declared import registry

NOTE = re.compile(r"# \[(\S+)\] (.*)")
MARK = re.compile(r" ?\[([†‡]?\d+)\]")
PAGED = {
    "dedup.pairs": ("Near duplicates", False),
    "leakage.images": ("Test images with a near duplicate in what models learn from", True),
    "coverage.long": ("Every number that the papers print", False),
}
"""File -> title, and whether it is sealed."""


def sheets(material: Material, folder: Folder) -> list[Sheet]:
    """Every table of the experiment, whether it was built or not: those without external rows."""
    return [_sheet(path, caption, folder) for path, caption in _files(material)]


def _files(material: Material) -> Iterator[tuple[Path, str]]:
    """The csv files that are a table in several formats, with captions."""
    for table in registry().values():
        names = table.files(material.experiment)
        for name in names:
            if name.endswith(".csv") and f"{name[:-4]}.md" in names:
                yield Paths.tables(material.name) / name, table.caption


def _sheet(path: Path, caption: str, folder: Folder) -> Sheet:
    sheet = Sheet(name=path.stem, caption=caption, source=path.as_posix())
    if path.is_file():
        sheet.file = folder.pack(f"tables/{path.stem}", parse(path.read_text(encoding="utf-8")))
    return sheet


def parse(text: str) -> dict[str, Any]:
    """A sheet in csv (``rsitr.tables.layout.to_csv``): its tables, each with the columns that it fills, and notes."""
    lines = text.splitlines(keepends=True)
    first = next((place for place, line in enumerate(lines) if line.startswith("# ")), len(lines))
    head, *rows = [*csv.reader(io.StringIO("".join(lines[:first])))] or [[]]
    tables: dict[str, list[list[str]]] = {}
    for name, *cells in rows:
        tables.setdefault(name, []).append(cells)
    notes = {found[1]: found[2] for line in lines[first:] if (found := NOTE.fullmatch(line.rstrip("\n")))}
    return {"tables": [_filled(name, head[1:], cells) for name, cells in tables.items()], "notes": notes}


def _filled(name: str, head: list[str], rows: list[list[str]]) -> dict[str, Any]:
    """A table without the columns that belong to others of its sheet."""
    used = [place for place, _ in enumerate(head) if place == 0 or any(row[place] for row in rows)]
    cells = [[_cell(row[place]) for place in used] for row in rows]
    return {"name": name, "columns": [head[place] for place in used], "rows": cells}


def _cell(text: str) -> list[str]:
    """The text and its marks."""
    return [MARK.sub("", text).strip(), *MARK.findall(text)]


def paged(material: Material, folder: Folder, problems: list[str]) -> list[Paged]:
    """Long lists that were written with the tables."""
    found = []
    for name, (title, sealed) in PAGED.items():
        path = Paths.tables(material.name) / f"{name}.csv"
        if not path.is_file():
            continue
        try:
            rows = read_csv(path, sealed=sealed)
        except RecordError as error:
            problems.append(str(error))
            continue
        columns = [*rows[0]] if rows else []
        value = {"columns": columns, "rows": [[*row.values()] for row in rows]}
        file = folder.pack(f"lists/{name}", value)
        found.append(Paged(name=name, title=title, source=path.as_posix(), count=len(rows), file=file))
    return found


SIDES = {
    "dedup.pairs": (("first_dataset", "first"), ("second_dataset", "second")),
    "leakage.images": (("test", "test_image"), ("source", "source_image")),
}
"""Of each list of images, the columns that name a dataset and an image of it."""


def images(material: Material, lists: Iterable[Paged]) -> dict[str, set[str]]:
    """The images that lists name, by dataset."""
    found: dict[str, set[str]] = {}
    for each in lists:
        for row in read_csv(Paths.tables(material.name) / f"{each.name}.csv") if each.name in SIDES else ():
            for dataset, image in SIDES[each.name]:
                found.setdefault(row[dataset], set()).add(row[image])
    return found
