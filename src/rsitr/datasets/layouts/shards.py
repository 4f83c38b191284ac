"""Images and captions in tar files: webdataset's shards, and the folders of shards that CLIP_benchmark reads."""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

from rsitr.datasets.layouts.base import SPLIT_NAMES, Entry, Gathered, Lost, Place, split_named
from rsitr.datasets.tars import Member, Sample, content, samples, unusable
from rsitr.errors import DatasetError

Captions = Literal["whole", "lines"]
"""What a ``txt`` is: one caption with line breaks, or a caption a line."""
IMAGES = ("jpg", "jpeg", "png", "webp", "tif", "tiff", "bmp", "img_content")
TEXTS = ("txt", "caption")
"""Extensions of captions; RS5M's among them. ``json`` comes before these."""
FIELDS = ("captions", "caption")
"""Of ``json``."""
COLLAPSED = "webdataset's key ends at the first dot of a name: rename the files, with one dot each"
COUNT = "nshards.txt"
FARTHEST = 100
"""Numbers further apart than this many times the number of shards do not count shards."""


class ShardSet(NamedTuple):
    """Shards that belong together."""

    layout: str
    root: Path
    """The names of images begin with the places of their shards below it."""
    shards: list[Path]
    missing: list[Lost]
    """Shards that should be there."""


def is_clip_benchmark(folder: Path) -> bool:
    """Whether a folder is laid out as CLIP_benchmark's webdatasets: ``<split>/nshards.txt`` and ``<split>/0.tar``."""
    return any(folder.glob(f"*/{COUNT}"))


def clip_benchmark(folder: Path) -> ShardSet:
    """The shards of such a folder; raises ``DatasetError`` where one does not say how many there are."""
    shards, missing = [], []
    for count in sorted(folder.glob(f"*/{COUNT}")):
        stated = count.read_text(encoding="utf-8", errors="replace").strip()
        if not re.fullmatch(r"\d{1,6}", stated):
            raise DatasetError(f"{count} holds {stated[:20]!r} and not the number of shards: correct it")
        for path in (count.with_name(f"{number}.tar") for number in range(int(stated))):
            if path.is_file():
                shards.append(path)
            else:
                missing.append(Lost(path.relative_to(folder).as_posix(), "the shard is missing", "shard"))
    return ShardSet("clip-benchmark", folder, shards, missing)


def shard_set(shards: Sequence[Path], root: Path, absent: Sequence[Path] = ()) -> ShardSet:
    """Some shards; ``absent`` are those that were named and do not exist. Gaps in their numbers are missing ones."""
    gone = {str(path) for path in absent}
    series: dict[tuple[Path, str], dict[int, int]] = {}
    for path in shards:
        if match := re.fullmatch(r"(.*?)(\d{1,12})\.tar", path.name):
            series.setdefault((path.parent, match[1]), {})[int(match[2])] = len(match[2])
    for (folder, stem), numbers in series.items():
        if max(numbers) - min(numbers) < FARTHEST * len(numbers):
            width = min(numbers.values())
            gaps = sorted({*range(min(numbers), max(numbers))} - {*numbers})
            gone |= {str(folder / f"{stem}{number:0{width}}.tar") for number in gaps}
    missing = [Lost(Path(path).name, "the shard is missing", "shard") for path in sorted(gone)]
    return ShardSet("webdataset", root, sorted(shards), missing)


def read_shards(found: ShardSet, into: Gathered, split: str | None, captions: Captions | None) -> None:
    """Add the samples of shards; the split of one that states none is ``split``, or the one its shard's place names.

    ``json`` comes before ``txt``. Unless ``captions`` says otherwise, a ``txt`` is one caption, and in the folders of
    CLIP_benchmark, which reads it so, a caption a line. Raises ``CorruptArchive`` that names every shard that is cut.
    """
    lines = (captions or ("lines" if found.layout == "clip-benchmark" else "whole")) == "lines"
    broken = []
    into.lost += found.missing
    for path in found.shards:
        inside = path.relative_to(found.root) if path.is_relative_to(found.root) else Path(path.name)
        default = split or split_named(path.stem) or split_named(inside.parent.name) or "test"
        try:
            with path.open("rb") as file:
                for sample in samples(file):
                    for entry in _entries(file, path, inside, sample, lines):
                        into.add(inside.as_posix(), entry, "", SPLIT_NAMES[default])
        except (tarfile.TarError, EOFError) as error:
            broken.append(f"{path}: {error}")
    if broken:
        raise unusable(broken, len(found.shards), "name the others")


def _entries(file: IO[bytes], path: Path, inside: Path, sample: Sample | Member, lines: bool) -> Iterator[Entry | Lost]:
    if isinstance(sample, Member):
        yield Lost(sample.name, "without an extension, it belongs to no sample", "file")
        return
    yield from (Lost(member.name, "the shard has this name twice", _kind(member)) for member in sample.repeated)
    kind = next((kind for kind in IMAGES if kind in sample.parts), None)
    collapsed = _collapsed(sample, alone=kind is None)
    yield from (Lost(member.name, COLLAPSED, "image") for member in collapsed)
    if kind is None:
        yield from [] if collapsed else [Lost(sample.key, "the sample has no image", "image")]
        return
    facts, problem = _facts(file, sample)
    texts = _texts(facts, [content(file, sample.parts[name]) for name in TEXTS if name in sample.parts], lines)
    if problem and texts is None:
        yield Lost(sample.key, problem, "caption")
    image = sample.parts[kind]
    name = _name(facts) or f"{inside.with_suffix('').as_posix()}/{sample.key}.{kind}"
    # What another program calls a split need not be one.
    split = facts.get("split") if str(facts.get("split")).lower() in SPLIT_NAMES else None
    labels = facts.get("class_name"), facts.get("keywords")
    yield Entry(sample.key, name, texts, split, *labels, Place(path, image.offset, image.size))


def _kind(member: Member) -> Literal["image", "caption"]:
    return "image" if member.name.rpartition(".")[2].lower() in IMAGES else "caption"


def _collapsed(sample: Sample, *, alone: bool) -> list[Member]:
    """Images of what would be samples of their own but for dots in their names.

    An image such as ``1.seg.png`` belongs to ``1.jpg``, unless there are captions ``1.seg.txt``, or it is ``alone``.
    """
    names = [extension.rpartition(".") for extension in sample.parts]
    return [
        sample.parts[f"{stem}.{last}"]
        for stem, dot, last in names
        if dot and last in IMAGES and (alone or any(f"{stem}.{kind}" in sample.parts for kind in (*TEXTS, "json")))
    ]


def _facts(file: IO[bytes], sample: Sample) -> tuple[dict[str, Any], str]:
    """The ``json`` of a sample, and what is wrong with it."""
    if "json" not in sample.parts:
        return {}, ""
    try:
        found = json.loads(content(file, sample.parts["json"]))
    except (ValueError, RecursionError):
        return {}, "its json is not valid"
    return (found, "") if isinstance(found, dict) else ({}, "its json is not an object")


def _texts(facts: dict[str, Any], texts: list[bytes], lines: bool) -> Any:
    """The captions of a sample; None where it has none."""
    if stated := next((facts[field] for field in FIELDS if facts.get(field)), None):
        return stated
    if not texts:
        return None
    text = texts[0].decode(errors="surrogateescape")  # what is not UTF-8 is named as such later
    return [line for line in text.split("\n") if line.strip()] if lines else [text]


def _name(facts: dict[str, Any]) -> str | None:
    """The name that our own export states for an image."""
    stated = facts.get("image_id")
    return stated if isinstance(stated, str) and isinstance(facts.get("captions"), list) else None
