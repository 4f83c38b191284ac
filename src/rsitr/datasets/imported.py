"""Datasets that were imported from a user's own folder: what the receipt of an import says of them."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from rsitr.datasets.base import Bundle, Dataset, Row, Source
from rsitr.datasets.karpathy import karpathy_rows
from rsitr.errors import DatasetError
from rsitr.params.ids import NAME
from rsitr.records.paths import Paths

RECEIPT = "source.json"
"""Next to the files of a dataset: where they came from."""
ORIGIN: Literal["imported"] = "imported"
ANNOTATION = "annotation.json"
IMAGES = "images"


class ImportReceipt(BaseModel):
    """What was imported: the receipt of a fetched dataset, with where the images are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    origin: str
    title: str
    licence: str
    files: list[str]
    """The annotation, in Karpathy's layout."""
    bytes: int
    """Of the annotation."""
    sha256: str
    """Of the annotation."""
    images: str
    """Absolute path of their folder, or ``images`` for those unpacked next to the receipt."""
    layout: str
    """Of the annotation that was imported."""
    lost: list[str]
    """What of it was left out, by reason."""
    bands: list[int] | None = None
    """Of the images, to be shown as red, green and blue, or one as grey, from 1; None: as files declare."""
    nodata: float | None = None
    """Value of pixels without data; None: as files declare."""


class Imported(Dataset):
    """A folder of images with captions that ``rsitr data import`` made a dataset."""

    folder: ClassVar[Path]
    """Of the receipt."""
    receipt: ClassVar[ImportReceipt]

    def prepare(self, root: Path) -> None:
        """Link the images to ``root``; raises ``DatasetError`` where their folder is gone."""
        images, link = Path(self.folder, self.receipt.images).absolute(), root / IMAGES
        if not images.is_dir():
            raise DatasetError(f"{images}, the images of {self.name}, is not there: {again(self.name)}")
        if link.is_symlink():
            link.unlink()
        elif link.is_dir():
            shutil.rmtree(link)
        link.symlink_to(os.path.relpath(images, root.resolve()) if self.receipt.images == IMAGES else images)

    def parse(self, root: Path) -> Iterator[Row]:
        """Rows of the normalised annotation."""
        yield from karpathy_rows(root / ANNOTATION, image_dir=IMAGES)


def again(name: str) -> str:
    """What to do where an imported dataset is not what it was."""
    return f"import it again (`rsitr data import FOLDER --as {name}`)"


def imported() -> dict[str, type[Dataset]]:
    """Every imported dataset by name, as the receipts below the working folder have them."""
    receipts = sorted(Path().glob(f"{Paths.raw('*')}/{RECEIPT}"))
    found = {path.parent.name: read_receipt(path) for path in receipts if re.fullmatch(NAME, path.parent.name)}
    return {name: _dataset(name, receipt) for name, receipt in found.items() if receipt}


def read_receipt(path: Path) -> ImportReceipt | None:
    """A receipt of an import; None for one of another origin, and for one that is damaged."""
    try:
        receipt = ImportReceipt.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
    return receipt if receipt.origin == ORIGIN else None


def _dataset(dataset: str, read: ImportReceipt) -> type[Dataset]:
    class Known(Imported):
        name = dataset
        title = read.title
        citation = f"{read.title}, imported from a folder; no publication is stated"
        bundles = (
            Bundle(
                origin=ORIGIN,
                sources=(Source(file=ANNOTATION, bytes=read.bytes, sha256=read.sha256),),
                licence=read.licence,
                homepage="",
            ),
        )
        folder = Paths.raw(dataset)
        receipt = read
        reading = MappingProxyType(read.model_dump(include={"bands", "nodata"}, exclude_none=True))

    return Known
