"""The published CLIP checkpoints: what each needs, where it is, what it was trained on, and how to get it.

The facts are in ``checkpoints.csv``, one line per checkpoint. ``saw`` names our datasets whose training images a
checkpoint was trained on: its number there is not a zero-shot one, whatever a paper calls it. RemoteCLIP has seen those
of RET-3, which are RSICD, RSITMD and UCM-Captions.
"""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock

from rsitr.datasets.archives import extract
from rsitr.datasets.base import Source, mirror_dir
from rsitr.datasets.fetch import fetch_file
from rsitr.errors import ChecksumMismatch, ParamsError, SourceUnavailable, WeightsUnavailable

FILE = Path(__file__).with_name("checkpoints.csv")
CACHE = Path("cache") / "weights"


class Checkpoint(NamedTuple):
    """A line of the registry."""

    name: str
    architecture: str
    """The model of open_clip that it was trained as; ``-quickgelu``, a part of it, stands for the activation
    x sigmoid(1.702 x), OpenAI's, instead of GELU."""
    tag: str
    """Of open_clip, which then fetches it; else empty."""
    source: str
    """``hf://owner/repo@revision/path`` or ``https://...``."""
    member: str
    """Of an archive: the file inside it."""
    bytes: int | None
    sha256: str | None
    licence: str
    trained_on: str
    """In order, with an arrow before what it was trained on further."""
    saw: tuple[str, ...]
    """Our datasets whose training images it was trained on."""
    note: str

    @property
    def file(self) -> str:
        """Name of the file at its source."""
        return self.source.rpartition("/")[2]


@cache
def checkpoints() -> dict[str, Checkpoint]:
    """Every checkpoint of the registry by its name."""
    with FILE.open(encoding="utf-8", newline="") as file:
        return {row["name"]: _of_row(row) for row in csv.DictReader(file)}


def _of_row(row: dict[str, str]) -> Checkpoint:
    typed = {
        "bytes": int(row["bytes"]) if row["bytes"] else None,
        "sha256": row["sha256"] or None,
        "saw": tuple(row["saw"].split()),
    }
    return Checkpoint(**(row | typed))  # type: ignore[arg-type]


def find(architecture: str, weights: str) -> Checkpoint | None:
    """The checkpoint that ``weights`` means: its name, a tag of open_clip, or a file with its name; else None."""
    if weights in checkpoints():
        return checkpoints()[weights]
    for checkpoint in checkpoints().values():
        if checkpoint.tag and (checkpoint.tag, checkpoint.architecture) == (weights, architecture):
            return checkpoint
        own = Path(checkpoint.member or checkpoint.file).parts
        # A file of many names (epoch_20.pt) is known with its folder only.
        if not checkpoint.tag and Path(weights).parts[-len(own) :] == own:
            return checkpoint
    return None


def require_architecture(checkpoint: Checkpoint, architecture: str) -> None:
    """Raise ``ParamsError`` that names the right model unless ``architecture`` is the checkpoint's own.

    Weights know nothing of the activation: they load into a model with the other one and compute something else.
    """
    if architecture == checkpoint.architecture:
        return
    names = {architecture, checkpoint.architecture}
    same = len({name.removesuffix("-quickgelu") for name in names}) == 1
    why = " (the activation differs, which no tensor of the file shows)" if same else ""
    raise ParamsError(
        f"the weights {checkpoint.name} need the model {checkpoint.architecture}, not {architecture}{why}: set "
        f"`model: {checkpoint.architecture}`"
    )


def fetch(checkpoint: Checkpoint, folder: Path = CACHE) -> Path:
    """The file of a checkpoint: from ``folder``, the mirror, the Hugging Face cache or its source, and checked.

    Raises ``WeightsUnavailable`` where none has it, with what to do, and ``ChecksumMismatch`` for a wrong file in
    ``folder``.
    """
    try:
        path = fetch_file(_source(checkpoint), folder, mirror=mirror_dir())
    except SourceUnavailable as error:
        raise WeightsUnavailable(f"weights unavailable: {checkpoint.name} ({checkpoint.source}):\n{error}") from None
    if not checkpoint.member:
        return path
    unpacked = folder / path.stem
    inner = unpacked / checkpoint.member
    with FileLock(folder / f".{path.stem}.lock"):  # several cells of one experiment want the same weights
        if not inner.is_file():
            extract(path, unpacked)
    if not inner.is_file():
        raise ChecksumMismatch(f"{path} has no {checkpoint.member}: it is not the archive of {checkpoint.name}")
    return inner


def _source(checkpoint: Checkpoint) -> Source:
    return Source(
        file=checkpoint.file,
        urls=(checkpoint.source,),
        mirror=f"weights/{checkpoint.file}",
        bytes=checkpoint.bytes,
        sha256=checkpoint.sha256,
    )
