"""What a replay computes in seconds instead of hours: some images of each split, an epoch for each phase."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rsitr.records.cell import Spec

IMAGES = {"train": 128, "val": 32, "test": 32}
"""Of each split of a slice."""
CLASSED = 256
"""Images of a set that has classes and no captions."""
BATCH = 32


def shortened(spec: Spec) -> dict[str, Any]:
    """Settings by which a cell is replayed instead of its own: an epoch for each phase, small batches."""
    from rsitr.methods.base import TrainingConfig
    from rsitr.stages.setup import configuration as of

    config = of(spec)
    if not isinstance(config, TrainingConfig):
        return {}
    changed: dict[str, Any] = {"batch_size": min(config.batch_size, BATCH)}
    late = getattr(config, "all_negatives_epochs", 0)
    if late:
        changed["all_negatives_epochs"] = 1
    if config.phases:
        changed["phases"] = [phase.model_dump(mode="json") | {"epochs": 1} for phase in config.phases]
    else:
        # An epoch before and one after what changes from epoch to epoch.
        changed["epochs"] = 2 if late or config.schedule == "step" else 1
    if config.schedule == "step":
        changed["step_epochs"] = 1
    if config.selection_images:
        changed["selection_images"] = min(config.selection_images, IMAGES["val"] // 2)
    return changed


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
