"""AID: 10,000 Google Earth scenes of 600 pixels in 30 classes, without sentences."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rsitr.datasets.base import Bundle, Dataset, Row, Source, class_folder_rows


class AID(Dataset):
    """AID, a pretraining and leakage source: the named images of RSICD are its images under the same file names.

    The authors' server gives programs a web page, so the archive has to be fetched with a browser. The copy
    ``blanchon/AID`` on Hugging Face has 10,000 single files; zipped as ``AID.zip`` they can be read too.
    """

    name = "aid"
    title = "AID"
    citation = (
        "G.-S. Xia et al., 'AID: A benchmark data set for performance evaluation of aerial scene classification', "
        "IEEE TGRS 55(7), 2017"
    )
    bundles = Bundle(
        origin="official",
        sources=(Source(file="AID.zip", urls=("https://1drv.ms/u/s!AthY3vMZmuxChNR0Co7QHpJ56M-SvQ",)),),
        licence="none stated (Google Earth imagery, for research)",
        homepage="https://captain-whu.github.io/AID/",
    ).and_mirror(
        "aid",
        ("AID-1of2.zip", 17610670, "1e01bcc2adcfa44524a809283487a24e62f1612fd38a4bf50c8fab8424630af2"),
        ("AID-2of2.zip", 19455838, "e3d046856970d422a80830ae392475642b533e6468c9d77ddb2539aa421ad99c"),
    )

    def parse(self, root: Path) -> Iterator[Row]:
        """Rows of ``AID/<Class>/<class>_<number>.jpg``; the authors' archive has the classes at its root."""
        yield from class_folder_rows(root, "AID" if (root / "AID").is_dir() else ".")
