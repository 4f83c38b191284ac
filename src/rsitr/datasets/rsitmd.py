"""RSITMD: 4,743 images with five fine-grained sentences and one to five keywords each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rsitr.datasets.base import Bundle, Dataset, Row, Source
from rsitr.datasets.karpathy import karpathy_rows
from rsitr.datasets.protocols import val_list


class RSITMD(Dataset):
    """RSITMD (AMFMN paper, section IV). Test set of 452 images; the rest is split 3432 / 859 as is common practice."""

    name = "rsitmd"
    title = "RSITMD"
    citation = (
        "Z. Yuan et al., 'Exploring a fine-grained multiscale method for cross-modal remote sensing image retrieval', "
        "IEEE TGRS 60, 2022"
    )
    bundles = Bundle(
        origin="official",
        sources=(
            Source(file="RSITMD.zip", urls=("gdrive://1NJY86TAAUd8BVs7hyteImv8I2_Lh95W6",)),
            val_list("rsitmd", 76900, "3d1b30f04173706e2f681d9a9cb0a2c44c695eb4a7ee6cbf6ab35f1bfeeb4dd7"),
        ),
        licence="none stated",
        homepage="https://github.com/xiaoyuan1996/AMFMN",
    ).and_mirror(
        "rsitmd",
        ("dataset_rsitmd.json", 3097872, "ef23a9e108362be225a0910f7859df0bf619ab07f108d6cf34e582a9175ecc7f"),
        ("RSITMD_images.zip", None, None),
    )

    def parse(self, root: Path) -> Iterator[Row]:
        """Rows of ``dataset_RSITMD.json`` (official) or ``dataset_rsitmd.json``; images are in ``images/``."""
        names = ("RSITMD/dataset_RSITMD.json", "dataset_RSITMD.json", "dataset_rsitmd.json")
        annotation = next((root / name for name in names if (root / name).is_file()), root / names[-1])
        yield from karpathy_rows(
            annotation,
            image_dir="RSITMD/images" if (root / "RSITMD" / "images").is_dir() else "images",
            class_of=lambda entry: entry.get("classname") or entry["filename"].rsplit("_", 1)[0],
        )
