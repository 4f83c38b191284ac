"""Webdataset shards: tar files in which consecutive members with one stem are one sample."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rsitr.errors import CorruptArchive


def read_shard(path: Path) -> Iterator[dict[str, Any]]:
    """Samples of a shard in order: extension -> bytes, and the stem as ``__key__``.

    The tar is read as a stream, with one sample in memory at a time. A truncated tar raises ``CorruptArchive``.
    """
    # webdataset imports torch, which nothing else needs to read a dataset
    from webdataset.tariterators import group_by_keys, tar_file_iterator

    def members(file: Any) -> Iterator[dict[str, Any]]:
        for member in tar_file_iterator(file):
            yield member | {"__url__": str(path)}

    try:
        with path.open("rb") as file:
            yield from group_by_keys(members(file))
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise CorruptArchive(f"{path} cannot be read as a shard ({error}): delete it and fetch it again") from error
