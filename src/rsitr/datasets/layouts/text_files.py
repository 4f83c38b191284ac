"""Layouts of lines: JSON lines, tables with a header, and the ``*_precomp`` pairs of SCAN and what followed it."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

from rsitr.datasets.layouts import fields
from rsitr.datasets.layouts.base import Entry, File, FileLayout, Lost
from rsitr.errors import DatasetError

SEPARATORS = ",\t;|"
CAPTIONS_ENDING = "_caps.txt"
NAMES_ENDINGS = ("_filename.txt", "_filename_verify.txt", "_ids.txt")
"""Files with the images of the captions in ``<split>_caps.txt``."""


def _object(line: str) -> dict[str, object] | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def jsonl_misfit(file: File) -> str:
    """See ``FileLayout.misfit``."""
    first = next((line for line in file.lines if line.strip()), "")
    found = _object(first)
    if found is None:
        return "its first line is not a JSON object" if first else "is empty"
    return f"line 1 {wrong}" if (wrong := fields.misfit(found)) else ""


def read_jsonl(file: File) -> Iterator[Entry | Lost]:
    """An object with an image and its captions in every line."""
    for number, line in enumerate(file.lines, start=1):
        if not line.strip():
            continue
        found = _object(line)
        if found is None:
            yield Lost(f"line {number}", "it is not a JSON object", "image")
        else:
            yield fields.entry(found, f"line {number}")


def _header(line: str, separator: str) -> list[str]:
    return [name.strip().strip('"').lower() for name in line.split(separator)]


def csv_misfit(file: File) -> str:
    """See ``FileLayout.misfit``."""
    headers = sorted((_header(file.lines[0], separator) for separator in SEPARATORS), key=len)
    return f"its first line {fields.misfit(headers[-1])}" if all(map(fields.misfit, headers)) else ""


def read_csv(file: File) -> Iterator[Entry | Lost]:
    """A table whose header names columns for images and captions, one caption a line.

    open_clip's are ``filepath`` and ``title``, with tabs between. Raises ``DatasetError`` for broken quotes.
    """
    separator = next(mark for mark in SEPARATORS if not fields.misfit(_header(file.lines[0], mark)))
    names = _header(file.lines[0], separator)
    lines, begins = (f"{line}\n" for line in file.lines[1:]), 2
    table = csv.reader(lines, delimiter=separator, strict=True, skipinitialspace=True)
    try:
        for values in table:
            where, begins = f"line {begins}", table.line_num + 2
            if not any(map(str.strip, values)):
                continue
            if len(values) != len(names):
                yield Lost(where, f"it has {len(values)} fields, the header {len(names)}: quote captions", "caption")
                continue
            yield fields.entry(dict(zip(names, map(str.strip, values), strict=True)), where)
    except csv.Error as error:
        raise DatasetError(f"{file.path}, line {begins}: {error}: correct the quotes of this line") from None


def precomp_misfit(file: File) -> str:
    """See ``FileLayout.misfit``."""
    if not file.path.name.endswith(CAPTIONS_ENDING):
        return f"its name does not end in {CAPTIONS_ENDING}"
    return "" if _names_file(file) else f"has no {' or '.join(NAMES_ENDINGS)} of the same split next to it"


def _names_file(file: File) -> Path | None:
    stem = file.path.name.removesuffix(CAPTIONS_ENDING)
    places = (file.path.with_name(stem + ending) for ending in NAMES_ENDINGS)
    return next((place for place in places if place.is_file()), None)


def read_precomp(file: File) -> Iterator[Entry | Lost]:
    """``<split>_caps.txt`` with a caption a line, and a file of as many image names, or of one for several captions.

    Raises ``DatasetError`` where the number of captions is not a multiple of the number of names.
    """
    place = _names_file(file)
    assert place is not None
    names = File(place).lines
    each, rest = divmod(len(file.lines), len(names))
    if rest or not each:
        raise DatasetError(f"{file.path} has {len(file.lines)} captions and {place.name} {len(names)} images")
    for number, caption in enumerate(file.lines):
        yield Entry(f"line {number + 1}", names[number // each].strip(), caption)


LAYOUTS = (
    FileLayout("precomp", precomp_misfit, read_precomp),
    FileLayout("jsonl", jsonl_misfit, read_jsonl),
    FileLayout("csv", csv_misfit, read_csv),
)
