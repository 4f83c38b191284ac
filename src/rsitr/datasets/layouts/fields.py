"""Fields that annotations use for the same things, in JSON objects and in the columns of tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rsitr.datasets.layouts.base import Entry

IMAGE = (
    *("file_name", "filename", "image", "filepath", "image_path", "img_path", "path"),
    *("image_name", "image_file", "img", "file"),
)
CAPTIONS = ("captions", "caption", "sentences", "title", "text", "raw", "sentence", "description", "comment")
SPLIT = ("split",)
CLASS = ("class_name", "classname", "label_name", "class", "category")
KEYWORDS = ("keywords",)
KNOWN = frozenset((*IMAGE, *CAPTIONS, *SPLIT, *CLASS, *KEYWORDS))


def misfit(fields: Iterable[str]) -> str:
    """Why fields are not those of an image with captions; empty if they are."""
    fields = list(fields)
    missing = [
        f"{what} ({', '.join(names)})"
        for what, names in (("an image", IMAGE), ("captions", CAPTIONS))
        if not set(names) & set(fields)
    ]
    return f"has no field for {' and '.join(missing)}, only {', '.join(map(repr, fields[:8]))}" if missing else ""


def entry(fields: Mapping[str, Any], where: str) -> Entry:
    """The image and the captions of a set of fields; of several fields for the same, the first one listed above."""
    values = (
        next((fields[name] for name in names if name in fields), None)
        for names in (IMAGE, CAPTIONS, SPLIT, CLASS, KEYWORDS)
    )
    return Entry(where, *values)
