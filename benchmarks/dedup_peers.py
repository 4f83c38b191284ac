"""The peers of the near-duplicate finder: imagehash and imagededup, each finding the pairs of two sets of images.

Every call starts from files and ends with index pairs, so that decoding counts. imagededup gets two workers; the
benchmark decides on the threads of torch. A ``Peer`` can be pickled and so be run in a process of its own, though not
in a ``multiprocessing.Pool``, whose workers may not start those of imagededup.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

import imagehash
import numpy as np
import timm
import torch
from imagededup.methods import CNN, PHash
from imagededup.utils import CustomModel
from PIL import Image
from torchvision.transforms import v2

from rsitr.nn.state import load_state

Pairs = set[tuple[int, int]]
"""Indices (i into the first list, j into the second) of the images that are called duplicates."""

PROTOCOL_DISTANCE = 2
"""Bits of 64: the rule of the field (RemoteCLIP, section III)."""
IMAGEDEDUP_DISTANCE = 10
"""Bits of 64: what imagededup takes unless told otherwise."""
IMAGEDEDUP_SIMILARITY = 0.9
"""Cosine: what imagededup takes unless told otherwise."""
WORKERS = 2
SAMPLE = 100
BLOCK = 1024
WEIGHTS = "weights/mobilenetv2_100.imagenet.safetensors"


@dataclass(frozen=True)
class Peer:
    """A finder of near-duplicates; ``find`` wants readable images, and imagededup skips others with a warning."""

    name: str
    """With version and threshold."""
    find: Callable[[list[Path], list[Path]], Pairs]
    sample: int | None = None
    """Images of many small cases that a slow one is given; the name says so there."""


def peers(mirror: Path | None) -> list[Peer]:
    """All peers; the CNN only with a ``mirror``, as its weights are a file of it."""
    hashes, dedup = (f"{package} {version(package)}" for package in ("imagehash", "imagededup"))
    found = [
        Peer(f"{hashes} pHash <= {PROTOCOL_DISTANCE}", imagehash_pairs),
        Peer(f"{dedup} PHash <= {PROTOCOL_DISTANCE}", partial(phash_pairs, PROTOCOL_DISTANCE)),
        Peer(f"{dedup} PHash <= {IMAGEDEDUP_DISTANCE}", partial(phash_pairs, IMAGEDEDUP_DISTANCE)),
    ]
    if mirror is not None:
        name = f"{dedup} CNN >= {IMAGEDEDUP_SIMILARITY} (on MobileNetV2, not its own V3)"
        found.append(Peer(name, partial(cnn_pairs, mirror / WEIGHTS), SAMPLE))
    return found


def imagehash_pairs(first: Sequence[Path], second: Sequence[Path]) -> Pairs:
    """Pairs whose default ``imagehash.phash`` is within ``PROTOCOL_DISTANCE`` bits. One core, as the library is."""
    # The library subtracts one hash from another, a microsecond or more each, and offers no search. Matching is
    # therefore ours, and the time of this peer flattered: 10,000 x 10,000 images would take it minutes.
    pairs: Pairs = set()
    left, right = _imagehashes(first), _imagehashes(second)
    for start in range(0, len(left), BLOCK):
        distance = np.bitwise_count(left[start : start + BLOCK, None] ^ right[None, :])
        rows, columns = np.nonzero(distance <= PROTOCOL_DISTANCE)
        pairs.update(zip((rows + start).tolist(), columns.tolist(), strict=True))
    return pairs


def _imagehashes(paths: Sequence[Path]) -> np.ndarray:
    """Hashes [N] of 64 bits."""
    bits = np.empty((len(paths), 64), dtype=bool)
    for row, path in zip(bits, paths, strict=True):
        with Image.open(path) as image:
            row[:] = imagehash.phash(image).hash.ravel()
    return np.packbits(bits, axis=1).view(np.uint64).ravel()


def phash_pairs(max_distance: int, first: Sequence[Path], second: Sequence[Path]) -> Pairs:
    """Pairs whose imagededup ``PHash`` is within ``max_distance`` bits, by its own search, a compiled brute force."""
    with _one_folder(first, second) as folder, _quiet():
        found = PHash(verbose=False).find_duplicates(
            folder,
            max_distance_threshold=max_distance,
            num_enc_workers=WORKERS,
            num_dist_workers=WORKERS,
        )
    return _across(found)


def cnn_pairs(weights: Path, first: Sequence[Path], second: Sequence[Path]) -> Pairs:
    """Pairs whose features of a MobileNetV2 have a cosine of at least ``IMAGEDEDUP_SIMILARITY``.

    imagededup's own MobileNetV3 is a download; this is the model nearest to it that a machine without network has.
    """
    with _one_folder(first, second) as folder, _quiet():
        found = CNN(verbose=False, model_config=_mobilenet(weights)).find_duplicates(
            folder,
            min_similarity_threshold=IMAGEDEDUP_SIMILARITY,
            num_enc_workers=WORKERS,
            num_sim_workers=WORKERS,
        )
    return _across(found)


def _mobilenet(weights: Path) -> CustomModel:
    """MobileNetV2 behind imagededup's face; its images are resized and cropped as imagededup does for MobileNetV3."""
    model = timm.create_model("mobilenetv2_100", pretrained=False, num_classes=0, pad_type="same")
    load_state(model, weights, ignore=("classifier",))
    # imagededup leaves the mode of a custom model alone: in training mode, features would depend on the batch.
    model.eval()
    # 'same' padding is slow in torch's default layout, which is not imagededup's fault.
    model.to(memory_format=torch.channels_last)
    transform = v2.Compose(
        [
            v2.Resize((256, 256)),
            v2.CenterCrop(224),
            v2.PILToTensor(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([0.5] * 3, [0.5] * 3),
        ]
    )
    return CustomModel(name="mobilenetv2_100", model=model, transform=transform)


@contextmanager
def _one_folder(first: Sequence[Path], second: Sequence[Path]) -> Iterator[Path]:
    """A folder of links to both sets, since imagededup looks for duplicates inside one folder.

    A link is named by set and index: the two sets may have files of the same name, and hidden ones are passed over.
    """
    with tempfile.TemporaryDirectory(prefix="dedup-") as name:
        folder = Path(name)
        for side, paths in (("a", first), ("b", second)):
            for index, path in enumerate(paths):
                (folder / f"{side}-{index}{path.suffix}").symlink_to(path.absolute())
        yield folder


def _across(found: Mapping[str, Sequence[str]]) -> Pairs:
    """What imagededup found, by link, without the pairs inside one set."""
    index = {name: int(name.split("-")[1].split(".")[0]) for name in found}
    return {
        (index[name], index[other])
        for name, others in found.items()
        if name.startswith("a-")
        for other in others
        if other.startswith("b-")
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress messages. Levels will not do: imagededup sets those of its loggers itself, some on construction."""
    before = logging.root.manager.disable
    logging.disable(max(before, logging.INFO))
    try:
        yield
    finally:
        logging.disable(before)
