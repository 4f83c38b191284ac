"""What a dataset is: where its files come from, under which terms, and how they become rows."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from rsitr.errors import DatasetError

Split = Literal["train", "val", "test"]


class Source(BaseModel):
    """One file that can be fetched.

    ``urls`` are tried in order: ``https://...``, ``hf://[datasets/]owner/repo@revision/path`` (Hugging Face) or
    ``gdrive://file-id`` (Google Drive). ``mirror`` is the file's path inside the folder that ``RSITR_MIRROR`` names.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str
    """Name of the file under ``data/raw/<dataset>/``."""
    urls: tuple[str, ...] = ()
    mirror: str | None = None
    bytes: int | None = None
    sha256: str | None = None
    optional: bool = False
    """An optional file (images of a copy with only captions) may be missing; the rows then say so."""


class Bundle(BaseModel):
    """One complete way to obtain a dataset: all its files, from one origin, under one licence."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    origin: Literal["official", "huggingface", "mirror", "generated", "imported"]
    sources: tuple[Source, ...]
    licence: str
    homepage: str

    def and_mirror(self, folder: str, *files: tuple[str, int | None, str | None]) -> tuple[Bundle, Bundle]:
        """This bundle and one of a mirror's files under the same licence: name in ``folder``, size in bytes, SHA-256.

        A file whose size is None is optional.
        """
        sources = tuple(
            Source(file=file, mirror=f"{folder}/{file}", bytes=size, sha256=sha256, optional=size is None)
            for file, size, sha256 in files
        )
        return self, self.model_copy(update={"origin": "mirror", "sources": sources})


class Row(NamedTuple):
    """One image of a dataset as its annotation states it, before any pixels are read."""

    image_id: str
    """Unique within the dataset; the official file name."""
    path: str
    """Of the image, relative to the extracted root."""
    split: Split
    class_name: str
    """Scene class, lower-case; empty where the dataset states none."""
    captions: list[str]
    """Empty in a scene classification set."""
    keywords: list[str]
    published_class: str | None = None
    """The class that published code uses, where ``class_name`` corrects it."""


class Dataset(ABC):
    """A registered dataset. Subclasses state the facts and parse the extracted files."""

    name: ClassVar[str]
    title: ClassVar[str]
    citation: ClassVar[str]
    bundles: ClassVar[tuple[Bundle, ...]]
    """In order of preference; the first whose files are all available is used."""
    synthetic: ClassVar[bool] = False
    """Synthetic numbers are labelled as such and never shown next to published ones."""
    packed: ClassVar[bool] = False
    """Archives go to ``parse`` as they are, and images are read from them (``rsitr.datasets.tars.packed``), because
    extracted they would be millions of small files."""
    shards: ClassVar[tuple[str, ...]] = ()
    """Patterns of the fetched files that are webdataset shards of the training split, which pretraining reads as they
    are."""

    reading: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    """How its images are to be read, where files do not say: ``bands`` and ``nodata`` of ``read_picture``."""

    def prepare(self, root: Path) -> None:
        """Write the files of a generated dataset under ``root``; a fetched one has nothing to prepare."""
        raise NotImplementedError(f"{self.name} is fetched, not generated")

    @abstractmethod
    def parse(self, root: Path) -> Iterator[Row]:
        """Yield the rows of the dataset whose files were extracted under ``root``.

        Rows of a set with classes but no sentences have empty ``captions`` and are all in the split "train".
        Raises ``DatasetError`` with the file and the entry when the annotation is not in the official layout.
        """


def mirror_dir() -> Path | None:
    """The folder that ``RSITR_MIRROR`` names, or None."""
    value = os.environ.get("RSITR_MIRROR")
    return Path(value).expanduser() if value else None


def class_folder_rows(root: Path, folder: str) -> Iterator[Row]:
    """Rows of a classification set in ``<folder>/<Class>/<image>.jpg``, in path order: all train, without captions.

    The class is the name of the folder in lower case. A folder without images raises ``DatasetError``.
    """
    images = sorted(path for path in (root / folder).glob("*/*.jpg") if path.is_file())
    if not images:
        raise DatasetError(f"{root / folder} holds no <class>/<image>.jpg: fetch the dataset again")
    for path in images:
        yield Row(path.name, path.relative_to(root).as_posix(), "train", path.parent.name.lower(), [], [])
