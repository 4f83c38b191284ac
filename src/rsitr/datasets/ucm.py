"""UCM-Captions: 2,100 aerial images of 21 land-use classes with five sentences each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rsitr.datasets.base import Bundle, Dataset, Row, Source
from rsitr.datasets.karpathy import karpathy_rows

# UC Merced numbers its images by class, one hundred each; the captions refer to them as 1.tif ... 2100.tif.
CLASSES = (
    *("agricultural", "airplane", "baseballdiamond", "beach", "buildings", "chaparral", "denseresidential", "forest"),
    *("freeway", "golfcourse", "harbor", "intersection", "mediumresidential", "mobilehomepark", "overpass"),
    *("parkinglot", "river", "runway", "sparseresidential", "storagetanks", "tenniscourt"),
)


class UCM(Dataset):
    """UCM-Captions with its official split 1680 / 210 / 210. Five sentences per image, many of them shared."""

    name = "ucm"
    title = "UCM-Captions"
    citation = (
        "B. Qu, X. Li, D. Tao, X. Lu, 'Deep semantic understanding of high resolution remote sensing image', "
        "CITS 2016; "
        "Y. Yang, S. Newsam, 'Bag-of-visual-words and spatial extensions for land-use classification', GIS 2010"
    )
    bundles = Bundle(
        origin="official",
        sources=(Source(file="UCM_captions.zip", urls=("gdrive://1WNAQgdgghz0cz4rV_KmTNyNGF_m8cNkt",)),),
        licence="images: public domain (USGS); captions: none stated",
        homepage="https://github.com/201528014227051/RSICD_optimal",
    ).and_mirror(
        "ucm",
        ("UCM_images.zip", 31604176, "fc02ab469712c4e303c5db524c74386b8a71e76e21c4afe87b237cadb4dc432e"),
        ("dataset.json", 1361236, "cadaa7a9e34cc1ccc199ae04a04abe2a3b48e20b7973953a1774ac5083a62ade"),
    )

    def parse(self, root: Path) -> Iterator[Row]:
        """Rows of the official folder ``UCM_captions/`` (``dataset.json`` inside it or at the root)."""
        inside = root / "UCM_captions" / "dataset.json"
        annotation = inside if inside.is_file() else root / "dataset.json"
        yield from karpathy_rows(
            annotation, image_dir="UCM_captions/imgs", class_of=lambda entry: class_of(entry["filename"])
        )


def class_of(filename: str) -> str:
    """Class of ``1.tif`` ... ``2100.tif``; raises ``ValueError`` for any other name."""
    number = int(filename.removesuffix(".tif"))
    if not 1 <= number <= 100 * len(CLASSES):
        raise ValueError(f"{filename} is not one of 1.tif ... 2100.tif")
    return CLASSES[(number - 1) // 100]
