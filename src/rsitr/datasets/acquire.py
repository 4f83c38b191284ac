"""From a name to a canonical table: fetch the files, extract them, parse them."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any, NamedTuple

from rsitr.datasets import get_dataset
from rsitr.datasets.archives import extract
from rsitr.datasets.base import Dataset
from rsitr.datasets.canonical import SHOWN, build_dataset
from rsitr.datasets.fetch import fetch_any
from rsitr.datasets.imported import ORIGIN, RECEIPT, Imported, again
from rsitr.datasets.pictures import unreadable_because
from rsitr.datasets.table import DatasetFacts
from rsitr.errors import DatasetError
from rsitr.records.files import replacing, write_text
from rsitr.records.parquet import read_batches

ARCHIVES = (".zip", ".rar", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")


def fetch_dataset(name: str, raw: Path, mirror: Path | None) -> Path:
    """Fetch the files of a dataset into ``raw`` and return the receipt that lists them and their origin.

    Those of an imported dataset are there or not; if not, ``DatasetError`` says to import it again.
    """
    dataset = get_dataset(name)
    if isinstance(dataset, Imported):
        if not all((raw / file).is_file() for file in (RECEIPT, *dataset.receipt.files)):
            raise DatasetError(f"{raw} is not complete, and {name} was imported, not fetched: {again(name)}")
        return raw / RECEIPT
    generated = [bundle for bundle in dataset.bundles if bundle.origin == "generated"]
    bundle, files = (generated[0], []) if generated else fetch_any(dataset.bundles, raw, mirror=mirror)
    receipt = raw / RECEIPT
    content = {"origin": bundle.origin, "licence": bundle.licence, "files": sorted(file.name for file in files)}
    write_text(receipt, json.dumps(content, indent=1) + "\n")
    return receipt


class Built(NamedTuple):
    """A canonical table, and what is wrong with its images."""

    facts: DatasetFacts
    images: int
    problems: list[tuple[str, str]]
    """Image id and problem of every image that cannot be used."""
    cause: str
    """Why the first of those that are unreadable is; empty if all can be read."""
    shown: int
    """Images that were stored again as they are to be seen (``rsitr.datasets.images.inspect``)."""

    def lines(self) -> list[str]:
        """Lines for a user: how many images have which problem, the first three, and the cause."""
        found: dict[str, list[str]] = {}
        for image, problem in self.problems:
            found.setdefault(problem, []).append(image)
        lines = [
            f"{len(names)} of {self.images} images: {problem}, e.g. {', '.join(names[:3])}"
            for problem, names in found.items()
        ]
        if self.cause:
            lines.append(self.cause)
        if self.shown:
            lines.append(
                f"{self.shown} of {self.images} images are not plain pictures of 8 bits: they were stretched, turned "
                f"or filled once, and are PNGs in {self.facts.root}/{SHOWN}"
            )
        return lines


def build(name: str, receipt: Path, root: Path, out: Path) -> Built:
    """Extract (or generate) the files of a dataset under ``root`` and write its canonical table to ``out``.

    Raises ``DatasetError``, and writes no table, where no image at all can be used, unless optional files that would
    hold them were not fetched.
    """
    dataset = get_dataset(name)
    source = json.loads(receipt.read_text(encoding="utf-8"))
    root.mkdir(parents=True, exist_ok=True)
    if source["origin"] in ("generated", ORIGIN):
        dataset.prepare(root)
    for name_of_file in source["files"]:
        file = receipt.parent / name_of_file
        if file.name.endswith(ARCHIVES) and not dataset.packed:
            extract(file, root)
        else:
            _place(file, root / file.name)
    with replacing(out) as partial:
        facts = build_dataset(dataset, root, source["origin"], source["licence"], partial)
        problems, images, shown, unreadable = [], 0, 0, None
        for rows in read_batches(partial, ["image_id", "path", "problem"]):
            for row in rows.to_pylist():
                images, shown = images + 1, shown + row["path"].startswith(f"{SHOWN}/")
                if row["problem"]:
                    problems.append((row["image_id"], row["problem"]))
                if row["problem"] == "unreadable image":
                    unreadable = unreadable or root / row["path"]
        built = Built(facts, images, problems, unreadable_because(unreadable) if unreadable else "", shown)
        if len(built.problems) == built.images and not _without_optional(dataset, source):
            raise DatasetError(
                f"{name} has no image that can be used: {'; '.join(built.lines())}. The names in its annotation and "
                f"those of the files below {root} have to agree: correct them, or fetch the dataset again"
            )
    return built


def _without_optional(dataset: Dataset, source: dict[str, Any]) -> bool:
    """Whether files that a dataset can do without, such as the images of a mirror, were not fetched."""
    stated = [file for bundle in dataset.bundles if bundle.origin == source["origin"] for file in bundle.sources]
    return any(file.optional and file.file not in source["files"] for file in stated)


def _place(file: Path, target: Path) -> None:
    """The same file under another name; a copy only where there are no links, since shards may fill the disk."""
    target.unlink(missing_ok=True)
    try:
        os.link(file, target)
    except OSError:
        shutil.copyfile(file, target)
