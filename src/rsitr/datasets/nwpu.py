"""NWPU-Captions: the 31,500 images of NWPU-RESISC45 with five sentences each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rsitr.datasets.base import Bundle, Dataset, Row, Source
from rsitr.datasets.karpathy import SPLITS
from rsitr.errors import DatasetError

REPOSITORY = "HaiyanHuang98/NWPU-Captions/61aa78b5edb3c67ddfcdc1cdbffe8c56963ce1da"
"""Of the authors, at the commit whose files are described here."""
SENTENCES = ("raw", "raw_1", "raw_2", "raw_3", "raw_4")


class NWPU(Dataset):
    """NWPU-Captions with its official split 25200 / 3150 / 3150.

    The published archive lacks ``airplane_111.jpg``, which the annotation lists; its row stays and says so.
    """

    name = "nwpu"
    title = "NWPU-Captions"
    citation = (
        "Q. Cheng et al., 'NWPU-Captions dataset and MLCA-Net for remote sensing image captioning', IEEE TGRS 60, 2022"
    )
    bundles = (
        Bundle(
            origin="official",
            sources=(
                Source(
                    file="dataset_nwpu.json",
                    urls=(f"https://raw.githubusercontent.com/{REPOSITORY}/dataset_nwpu.json",),
                ),
                Source(
                    file="NWPU_images.tar.gz",
                    urls=(f"https://media.githubusercontent.com/media/{REPOSITORY}/NWPU_images.tar.gz",),
                    bytes=407575520,
                    sha256="720d6c3430489c9aa99232c3d53b6b9ca48d4b838918d17e7b6e766483fddbec",
                ),
            ),
            licence="none stated; images: CC-BY-NC-4.0 (NWPU-RESISC45)",
            homepage="https://github.com/HaiyanHuang98/NWPU-Captions",
        ),
    )

    def parse(self, root: Path) -> Iterator[Row]:
        """Rows of ``dataset_nwpu.json``, where every class holds a list; images: ``NWPU_images/<class>/<name>``."""
        path = root / "dataset_nwpu.json"
        for class_name, entries in read_classes(path).items():
            for position, entry in enumerate(entries):
                try:
                    name, split = entry["filename"], entry["split"]
                    captions = [" ".join(entry[key].split()) for key in SENTENCES]
                    outside = "/" in class_name + name
                except (KeyError, TypeError, AttributeError) as error:
                    raise DatasetError(f"{path}: {class_name}[{position}] is not in the layout ({error!r})") from None
                if split not in SPLITS or outside:
                    raise DatasetError(f"{path}: {class_name}[{position}] ({name}) has a wrong name or split {split!r}")
                yield Row(name, f"NWPU_images/{class_name}/{name}", split, class_name.lower(), captions, [])


def read_classes(path: Path) -> dict[str, list[Any]]:
    """Class -> entries; raises ``DatasetError`` for a file that is missing, broken or of another layout."""
    if not path.is_file():
        raise DatasetError(f"{path} is missing: fetch the dataset again (`rsitr data fetch nwpu`)")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} is not valid JSON ({error}): delete it and fetch the dataset again") from None
    if not isinstance(content, dict) or not all(isinstance(entries, list) for entries in content.values()):
        raise DatasetError(f"{path} is not in the expected layout: every class must hold a list of images")
    return content
