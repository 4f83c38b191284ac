"""The authors' own lists of SWAN's split (ICMR 2023), a file of the datasets that it re-splits."""

from __future__ import annotations

from rsitr.datasets.base import Source

REPOSITORY = "jaychempan/SWAN/1c3b2177075c57e4adfd67d18e14fd263a585ec4"
VAL_LIST = "swan_val.txt"
"""Names of the val images, one line per caption; the other images outside test are train."""


def val_list(dataset: str, size: int, sha256: str) -> Source:
    """The list of a dataset, of ``size`` bytes."""
    place = f"fix_data/{dataset}_precomp/val_filename_verify.txt"
    url = f"https://raw.githubusercontent.com/{REPOSITORY}/{place}"
    return Source(file=VAL_LIST, urls=(url,), bytes=size, sha256=sha256, optional=True)
