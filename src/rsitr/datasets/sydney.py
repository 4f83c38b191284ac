"""Sydney-Captions: 613 images of seven classes cut from one Google Earth image of Sydney."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rsitr.datasets.base import Bundle, Dataset, Row, Source
from rsitr.datasets.karpathy import karpathy_rows


class Sydney(Dataset):
    """Sydney-Captions with its official split 497 / 58 / 58."""

    name = "sydney"
    title = "Sydney-Captions"
    citation = (
        "B. Qu, X. Li, D. Tao, X. Lu, 'Deep semantic understanding of high resolution remote sensing image', CITS 2016"
    )
    bundles = Bundle(
        origin="official",
        sources=(Source(file="Sydney_captions.zip", urls=("gdrive://1zAA8qG8FZLCj2t4t9JPgNS48sA2iltaU",)),),
        licence="none stated",
        homepage="https://github.com/201528014227051/RSICD_optimal",
    ).and_mirror(
        "sydney",
        ("dataset.json", 413054, "1495e8931886d2b2f603eef504eebc5da88df5f713c08109f8ba725569ab3e53"),
        ("Sydney_images.zip", None, None),
    )

    def parse(self, root: Path) -> Iterator[Row]:
        """Rows of the official folder ``Sydney_captions/`` (``dataset.json`` inside it or at the root)."""
        inside = root / "Sydney_captions" / "dataset.json"
        annotation = inside if inside.is_file() else root / "dataset.json"
        yield from karpathy_rows(annotation, image_dir="Sydney_captions/imgs")
