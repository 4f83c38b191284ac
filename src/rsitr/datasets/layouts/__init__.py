"""Annotations of images and captions, in any layout of the field: one way to read them all.

Nothing is left out in silence: what becomes no part of a row is in ``Annotation.lost``, with where it was and why.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from braceexpand import braceexpand

from rsitr.datasets.base import Split
from rsitr.datasets.layouts import columns, json_files, text_files
from rsitr.datasets.layouts.base import SPLIT_NAMES, Annotation, Entry, File, FileLayout, Gathered, Lost, Place
from rsitr.datasets.layouts.shards import Captions, ShardSet, clip_benchmark, is_clip_benchmark, read_shards, shard_set
from rsitr.datasets.names import with_slashes
from rsitr.errors import DatasetError

__all__ = ["LAYOUTS", "Annotation", "Captions", "Lost", "Place", "read_annotation", "reasons"]

_OF_FILES = {layout.name: layout for layout in (*json_files.LAYOUTS, *text_files.LAYOUTS, *columns.LAYOUTS)}
_IMAGEFOLDER, _WEBDATASET, _CLIP_BENCHMARK = "huggingface", "webdataset", "clip-benchmark"
LAYOUTS = (*_OF_FILES, _IMAGEFOLDER, _WEBDATASET, _CLIP_BENCHMARK)
"""Every layout that is known here. ``huggingface`` is its imagefolder with metadata."""
_METADATA = {"metadata.parquet": "parquet", "metadata.jsonl": "jsonl", "metadata.csv": "csv"}
_ENDINGS = {
    ".json": ("coco", "karpathy", "albef", "jsonl"),
    ".jsonl": ("jsonl",),
    ".csv": ("csv",),
    ".tsv": ("csv",),
    ".parquet": ("parquet",),
    ".txt": ("precomp", "csv"),
}
"""Ending of a file -> the layouts it may be in; any other ending may be in all."""
_REASONS = 10
_MOST = 100
"""Files of a folder that are tried."""
_SPECIAL = "*?[{"
_LONGEST = 1_000_000
"""Files that a range in braces may stand for."""


def read_annotation(
    path: Path, layout: str | None = None, *, split: Split | None = None, captions: Captions | None = None
) -> Annotation:
    """The rows of an annotation: of a file, a folder, or a pattern such as ``shards-{000..123}.tar`` or ``rs_*.json``.

    The layout (one of ``LAYOUTS``) is recognised from the content unless it is named. The split of an image is the one
    that is stated for it; else ``split``; else the one that the name of its file states, such as ``rs_train.json``;
    else test. ``captions`` says what the ``txt`` of a shard is (``rsitr.datasets.layouts.shards``).

    Raises ``DatasetError`` for an annotation in no known layout, one that names files outside the folder of its images
    and one of nothing, and ``CorruptArchive`` for shards that are cut off.
    """
    if layout is not None and layout not in LAYOUTS:
        raise DatasetError(f"unknown layout {layout!r}: the known ones are {', '.join(LAYOUTS)}")
    found, into = _found(path, layout), Gathered()
    if isinstance(found, ShardSet):
        read_shards(found, into, split, captions)
        name = found.layout
    else:
        name, way, files = found
        for file in files:
            for entry in way.read(file):
                stated = split or file.split or (_split_of_folder(entry) if name == _IMAGEFOLDER else None)
                into.add(f"{file.folder}{file.path.name}", entry, file.folder, stated or "test")
    if not into.rows:
        said = f"lists no images: {'; '.join(reasons(into.lost))}" if into.lost else "lists no images"
        raise DatasetError(f"{path} (read as {name}) {said}")
    return Annotation(list(into.rows.values()), name, into.lost, into.packed)


def _split_of_folder(entry: Entry | Lost) -> Split | None:
    """The split that an imagefolder with metadata in one file states by the folder of an image."""
    image = entry.image if isinstance(entry, Entry) else None
    return SPLIT_NAMES.get(with_slashes(image).partition("/")[0].lower()) if isinstance(image, str) else None


def reasons(lost: Sequence[Lost]) -> list[str]:
    """What was lost, by kind and reason, as lines for a user: how many, why, and the first three.

    The most frequent reasons have a line each; the others, of which a broken file may have thousands, share one.
    """
    found: dict[tuple[str, str], list[str]] = {}
    for each in lost:
        found.setdefault((each.kind, each.reason), []).append(each.what)
    lines = [
        f"{len(whats)} {kind if len(whats) == 1 else f'{kind}s'}: {reason}, e.g. {', '.join(whats[:3])}"
        for (kind, reason), whats in sorted(found.items(), key=lambda item: -len(item[1]))
    ]
    rest = len(lines) - _REASONS
    return lines if rest <= 0 else [*lines[:_REASONS], f"and more for {rest} other reasons"]


_Files = tuple[str, FileLayout, list[File]]


def _found(path: Path, layout: str | None) -> _Files | ShardSet:
    """What a path stands for."""
    if path.is_dir():
        return _in_folder(path, layout)
    if path.exists() or not any(mark in str(path) for mark in _SPECIAL):
        return _of_paths(path, [path], [], layout)
    for first, last in re.findall(r"\{(\d+)\.\.(\d+)", str(path)):
        if abs(int(last) - int(first)) > _LONGEST:
            raise DatasetError(f"{path} stands for more than {_LONGEST:,} files: correct the numbers in its braces")
    try:
        places = [Path(name) for name in braceexpand(str(path))]
    except ValueError as error:
        raise DatasetError(f"{path} is not a pattern of files: {error}") from None
    matched = {place: _matching(place) for place in places}
    files = sorted({file for each in matched.values() for file in each})
    if not files:
        raise DatasetError(f"no file matches {path}: correct the pattern")
    return _of_paths(path, files, [place for place, each in matched.items() if not each], layout)


def _matching(place: Path) -> list[Path]:
    if place.exists():
        return [place]
    return [each for each in Path(place.anchor).glob(str(place.relative_to(place.anchor))) if each.is_file()]


def _of_paths(stated: Path, paths: list[Path], absent: list[Path], layout: str | None) -> _Files | ShardSet:
    """What some files are that a path or pattern stands for."""
    tars = [path for path in paths if path.suffix == ".tar"]
    if layout in (_WEBDATASET, _CLIP_BENCHMARK) or (tars and layout is None):
        if len(tars) < len(paths):
            raise DatasetError(f"{stated} names other files than shards, such as {sorted({*paths} - {*tars})[0]}")
        return shard_set(tars, Path(os.path.commonpath([path.parent for path in tars])), absent)
    if layout == _IMAGEFOLDER:
        raise DatasetError(f"{stated} is not a folder, and {_IMAGEFOLDER} is a layout of folders: name the folder")
    if absent:
        raise DatasetError(f"{absent[0]} is missing, which {stated} names")
    return _alike(stated, [File(path) for path in paths], layout)


def _in_folder(folder: Path, layout: str | None) -> _Files | ShardSet:
    """The annotation in a folder: the first kind of the following that it holds."""
    if layout in (None, _CLIP_BENCHMARK) and is_clip_benchmark(folder):
        return clip_benchmark(folder)
    tars = sorted([*folder.glob("*.tar"), *folder.glob("*/*.tar")])
    if layout in (None, _WEBDATASET) and tars:
        return shard_set(tars, folder)
    if layout in (None, _IMAGEFOLDER) and (found := _metadata(folder)):
        name, way, files = _alike(folder, found, _METADATA[found[0].path.name])
        return _IMAGEFOLDER, way, files
    if layout in (_CLIP_BENCHMARK, _WEBDATASET, _IMAGEFOLDER):
        what = {_CLIP_BENCHMARK: "<split>/nshards.txt", _WEBDATASET: "*.tar"}.get(layout, "metadata.jsonl or .csv")
        raise DatasetError(f"{folder} is not in the layout {layout}: it has no {what}")
    files = [File(path) for path in sorted(folder.iterdir()) if path.is_file() and path.suffix in _ENDINGS]
    if len(files) > _MOST:
        raise DatasetError(f"{folder} holds {len(files)} files that may be annotations: name one, or a pattern")
    fitting = {file: name for file in files if (name := _guess(file, layout)[0])}
    if not fitting:
        nearest = "; ".join(f"{file.path.name}: {_guess(file, layout)[1]}" for file in files[:3])
        raise DatasetError(_unknown(folder, nearest or "it holds no file that may be one"))
    return _alike(folder, list(fitting), layout)


def _metadata(folder: Path) -> list[File]:
    """The metadata files of an imagefolder; the folder of a split may hold its own."""
    found = []
    for place in [folder, *sorted(path for path in folder.iterdir() if path.is_dir())]:
        inside = "" if place == folder else f"{place.name}/"
        split = SPLIT_NAMES.get(place.name.lower()) if inside else None
        name = next((name for name in _METADATA if (place / name).is_file()), None)
        found += [File(place / name, folder=inside, split=split)] if name else []
    return found


def _alike(stated: Path, files: list[File], layout: str | None) -> _Files:
    """Files in one layout; raises ``DatasetError`` where they are not."""
    found = {}
    for file in files:
        name, why = _guess(file, layout)
        if not name:
            raise DatasetError(
                _unknown(file.path, why) if layout is None else f"{file.path} is not in the layout named: {why}"
            )
        found[file.path.name] = name
    if len(names := {*found.values()}) > 1:
        listed = ", ".join(f"{file} ({name})" for file, name in found.items())
        raise DatasetError(f"{stated} holds annotations in several layouts: {listed}: name one layout or one file")
    (name,) = names
    return name, _OF_FILES[name], files


def _guess(file: File, layout: str | None) -> tuple[str, str]:
    """The layout of a file, and where it fits none, why not."""
    ending = file.path.suffix.lower()
    names = [layout] if layout else list(_ENDINGS.get(ending, _OF_FILES))
    misfits: dict[str, list[str]] = {}
    for name in names:
        misfit = _OF_FILES[name].misfit(file)
        if not misfit:
            return name, ""
        misfits.setdefault(misfit, []).append(name)
    return "", "; ".join(f"{', '.join(same)}: {misfit}" for misfit, same in misfits.items())


def _unknown(path: Path, nearest: str) -> str:
    return f"{path} is in no layout that is known here ({', '.join(LAYOUTS)}). What does not fit: {nearest}"
