"""Where the samples of webdataset shards are, and shards of a retrieval dataset's training images.

An index of every shard is made once and kept, so that a sample takes one or two reads at a known place. The order of
the samples is then free and independent of processes and workers.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections import Counter
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from filelock import FileLock

from rsitr.datasets.exports.pictures import Pictures
from rsitr.datasets.exports.shards import write_shards
from rsitr.datasets.table import read_table
from rsitr.datasets.tars import Member, Sample, content, samples, unusable
from rsitr.errors import DatasetError
from rsitr.records.files import replacing
from rsitr.records.provenance import sha256_json

IMAGES = ("jpg", "jpeg", "png", "webp", "tif", "tiff", "img_content")
CAPTIONS = ("json", "caption", "txt")
"""Members that hold a sample's image and its captions, RS5M's included; of several, the first one listed here that has
any: in a ``txt``, a line break need not end a caption."""
PROBLEMS = ("", "image missing", "caption missing", "image broken", "caption broken")
"""Why a sample is left out; the first means it is not."""


class Index(NamedTuple):
    """Samples of one or more shards, in shard order."""

    shards: list[Path]
    shard_of: np.ndarray
    """int32 [samples]"""
    places: np.ndarray
    """int64 [samples, 4]: offset and size of the image, then of the captions, in bytes."""
    kinds: np.ndarray
    """int8 [samples]: place in ``CAPTIONS`` of the kind of the captions."""
    missing: dict[str, int]
    """How many samples of the shards were left out, by problem."""
    contents: list[tuple[str, int, str]]
    """Name and size of each shard, and the hash of all places in it; its images and captions are not read."""

    def __len__(self) -> int:
        return len(self.shard_of)

    @property
    def data_sha(self) -> str:
        """Hash of the contents."""
        return sha256_json(self.contents)


class _ShardIndex(NamedTuple):
    places: np.ndarray
    kinds: np.ndarray
    missing: np.ndarray
    """int64 [2]: samples without an image, and without captions."""


def index_shards(paths: list[Path], cache: Path) -> Index:
    """The index of all samples that have an image and captions; each shard's part is kept in ``cache``.

    Raises ``CorruptArchive`` that lists every missing or truncated shard, and ``DatasetError`` if there is no sample.
    """
    found, problems = [], []
    for path in paths:
        try:
            found.append(_cached(path, cache))
        except (OSError, tarfile.TarError) as error:
            reason = "is not there" if isinstance(error, FileNotFoundError) else f"cannot be read ({error})"
            problems.append(f"{path} {reason}")
    if problems:
        raise unusable(problems, len(paths), "leave them out of `shards`")
    missing = sum((Counter(dict(zip(PROBLEMS[1:3], one.missing.tolist(), strict=True))) for one in found), Counter())
    if not any(len(one.kinds) for one in found):
        members = f"an image ({', '.join(IMAGES)}) and captions ({', '.join(CAPTIONS)})"
        raise DatasetError(f"the shards hold no sample with {members}")
    hashes = [hashlib.sha256(one.places.tobytes() + one.kinds.tobytes()).hexdigest() for one in found]
    contents = [(path.name, path.stat().st_size, sha256) for path, sha256 in zip(paths, hashes, strict=True)]
    shard_of = np.repeat(np.arange(len(paths), dtype=np.int32), [len(one.kinds) for one in found])
    places, kinds = np.concatenate([one.places for one in found]), np.concatenate([one.kinds for one in found])
    return Index(paths, shard_of, places, kinds, dict(missing), contents)


def _cached(path: Path, cache: Path) -> _ShardIndex:
    stat = path.stat()
    key = sha256_json([str(path.resolve()), stat.st_size, stat.st_mtime_ns, IMAGES, CAPTIONS])[:32]
    kept = cache / "shards" / f"{key}.npz"
    if not kept.is_file():
        kept.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(kept.with_suffix(".lock")):  # only one of several processes reads the shard
            if not kept.is_file():
                with replacing(kept) as partial, partial.open("wb") as file:
                    np.savez(file, **_read_index(path)._asdict())
    with np.load(kept) as arrays:
        return _ShardIndex(**arrays)


def _read_index(path: Path) -> _ShardIndex:
    """The places of all samples of a tar; raises ``tarfile.ReadError`` if it is truncated."""
    places, kinds, missing = [], [], [0, 0]
    with path.open("rb") as file:
        for sample in samples(file):
            if isinstance(sample, Member):
                continue  # without an extension, it belongs to no sample
            parts = {extension: (member.offset, member.size) for extension, member in sample.parts.items()}
            image = next((parts[name] for name in IMAGES if name in parts), None)
            kind = _kind_of_captions(file, sample)
            if image is None or kind is None:
                missing[image is not None] += 1
                continue
            places.append((*image, *parts[CAPTIONS[kind]]))
            kinds.append(kind)
    return _ShardIndex(np.array(places, np.int64).reshape(-1, 4), np.array(kinds, np.int8), np.array(missing, np.int64))


def _kind_of_captions(file: IO[bytes], sample: Sample) -> int | None:
    """Place in ``CAPTIONS``; None for a sample without captions."""
    present = [kind for kind, name in enumerate(CAPTIONS) if name in sample.parts]
    for kind in present[:-1]:
        name = CAPTIONS[kind]
        if parse_captions(content(file, sample.parts[name]), name):
            return kind
    return present[-1] if present else None


def parse_captions(content: bytes, kind: str) -> list[str]:
    """The captions of a member: lines of text, or ``captions`` or ``caption`` of JSON; none if it is broken."""
    try:
        text = content.decode()
        found = text.splitlines()
        if kind == "json":
            fields = json.loads(text)
            found = fields["captions"] if "captions" in fields else fields["caption"]
        found = [found] if isinstance(found, str) else found
        return [" ".join(caption.split()) for caption in found if caption.strip()]
    except (ValueError, TypeError, KeyError, AttributeError):
        return []


def write_training_shards(clean: Path, folder: Path) -> int:
    """Write ``train-000000.tar`` ... of the kept training images of a clean table; returns how many shards.

    Each has an image, its captions as lines of ``txt``, and all that is known about it as ``json``. Equal tables give
    equal bytes. Raises ``DatasetError`` if ``folder`` is not empty or there is no such image.
    """
    if folder.exists() and any(folder.iterdir()):
        raise DatasetError(f"{folder} is not empty: name a new folder")
    table, facts = read_table(clean)
    rows = [row for row in table.to_pylist() if row["keep"] and row["split"] == "train" and row["captions"]]
    if not rows:
        raise DatasetError(f"{clean} has no training image with captions")
    folder.mkdir(parents=True, exist_ok=True)
    return write_shards(rows, Pictures(Path(facts.root)), folder / "train-%06d.tar")
