"""Layouts of one JSON document: Karpathy's splits, COCO's captions, and the lists of ALBEF and X-VLM."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rsitr.datasets.layouts import fields
from rsitr.datasets.layouts.base import Entry, File, FileLayout, Lost


def _object_with(file: File, *lists: str) -> str:
    """Why a file is not an object with such lists of objects; empty if it is."""
    content, problem = file.parsed
    if problem:
        return problem
    if not isinstance(content, dict):
        return "holds no object at its top"
    for name in lists:
        if not isinstance(content.get(name), list):
            return f"has no list {name!r}"
    return next((f"{name}[0] is not an object" for name in lists if not _objects(content[name][:1])), "")


def _objects(items: list[Any]) -> bool:
    return all(isinstance(item, dict) for item in items)


def _misses(file: File, name: str, *fields: str) -> str:
    """What the first object of a list lacks."""
    first = file.parsed[0][name][:1]
    return next((f"{name}[0] has no {field!r}" for item in first for field in fields if field not in item), "")


def karpathy_misfit(file: File) -> str:
    """See ``FileLayout.misfit``."""
    return _object_with(file, "images") or _misses(file, "images", "filename")


def read_karpathy(file: File) -> Iterator[Entry | Lost]:
    """``{"images": [{"filename", "filepath"?, "split", "sentences": [{"raw"}], "classname"?, "keywords"?}]}``.

    Ids are not read. COCO's has the folder of an image in ``filepath``.
    """
    for number, item in enumerate(file.parsed[0]["images"]):
        where = f"images[{number}]"
        if not isinstance(item, dict):
            yield Lost(where, "it is not an object", "image")
            continue
        name, folder = item.get("filename"), item.get("filepath")
        if isinstance(name, str) and isinstance(folder, str) and folder:
            name = f"{folder}/{name}"
        labels = item.get("classname"), item.get("keywords")
        yield Entry(where, name, item.get("sentences"), item.get("split"), *labels)


def coco_misfit(file: File) -> str:
    """See ``FileLayout.misfit``."""
    return (
        _object_with(file, "images", "annotations")
        or _misses(file, "images", "id", "file_name")
        or _misses(file, "annotations", "image_id", "caption")
    )


def read_coco(file: File) -> Iterator[Entry | Lost]:
    """``{"images": [{"id", "file_name"}], "annotations": [{"image_id", "caption"}]}``."""
    content, places = file.parsed[0], {}
    entries: list[tuple[str, Any, list[Any]]] = []
    for number, item in enumerate(content["images"]):
        where = f"images[{number}]"
        name = str(item.get("id")) if isinstance(item, dict) and "id" in item else None
        if name is None or name in places:
            yield Lost(where, "it has no id" if name is None else "its id is that of another image as well", "image")
            continue
        places[name] = len(entries)
        entries.append((where, item.get("file_name"), []))
    for number, item in enumerate(content["annotations"]):
        where, known = f"annotations[{number}]", isinstance(item, dict) and str(item.get("image_id")) in places
        if known and "caption" in item:
            entries[places[str(item["image_id"])]][2].append(item["caption"])
        else:
            yield Lost(where, "it has no caption" if known else "its image is not listed", "caption")
    for where, image, captions in entries:
        yield Entry(where, image, captions)


def albef_misfit(file: File) -> str:
    """See ``FileLayout.misfit``."""
    content, problem = file.parsed
    if problem:
        return problem
    if not isinstance(content, list):
        return "holds no list at its top"
    if not _objects(content[:1]):
        return "[0] is not an object"
    return f"[0] {wrong}" if content and (wrong := fields.misfit(content[0])) else ""


def read_albef(file: File) -> Iterator[Entry | Lost]:
    """``[{"image", "caption", "label_name"?}]``: of train one entry a caption, of val and test one an image."""
    for number, item in enumerate(file.parsed[0]):
        where = f"[{number}]"
        if isinstance(item, dict):
            yield fields.entry(item, where)
        else:
            yield Lost(where, "it is not an object", "image")


LAYOUTS = (
    FileLayout("coco", coco_misfit, read_coco),
    FileLayout("karpathy", karpathy_misfit, read_karpathy),
    FileLayout("albef", albef_misfit, read_albef),
)
