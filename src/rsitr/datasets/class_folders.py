"""The layout of scene classification sets: one folder of images for each class."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rsitr.datasets.base import Row
from rsitr.errors import DatasetError


def class_folder_rows(root: Path, folder: str, suffix: str = ".jpg") -> Iterator[Row]:
    """Rows of ``<folder>/<Class>/<image>``, in path order: no captions, all in the training split.

    The class is the name of the folder in lower case. A folder without images raises ``DatasetError``.
    """
    images = sorted(path for path in (root / folder).glob(f"*/*{suffix}") if path.is_file())
    if not images:
        raise DatasetError(f"{root / folder} holds no <class>/<image>{suffix}: fetch the dataset again")
    for path in images:
        yield Row(path.name, path.relative_to(root).as_posix(), "train", path.parent.name.lower(), [], [])
