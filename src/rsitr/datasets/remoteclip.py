"""RemoteCLIP's RET-3: the training images of RSICD, RSITMD and UCM-Captions after its authors' de-duplication."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from rsitr.datasets.base import Bundle, Dataset, Row, Source
from rsitr.errors import DatasetError

REPOSITORY = "hf://datasets/gzqy1026/RemoteCLIP@e4b3698f73ab0afd8c1e80ddaa1b1f1c0ca4fb3d"


class RemoteCLIP(Dataset):
    """The RET-3 training list as released; file names state the original set: ``rsitmd_airport_12.png``.

    The list is what RemoteCLIP was trained on, so it is the evidence for what its weights have seen.
    """

    name = "remoteclip"
    title = "RemoteCLIP RET-3 (train)"
    citation = "F. Liu et al., 'RemoteCLIP: A vision language foundation model for remote sensing', IEEE TGRS 62, 2024"
    bundles = (
        Bundle(
            origin="official",
            sources=(
                Source(file="Ret-3_train.csv", urls=(f"{REPOSITORY}/csv_file/train/Ret-3_train.csv",)),
                Source(file="Ret-3_train.zip", urls=(f"{REPOSITORY}/data/Ret-3_train.zip",)),
            ),
            licence="other (terms of RSICD, RSITMD and UCM-Captions)",
            homepage="https://huggingface.co/datasets/gzqy1026/RemoteCLIP",
        ),
    )

    def parse(self, root: Path) -> Iterator[Row]:
        """Rows of ``Ret-3_train.csv``: tab-separated, with columns title and filename, one sentence per line.

        Images are in ``Ret-3_train/`` or, as the archive was packed, next to the list.
        """
        folder = "Ret-3_train/" if (root / "Ret-3_train").is_dir() else ""
        for name, captions in read_list(root / "Ret-3_train.csv").items():
            yield Row(name, folder + name, "train", "", captions, [])


def read_list(path: Path) -> dict[str, list[str]]:
    """Image -> its sentences, in the order of the file; raises ``DatasetError`` with the line that cannot be read."""
    if not path.is_file():
        raise DatasetError(f"{path} is missing: fetch the dataset again (`rsitr data fetch remoteclip`)")
    captions: dict[str, list[str]] = {}
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = csv.DictReader(file, delimiter="\t")
        if not {"title", "filename"} <= set(lines.fieldnames or ()):
            raise DatasetError(f"{path} is not in the expected layout: it has no columns title and filename")
        for line in lines:
            name, title = line["filename"], line["title"]
            place = PurePosixPath(name or "")
            if not name or title is None or place.is_absolute() or ".." in place.parts:
                raise DatasetError(f"{path}, line {lines.line_num}: {name!r} is not a file name next to a sentence")
            captions.setdefault(name, []).append(" ".join(title.split()))
    return captions
