"""What a model is assessed on: the test split of a dataset here, or of any folder of pictures with an annotation."""

from __future__ import annotations

from typing import Any, NamedTuple

from rsitr.datasets.splits import SplitData, load_splits
from rsitr.errors import DatasetError
from rsitr.params.ids import CleanId
from rsitr.records.paths import Paths


class HeldOut(NamedTuple):
    """Images and captions to retrieve, and what a record says about them."""

    dataset: str
    split: SplitData
    data: dict[str, Any]
    """Origin, licence, synthetic, and the number of images and captions by split."""
    data_sha: str
    lost: list[tuple[str, str]]
    """What was left out, and why."""


def of_dataset(name: str) -> HeldOut:
    """The test split of a dataset whose clean table is here; raises ``DatasetError`` for one without test images."""
    path = Paths.clean(CleanId(name))
    if not path.is_file():
        raise DatasetError(f"{path} is missing: build it with `snakemake --cores 2 {path}`")
    splits, facts, left_out = load_splits(path)
    test = splits["test"]
    if not test.captions:
        why = ", ".join(f"{count} x {reason}" for reason, count in left_out.items()) or "the dataset has none"
        raise DatasetError(f"{name} has no usable test images with captions: {why}")
    data = {
        "origin": facts.origin,
        "licence": facts.licence,
        "synthetic": facts.synthetic,
        "images": {"test": len(test.paths)},
        "captions": {"test": len(test.captions)},
    }
    return HeldOut(name, test, data, facts.data_sha, [*_left_out(left_out)])


def _left_out(counts: dict[str, int]) -> list[tuple[str, str]]:
    return [(f"{count} images", reason) for reason, count in counts.items()]
