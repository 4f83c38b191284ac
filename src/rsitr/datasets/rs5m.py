"""RS5M: five million images with web or machine-written captions, the pretraining set of GeoRSCLIP."""

from __future__ import annotations

import logging
import tarfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path, PurePosixPath
from typing import IO

from rsitr.datasets.base import Bundle, Dataset, Row, Source, Split
from rsitr.datasets.tars import Member, Sample, content, packed, samples
from rsitr.errors import CorruptArchive, DatasetError

REPOSITORY = "hf://datasets/omlab/RS5M@main"
_SPLITS: tuple[Split, ...] = ("train", "val")
_SUBSETS = ("pub11", "rs3")
SHARDS = tuple(
    (split, f"{subset}-{split}-{number:04}.tar") for split, subset, number in product(_SPLITS, _SUBSETS, range(32))
)

_log = logging.getLogger(__name__)


class RS5M(Dataset):
    """RS5M (v5) as 128 webdataset shards, about 500 GB: PUB11 from the web, RS3 captioned by BLIP-2.

    A sample has the members ``img_content``, ``img_name`` and ``caption``. A warning names missing shards.
    """

    name = "rs5m"
    title = "RS5M"
    citation = (
        "Z. Zhang, T. Zhao, Y. Guo, J. Yin, 'RS5M and GeoRSCLIP: A large-scale vision-language dataset and a large "
        "vision-language model for remote sensing', IEEE TGRS 62, 2024"
    )
    packed = True
    shards = ("*-train-*.tar",)
    bundles = (
        Bundle(
            origin="official",
            sources=tuple(Source(file=file, urls=(f"{REPOSITORY}/{split}/{file}",)) for split, file in SHARDS),
            licence="CC-BY-NC-4.0 (card of the label files); the card of the shards says MIT",
            homepage="https://huggingface.co/datasets/omlab/RS5M",
        ),
    )

    def parse(self, root: Path) -> Iterator[Row]:
        """Rows of the shards in ``root``, one at a time; images stay where they are, and are read there."""
        shards: list[tuple[Split, Path]] = [(split, root / file) for split, file in SHARDS if (root / file).is_file()]
        if not shards:
            raise DatasetError(f"{root} holds no shard such as {SHARDS[0][1]}: fetch the dataset (`rsitr data fetch`)")
        if absent := [file for _, file in SHARDS if not (root / file).is_file()]:
            _log.warning("%d of %d shards are not in %s: %s", len(absent), len(SHARDS), root, ", ".join(absent))
        for split, shard in shards:
            yield from _rows(shard, split)


def _rows(shard: Path, split: Split) -> Iterator[Row]:
    """Raises ``CorruptArchive`` for a tar that is cut off, wherever, or damaged, and for two members of one name."""
    try:
        with shard.open("rb") as file:
            for sample in samples(file):
                if isinstance(sample, Member):
                    continue  # without an extension, it belongs to no sample
                if sample.repeated:
                    raise tarfile.ReadError(f"it holds {sample.repeated[0].name} twice")
                yield _row(file, shard, sample, split)
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise CorruptArchive(f"{shard} cannot be read as a shard ({error}): delete it and fetch it again") from error


def _row(file: IO[bytes], shard: Path, sample: Sample, split: Split) -> Row:
    try:
        name, caption = (content(file, sample.parts[kind]).decode() for kind in ("img_name", "caption"))
        image = sample.parts["img_content"]
    except (KeyError, UnicodeDecodeError) as error:
        why = f"is not in the expected layout ({error!r})"
        raise DatasetError(f"{shard}: sample {sample.key} {why}") from None
    name = name.strip()
    if PurePosixPath(name).name != name or name in ("", ".."):
        raise DatasetError(f"{shard}: sample {sample.key} names {name!r}, a path outside its folder")
    # Names are unique only within a shard.
    return Row(f"{shard.stem}/{name}", packed(shard.name, image), split, "", [" ".join(caption.split())], [])
