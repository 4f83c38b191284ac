"""What layouts have in common: files, the entries in them, and the rows that entries become once they are checked."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

from rsitr.datasets.base import Row, Split
from rsitr.datasets.names import is_text, relative_name
from rsitr.errors import DatasetError

SPLIT_NAMES: dict[str, Split] = {
    **{"train": "train", "training": "train", "restval": "train"},
    **{"val": "val", "valid": "val", "validation": "val", "dev": "val", "test": "test"},
}
"""What annotations call a split. In COCO, ``restval`` is the rest of the validation images, to train on."""
_WORD = re.compile(rf"(?<![a-z])(?:{'|'.join(sorted(SPLIT_NAMES, key=len, reverse=True))})(?![a-z])")


class Place(NamedTuple):
    """Where an image is inside a shard."""

    shard: Path
    offset: int
    """In bytes."""
    size: int
    """In bytes."""


class Lost(NamedTuple):
    """One thing of an annotation that became no part of a row."""

    what: str
    """File and place in it."""
    reason: str
    kind: Literal["image", "caption", "label", "shard", "file"]
    """A label is a class or keywords, a file is one that belongs to no sample of a shard."""


class Entry(NamedTuple):
    """An image with captions as a file states it; nothing of it is checked yet."""

    where: str
    """In the file, for messages."""
    image: Any
    """Name of the image, relative to the folder of the images."""
    captions: Any
    """One text, several, or none."""
    split: Any = None
    class_name: Any = None
    keywords: Any = None
    place: Place | None = None


class File:
    """An annotation file, read once, whatever asks for it."""

    def __init__(self, path: Path, *, folder: str = "", split: Split | None = None):
        """``folder`` is where its images are, relative to the folder of all images; ``split`` the one it is of."""
        self.path, self.folder, self.split = path, folder, split or split_named(path.stem)

    @cached_property
    def text(self) -> str:
        """Its text, without a byte order mark and with ``\\n`` as the only end of a line.

        Raises ``DatasetError`` for a file that is missing or is no text.
        """
        if not self.path.is_file():
            raise DatasetError(f"{self.path} is missing: correct the path")
        content = self.path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            raise DatasetError(f"{self.path} is compressed with gzip: unpack it first")
        encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
        try:
            return re.sub("\r\n?", "\n", content.decode(encoding))
        except UnicodeDecodeError as error:
            raise DatasetError(f"{self.path} is not text in UTF-8 ({error}): save it as UTF-8") from None

    @cached_property
    def lines(self) -> list[str]:
        """Its lines; only a line feed ends one, since captions may hold what Unicode counts as the end of a line."""
        return self.text.removesuffix("\n").split("\n")

    @cached_property
    def parsed(self) -> tuple[Any, str]:
        """Its JSON, and why it is none."""
        try:
            return json.loads(self.text), ""
        except (ValueError, RecursionError) as error:
            return None, f"is not valid JSON ({error})"


class FileLayout(NamedTuple):
    """A layout of single files."""

    name: str
    misfit: Callable[[File], str]
    """The first thing in a file that does not fit; empty if it is in the layout."""
    read: Callable[[File], Iterator[Entry | Lost]]


class Annotation(NamedTuple):
    """What an annotation says, in the project's terms."""

    rows: list[Row]
    """``image_id`` is ``path``, relative to the folder of the images."""
    layout: str
    lost: list[Lost]
    packed: dict[str, Place]
    """Of an annotation in shards: where the image of each path is."""

    @property
    def captions(self) -> int:
        """How many captions the rows have."""
        return sum(len(row.captions) for row in self.rows)


def split_named(name: str) -> Split | None:
    """The split that a name states, such as ``rs_train`` and ``captions_val2017``; None for none, or for several."""
    found = {SPLIT_NAMES[word] for word in _WORD.findall(name.lower())}
    return found.pop() if len(found) == 1 else None


def _fault(caption: Any) -> str:
    """Why a caption is none; empty if it is one."""
    if not isinstance(caption, str):
        return "not a text"
    if not caption.strip():
        return "blank"
    return "" if is_text(caption) else "not valid Unicode"


class Gathered:
    """Rows from entries. Entries of one image become one row."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.lost: list[Lost] = []
        self.packed: dict[str, Place] = {}

    def add(self, file: str, entry: Entry | Lost, folder: str, split: Split) -> None:
        """Check an entry of a file and add it; ``split`` is the one of an entry that states none.

        ``folder`` is where the images of the file are, relative to the folder of all images.

        Raises ``DatasetError`` for an image outside the folder of the images.
        """
        if isinstance(entry, Lost):
            self.lost.append(entry._replace(what=f"{file}: {entry.what}"))
            return
        where = f"{file}: {entry.where}"
        if not isinstance(entry.image, str) or not entry.image.strip():
            self.lost.append(Lost(where, "no image is named", "image"))
            return
        try:
            name = relative_name(folder + relative_name(entry.image))
        except ValueError as error:
            raise DatasetError(f"{file}: {entry.where} names {error}") from None
        stated = SPLIT_NAMES.get(str(entry.split).strip().lower()) if entry.split else split
        if stated is None:
            self.lost.append(Lost(where, f"the split {entry.split!r} is unknown", "image"))
            return
        if entry.place and name in self.packed:
            self.lost.append(Lost(where, "another sample has an image of this name", "image"))
            return
        row = self.rows.setdefault(name, Row(name, name, stated, "", [], []))
        if entry.place:
            self.packed[name] = entry.place
        captions = list(self._captions(where, entry.captions))
        if row.split != stated:
            why = f"its image is in another split as well, {row.split}"
            self.lost += [Lost(where, why, "caption")] * max(len(captions), 1)
            return
        row.captions.extend(captions)
        self.rows[name] = self._labelled(where, row, entry)

    def _captions(self, where: str, stated: Any) -> Iterator[str]:
        captions = [stated] if isinstance(stated, str) else [] if stated is None else stated
        if not isinstance(captions, list):
            self.lost.append(Lost(where, "the captions are not a list", "caption"))
            return
        for number, caption in enumerate(captions, start=1):
            text = caption.get("raw") if isinstance(caption, Mapping) else caption
            if reason := _fault(text):
                self.lost.append(Lost(f"{where}, caption {number}", f"the caption is {reason}", "caption"))
            else:
                yield " ".join(str(text).split())

    def _labelled(self, where: str, row: Row, entry: Entry) -> Row:
        """The row with class and keywords, where they are such."""
        name, words = entry.class_name or "", entry.keywords or []
        if not isinstance(name, str) or row.class_name not in ("", name.lower()):
            self.lost.append(Lost(where, "the class is not a name, or not the one before", "label"))
            name = row.class_name
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            self.lost.append(Lost(where, "the keywords are not a list of texts", "label"))
            words = []
        keywords = [*row.keywords, *(word.strip() for word in words if word.strip() not in row.keywords)]
        return row._replace(class_name=name.lower() or row.class_name, keywords=keywords)
