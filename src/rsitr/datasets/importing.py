"""A folder of images with captions becomes a dataset of the pipeline, without a file of code."""

from __future__ import annotations

import errno
import re
import shutil
import tarfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, groupby, islice
from pathlib import Path
from typing import NamedTuple

from rsitr.datasets import registry
from rsitr.datasets.base import Row, Split
from rsitr.datasets.imported import ANNOTATION, IMAGES, ORIGIN, RECEIPT, ImportReceipt, read_receipt
from rsitr.datasets.karpathy import SPLITS, karpathy_json
from rsitr.datasets.layouts import Annotation, Captions, Lost, Place, read_annotation, reasons
from rsitr.datasets.tars import Member, content
from rsitr.errors import CorruptArchive, DatasetError, DiskFull, ParamsError
from rsitr.params.ids import NAME
from rsitr.records.files import write_json, write_text
from rsitr.records.paths import Paths
from rsitr.records.provenance import sha256_file

AT_MOST = 0.05
"""Share of images, captions or shards that may be lost."""
SAMPLE, FOLDERS, DEPTH = 100, 1000, 2
"""So many images are looked for in at most so many folders, so far below the one that is named."""
SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp")
"""Of a name without any, as the ids of ``*_precomp`` are."""


class Import(NamedTuple):
    """What an import wrote."""

    receipt: Path
    layout: str
    images: dict[Split, int]
    """By split."""
    captions: int
    without: int
    """Images without any caption."""
    lost: list[str]
    """By reason, as lines."""


def import_folder(
    folder: Path,
    name: str,
    *,
    annotation: Path | None = None,
    layout: str | None = None,
    split: Split | None = None,
    captions: Captions | None = None,
    title: str = "",
    licence: str = "none stated",
    at_most: float = AT_MOST,
    bands: list[int] | None = None,
    nodata: float | None = None,
) -> Import:
    """Make the images of ``folder`` and their annotation the dataset ``name``, all of it or nothing.

    The annotation is a file, folder or pattern (``rsitr.datasets.layouts``); by default it is in ``folder``. Images
    stay where they are; those in shards are unpacked, one at a time. The same input gives the same files. ``bands`` and
    ``nodata`` are for images whose files do not declare them (``ImportReceipt``).

    Raises ``ParamsError`` for a name that cannot be one, ``DatasetError`` where more than the share ``at_most`` of the
    images, captions or shards would be lost, ``CorruptArchive`` for shards that are cut off, and ``DiskFull``.
    """
    target = Paths.raw(name)
    _check_name(name, target)
    if not folder.exists() and annotation is None:
        raise DatasetError(f"{folder} is not there: name the folder of the images")
    read = read_annotation(annotation or folder, layout, split=split, captions=captions)
    rows, images, lost = (read.rows, None, []) if read.packed else located(read.rows, folder)
    lost = [*read.lost, *lost]
    _check_lost(name, rows, read, lost, at_most)
    if images and images.is_relative_to(target.resolve()):
        raise DatasetError(f"{images} is in {target}, which an import replaces: move the images elsewhere")
    with _replacing(target) as staging:
        if images is None:
            unpack(read.packed, staging / IMAGES)
        text = karpathy_json(name, [row._asdict() for row in sorted(rows, key=lambda row: row.image_id)])
        write_text(staging / ANNOTATION, text)
        receipt = ImportReceipt(
            origin=ORIGIN,
            title=title or name,
            licence=licence,
            files=[ANNOTATION],
            bytes=(staging / ANNOTATION).stat().st_size,
            sha256=sha256_file(staging / ANNOTATION),
            images=str(images or IMAGES),
            layout=read.layout,
            lost=reasons(lost),
            bands=bands,
            nodata=nodata,
        )
        write_json(staging / RECEIPT, receipt)
    counts = Counter(row.split for row in rows)
    by_split = {split: counts[split] for split in SPLITS if counts[split]}
    without = sum(not row.captions for row in rows)
    return Import(
        target / RECEIPT, read.layout, by_split, sum(len(row.captions) for row in rows), without, receipt.lost
    )


