"""The JSON layout of Karpathy's splits, in which nearly every caption dataset of remote sensing is published.

``{"dataset": ..., "images": [{"filename", "split", "sentences": [{"raw"}], "classname"?, "keywords"?}]}``
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any, get_args

from rsitr.datasets.base import Row, Split
from rsitr.datasets.names import relative_name, with_slashes
from rsitr.errors import DatasetError

SPLITS = get_args(Split)


def read_json(path: Path) -> list[dict[str, Any]]:
    """The ``images`` list of a Karpathy-style file; raises ``DatasetError`` with what is wrong and where."""
    if not path.is_file():
        raise DatasetError(f"{path} is missing: fetch the dataset again (`rsitr data fetch`), or correct the path")
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path} is not valid JSON ({error}): repair it or fetch the dataset again") from None
    if not isinstance(content, dict) or not isinstance(content.get("images"), list):
        raise DatasetError(f"{path} is not in the expected layout: the key 'images' must hold a list")
    return content["images"]


def karpathy_rows(
    path: Path,
    *,
    image_dir: str,
    class_of: Callable[[dict[str, Any]], str] = lambda entry: entry.get("classname", ""),
    split_of: Callable[[dict[str, Any]], Any] = lambda entry: entry["split"],
) -> Iterator[Row]:
    """Rows of a Karpathy-style JSON.

    ``image_dir`` is where the images are, relative to the extracted root; ``class_of`` and ``split_of`` find the class
    and the split of an entry if they are elsewhere or under other names. An image without captions is yielded with an
    empty list, so that it is reported, not lost; an entry that cannot be understood raises ``DatasetError``.
    """
    for position, entry in enumerate(read_json(path)):
        try:
            name, split, sentences = with_slashes(entry["filename"]), split_of(entry), entry.get("sentences", [])
            captions = [" ".join(sentence["raw"].split()) for sentence in sentences]
            class_name = class_of(entry).lower()
            keywords = [keyword.strip() for keyword in entry.get("keywords", [])]
        except (KeyError, IndexError, ValueError, TypeError, AttributeError) as error:
            raise DatasetError(f"{path}: images[{position}] is not in the expected layout ({error!r})") from None
        if split not in SPLITS:
            raise DatasetError(f"{path}: images[{position}] ({name}) has the unknown split {split!r}")
        try:
            name = relative_name(name)
        except ValueError as error:
            raise DatasetError(f"{path}: images[{position}] names {error}") from None
        yield Row(name, f"{image_dir}/{name}", split, class_name, captions, keywords)


def karpathy_json(dataset: str, rows: Iterable[Mapping[str, Any]]) -> str:
    """The text of a Karpathy-style JSON of rows with ``image_id, split, class_name, captions, keywords``."""
    entries, sentids = [], count()
    for number, row in enumerate(rows):
        sentences = [{"raw": caption, "imgid": number, "sentid": next(sentids)} for caption in row["captions"]]
        entry = {"filename": row["image_id"], "imgid": number, "split": row["split"]}
        entry |= {"sentids": [sentence["sentid"] for sentence in sentences], "sentences": sentences}
        entries.append(entry | {"classname": row["class_name"], "keywords": row["keywords"]})
    return json.dumps({"dataset": dataset, "images": entries}, ensure_ascii=False, indent=1) + "\n"
