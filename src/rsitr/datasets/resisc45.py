"""NWPU-RESISC45: 31,500 scenes of 256 pixels, 700 in each of 45 classes, without sentences."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rsitr.datasets.base import Bundle, Dataset, Row, Source, class_folder_rows


class RESISC45(Dataset):
    """NWPU-RESISC45, whose images are those of NWPU-Captions. The authors' server gives programs a web page."""

    name = "resisc45"
    title = "NWPU-RESISC45"
    citation = (
        "G. Cheng, J. Han, X. Lu, 'Remote sensing image scene classification: Benchmark and state of the art', "
        "Proceedings of the IEEE 105(10), 2017"
    )
    bundles = (
        Bundle(
            origin="official",
            sources=(Source(file="NWPU-RESISC45.rar", urls=("https://1drv.ms/u/s!AmgKYzARBl5ca3HNaHIlzp_IXjs",)),),
            licence="CC-BY-NC-4.0",
            homepage="https://gcheng-nwpu.github.io/",
        ),
        Bundle(
            origin="huggingface",
            sources=(
                Source(
                    file="NWPU-RESISC45.zip",
                    urls=(
                        "hf://datasets/torchgeo/resisc45@6a070b005250984202b81f2838496951a0532326/NWPU-RESISC45.zip",
                    ),
                    bytes=427389445,
                    sha256="beeecd0b63656290ae6d65cf7763185b0c1c4c54a753ef8088d6fba3faaf1f53",
                ),
            ),
            licence="CC-BY-NC-4.0",
            homepage="https://huggingface.co/datasets/torchgeo/resisc45",
        ),
    )

    def parse(self, root: Path) -> Iterator[Row]:
        """Rows of ``NWPU-RESISC45/<class>/<class>_<number>.jpg``."""
        yield from class_folder_rows(root, "NWPU-RESISC45")