def _check_name(name: str, target: Path) -> None:
    if not re.fullmatch(NAME, name):
        raise ParamsError(f"{name!r} cannot be the name of a dataset: use lower-case letters, digits, '-', '.' and '+'")
    if name in registry():
        raise ParamsError(f"{name} is a dataset of its own: name yours otherwise")
    if target.exists() and read_receipt(target / RECEIPT) is None:
        raise DatasetError(f"{target} is there and was not imported: move it away, or name the dataset otherwise")


def located(rows: Sequence[Row], folder: Path) -> tuple[list[Row], Path, list[Lost]]:
    """The rows whose images are there, the folder of the images, and those that are lost.

    The images are in ``folder`` or in one that is at most ``DEPTH`` below it, whichever has most of them.
    """
    if not folder.is_dir():
        raise DatasetError(f"{folder} is not a folder: name the folder of the images")
    some = rows[:: -(-len(rows) // SAMPLE)]
    below = chain.from_iterable(sorted(folder.glob("/".join(["*"] * depth))) for depth in range(1, DEPTH + 1))
    places = [folder, *islice((path for path in below if path.is_dir()), FOLDERS)]
    images = max(places, key=lambda place: sum(_file(place, row.path) is not None for row in some)).resolve()
    found, lost = [], []
    for row in rows:
        if path := _file(images, row.path):
            found.append(row._replace(image_id=path, path=path))
        else:
            lost.append(Lost(row.path, f"the image is not in {images}", "image"))
    return found, images, lost


def _file(folder: Path, name: str) -> str | None:
    """The name of an image's file; None where there is none."""
    endings = ("", *SUFFIXES) if not Path(name).suffix else ("",)
    try:
        return next((name + ending for ending in endings if (folder / (name + ending)).is_file()), None)
    except OSError:  # a name that is too long
        return None


def _check_lost(name: str, rows: Sequence[Row], read: Annotation, lost: Sequence[Lost], at_most: float) -> None:
    """Raise ``DatasetError`` where too much is lost, or nothing is left to retrieve."""
    kept = {
        "image": len(rows),
        "caption": sum(len(row.captions) for row in rows),
        "shard": len({place.shard for place in read.packed.values()}),
    }
    counts = Counter(each.kind for each in lost)
    said = "; ".join(reasons(lost))
    for kind in ("image", "caption", "shard"):
        whole = kept[kind] + counts[kind]
        if counts[kind] and (not kept[kind] or counts[kind] > at_most * whole):
            raise DatasetError(
                f"{counts[kind]} of {whole} {kind}s would be lost, more than {100 * at_most:g} %, so that {name} was "
                f"not imported (read as {read.layout}): {said}. Correct the annotation, or raise --lost-at-most"
            )
    if not kept["caption"]:
        raise DatasetError(f"no image of {name} has a caption (read as {read.layout}): there is nothing to retrieve")


def unpack(packed: dict[str, Place], into: Path) -> None:
    """Write every image to its own file, with one in memory at a time; raises ``DiskFull`` and ``CorruptArchive``."""
    into.mkdir(parents=True)
    needed, free = sum(place.size for place in packed.values()), shutil.disk_usage(into).free
    if needed > free:
        raise DiskFull(f"the images take {needed:,} bytes and the disk of {into} has {free:,} left: free some space")
    for shard, items in groupby(packed.items(), key=lambda item: item[1].shard):
        try:
            with shard.open("rb") as file:
                for name, place in items:
                    path = into / name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(content(file, Member(name, place.offset, place.size)))
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            raise DatasetError(f"{shard} names {name} as a file and as a folder: rename one of them") from None
        except tarfile.ReadError as error:
            raise CorruptArchive(f"{shard} changed while it was read ({error}): import again") from None


@contextmanager
def _replacing(target: Path) -> Iterator[Path]:
    """A new folder that takes the place of ``target`` at the end of the block, unless the block raises."""
    staging, old = (target.with_name(f".{target.name}.{state}") for state in ("importing", "replaced"))
    for left in (staging, old):  # of an import that was killed
        shutil.rmtree(left, ignore_errors=True)
    try:
        staging.mkdir(parents=True)
        yield staging
        _swap(staging, target, old)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise DiskFull(f"no room left in {target.parent}: free some space and import again") from error
        raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _swap(new: Path, target: Path, old: Path) -> None:
    """Put ``new`` in the place of ``target``, which is ``old`` for a moment."""
    if target.exists():
        target.rename(old)
    try:
        new.rename(target)
    except OSError:
        if old.exists():
            old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)
