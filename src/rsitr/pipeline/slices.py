"""The data of a replay: some images of each split of the real data."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from rsitr.errors import Damaged
from rsitr.records.cell import Spec
from rsitr.records.paths import Paths
from rsitr.stages.small import SmallData

IMAGES = {"train": 128, "val": 32, "test": 32}
"""Of each split of a slice."""
CLASSED = 256
"""Images of a set that has classes and no captions."""


def write_slice(table: Path, out: Path) -> None:
    """Some rows of a canonical table: of each split so many, evenly over those that can be used."""
    import numpy as np

    from rsitr.datasets.canonical import data_sha
    from rsitr.datasets.table import read_table
    from rsitr.records.parquet import write_table

    rows, facts = read_table(table)
    listed = rows.select(["split", "problem", "captions"]).to_pylist()
    captioned = any(row["captions"] for row in listed)
    chosen: list[int] = []
    for split, count in IMAGES.items():
        places = [place for place, row in enumerate(listed) if row["split"] == split]
        usable = [place for place in places if not listed[place]["problem"]] or places
        wanted = count if captioned else CLASSED
        if usable:
            chosen += [usable[k] for k in np.unique(np.linspace(0, len(usable) - 1, wanted).astype(int))]
    some = rows.take(sorted(chosen))
    write_table(some, facts._replace(data_sha=data_sha(some.to_pandas())), out)


class SlicedData(SmallData):
    """What artefacts read, in this folder: slices of the data below ``root``, and what is made from them."""

    def __init__(self, root: Path):
        self.root = root
        self.sliced: set[str] = set()
        self.met: set[str] = set()

    def canonical(self, dataset: str) -> None:
        """A slice of a dataset's canonical table."""
        if dataset in self.sliced:
            return
        self.sliced.add(dataset)
        extracted = Path("data/extracted")
        if not os.path.lexists(extracted):  # a link leads nowhere until the data is made
            extracted.parent.mkdir(parents=True, exist_ok=True)
            extracted.symlink_to((self.root / extracted).resolve())
        write_slice(self.root / Paths.dataset(dataset), Paths.dataset(dataset))

    def clean(self, spec: Spec) -> None:
        """Also, once, what is made from a damaged table."""
        from rsitr.datasets.table import read_table
        from rsitr.dedup.clean import write_clean

        super().clean(spec)
        if self.first("damaged table"):
            damage(spec.clean)
            with suppress(Damaged):
                read_table(spec.clean)
            write_clean(spec.clean_id, listed=False)

    def matrix(self, measure: str, captions: Any, path: Path) -> None:
        """Also, once, over a damaged one."""
        super().matrix(measure, captions, path)
        if self.first("damaged matrix"):
            damage(path)
            super().matrix(measure, captions, path)

    def first(self, what: str) -> bool:
        """Whether something that takes time and does the same everywhere has not been replayed yet."""
        first = what not in self.met
        self.met.add(what)
        return first


def damage(path: Path) -> None:
    """Zero the end of a file."""
    content = path.read_bytes()
    path.write_bytes(content[:-64] + bytes(64))
