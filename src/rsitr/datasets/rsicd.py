"""RSICD: 10,921 images of 224 x 224 pixels with five sentences each, the largest of the field's classic sets."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from rsitr.datasets.base import Bundle, Dataset, Row, Source
from rsitr.datasets.karpathy import karpathy_rows
from rsitr.datasets.protocols import val_list
from rsitr.errors import DatasetError

REPOSITORY = "201528014227051/RSICD_optimal/fc33b4555e4baa4d2f05ff0449479c89da2eeac2"
"""Of the authors, at the commit whose files are described here."""


class RSICD(Dataset):
    """RSICD with its official split 8734 / 1094 / 1093.

    921 images have a bare number as their name (``00001.jpg``); their class comes from the published class list.
    """

    name = "rsicd"
    title = "RSICD"
    citation = (
        "X. Lu, B. Wang, X. Zheng, X. Li, 'Exploring models and data for remote sensing image caption generation', "
        "IEEE TGRS 56(4), 2018"
    )
    bundles = Bundle(
        origin="official",
        sources=(
            Source(
                file="RSICD_images.zip",
                urls=(
                    f"https://media.githubusercontent.com/media/{REPOSITORY}/RSICD_images.zip",
                    "gdrive://0B1jt7lJDEXy3aE90cG9YSl9ScUk",
                ),
                bytes=484955574,
                sha256="0d3ebda15b8b1e5c2754270d38462251e8c61489b54e463e499c978da4b91d10",
            ),
            Source(
                file="dataset_rsicd.json", urls=(f"https://raw.githubusercontent.com/{REPOSITORY}/dataset_rsicd.json",)
            ),
            Source(
                file="txtclasses_rsicd.rar",
                urls=(f"https://raw.githubusercontent.com/{REPOSITORY}/txtclasses_rsicd.rar",),
                bytes=18942,
                sha256="0ce6663c67e9e9301511e0719ce93108aa45fb8468dd174c446d5ab733975b99",
            ),
            val_list("rsicd", 160705, "a47fa8772985cd5269a840d9384daac94e8475d130545935adb553d9629f1416"),
        ),
        licence="none stated",
        homepage="https://github.com/201528014227051/RSICD_optimal",
    ).and_mirror(
        "rsicd",
        ("RSICD_images-1of4.zip", 23218786, "a8abe52443bf98ac45374fdd2d5da1222992ccf6d8b4d258c5c2d32f8eb8dbbf"),
        ("RSICD_images-2of4.zip", 28432260, "652282e758b745540390b5305ebfcf90dbd42aee8369f471d3230434355e4128"),
        ("RSICD_images-3of4.zip", 28197850, "4bcdec8ddb40a14f9ee83c215a8a8e86392df55e18fe00b25145e07be59a9491"),
        ("RSICD_images-4of4.zip", 30080012, "1ed9503f90ca643df5767df012aa81e55c50c8a776af3e31872b6fe476166abf"),
        ("dataset_rsicd.json", 6991552, "c42816939515915ff8c1c6b763099ad0b93a9fb1ec2df58578f4cb7b3c4dd8c5"),
        ("txtclasses_rsicd.csv", 291290, "af4ea353385caf13e9ffc125a9908287266c159159b2136bc21bbd7b1721bd99"),
    )

    def parse(self, root: Path) -> Iterator[Row]:
        """Rows of ``dataset_rsicd.json``; the class list is ``txtclasses_rsicd.csv`` or a folder of class files.

        Published code (PIR) takes the part of the file name before its number as the class, so each of the 921 images
        named only by a number is its own class.
        """
        classes = read_class_list(root)
        for row in karpathy_rows(
            root / "dataset_rsicd.json",
            image_dir="RSICD_images",
            class_of=lambda entry: classes.get(entry["filename"]) or entry["filename"].rpartition("_")[0],
        ):
            stem = PurePosixPath(row.image_id).stem
            yield row._replace(published_class=stem.rpartition("_")[0] or stem)


def read_class_list(root: Path) -> dict[str, str]:
    """Class of every image: file name -> class without spaces, as the named files' prefixes spell it.

    The authors' archive unpacks to ``txtclasses_rsicd/<class>.txt``, one file name per line.
    """
    table, folder = root / "txtclasses_rsicd.csv", root / "txtclasses_rsicd"
    if table.is_file():
        with table.open(newline="", encoding="utf-8") as file:
            pairs = [(row["filename"], row["class"]) for row in csv.DictReader(file)]
    elif folder.is_dir():
        lines = ((line.strip(), path.stem) for path in sorted(folder.glob("*.txt")) for line in path.open())
        pairs = [(name, label) for name, label in lines if name]
    else:
        raise DatasetError(f"neither {table} nor {folder}/ exists: 921 images would have no class; fetch rsicd again")
    return {name: label.replace(" ", "").lower() for name, label in pairs}
