"""RS5M: five million images with web or machine-written captions, the pretraining set of GeoRSCLIP."""

from __future__ import annotations

import logging
import tarfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path, PurePosixPath
from typing import Any

from rsitr.datasets.base import Bundle, Dataset, Row, Source, Split
from rsitr.datasets.tars import Member, content, samples
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
        """Rows of the shards in ``root``, with one sample in memory at a time.

        Each image is written to ``<shard>/<name>`` when it is reached, because every later stage opens image files.
        """
        shards: list[tuple[Split, Path]] = [(split, root / file) for split, file in SHARDS if (root / file).is_file()]
        if not shards:
            raise DatasetError(f"{root} holds no shard such as {SHARDS[0][1]}: fetch the dataset (`rsitr data fetch`)")
        if absent := [file for _, file in SHARDS if not (root / file).is_file()]:
            _log.warning("%d of %d shards are not in %s: %s", len(absent), len(SHARDS), root, ", ".join(absent))
        for split, shard in shards:
            yield from _rows(shard, split)


def _rows(shard: Path, split: Split) -> Iterator[Row]:
    folder = shard.with_suffix("")
    folder.mkdir(exist_ok=True)
    for sample in read_shard(shard):
        try:
            name, caption = sample["img_name"].decode().strip(), sample["caption"].decode()
            image = sample["img_content"]
        except (KeyError, UnicodeDecodeError) as error:
            why = f"is not in the expected layout ({error!r})"
            raise DatasetError(f"{shard}: sample {sample['__key__']} {why}") from None
        if PurePosixPath(name).name != name or name in ("", ".."):
            raise DatasetError(f"{shard}: sample {sample['__key__']} names {name!r}, a path outside its folder")
        (folder / name).write_bytes(image)
        # Names are unique only within a shard.
        image_id = f"{folder.name}/{name}"
        yield Row(image_id, image_id, split, "", [" ".join(caption.split())], [])


def read_shard(path: Path) -> Iterator[dict[str, Any]]:
    """Samples of a shard in order: extension -> bytes, and the key as ``__key__``.

    One sample is in memory at a time. Raises ``CorruptArchive`` for a tar that is cut off, wherever, or damaged, and
    for two members of one name.
    """
    try:
        with path.open("rb") as file:
            for sample in samples(file):
                if isinstance(sample, Member):
                    continue  # without an extension, it belongs to no sample
                if sample.repeated:
                    raise tarfile.ReadError(f"it holds {sample.repeated[0].name} twice")
                yield {"__key__": sample.key} | {kind: content(file, part) for kind, part in sample.parts.items()}
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise CorruptArchive(f"{path} cannot be read as a shard ({error}): delete it and fetch it again") from error
