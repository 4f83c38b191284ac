"""How similar captions are: every distinct training caption against the captions of every training image, on disk.

A matrix holds one measure in half precision, images x distinct captions. What a training step computes for its batch is
rounded the same way, so it makes no difference which of the two a loss reads.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import io
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

from rsitr.captions.all_pairs import IntArray
from rsitr.errors import ParamsError
from rsitr.progress import Progress
from rsitr.records.files import set_aside, write_json
from rsitr.records.provenance import sha256_json

BLEU = ("bleu-1", "bleu-2", "bleu-3", "bleu-4")
MEASURES = {**dict.fromkeys(BLEU, "bleu"), "meteor": "meteor", "released": "released"}
"""Measure -> the module here that computes it: BLEU of order 1 to 4 (pycocoevalcap's definition), METEOR 1.5, and the
similarity that AMFMN's authors released."""
DTYPE = np.dtype("<f2")
BLOCK = 64
"""Images scored at a time; an interrupted matrix continues after the last complete block."""


class CaptionSet(NamedTuple):
    """The captions of a set of images, each distinct text once."""

    texts: list[str]
    """In the order of first appearance."""
    references: list[list[int]]
    """Places in ``texts`` of the captions of each image, repetitions kept."""
    place: IntArray
    """[C]: place in ``texts`` of every caption."""

    @classmethod
    def of(cls, captions: Sequence[str], image_of: npt.NDArray[np.integer]) -> CaptionSet:
        """The set of ``captions`` [C] of the images ``image_of`` [C]."""
        number: dict[str, int] = {}
        place = np.array([number.setdefault(caption, len(number)) for caption in captions], dtype=np.int64)
        references: list[list[int]] = [[] for _ in range(int(image_of.max()) + 1 if len(image_of) else 0)]
        for image, text in zip(image_of.tolist(), place.tolist(), strict=True):
            references[image].append(text)
        return cls(list(number), references, place)


class Measure(Protocol):
    """Scores of captions against the captions of images."""

    def __call__(self, captions: IntArray, images: IntArray) -> npt.NDArray[np.floating]:
        """Float [H, I] in 0..1 of the texts at ``captions`` [H] against the images ``images`` [I]."""


def measure(name: str, captions: CaptionSet, threads: int = 1) -> Measure:
    """A measure prepared for a set of captions; raises ``ParamsError`` for an unknown one."""
    module_of(name)
    if name in BLEU:
        from rsitr.captions.bleu import Bleu

        bleu, order = Bleu(captions.texts, captions.references, threads=threads), BLEU.index(name)
        return lambda texts, images: bleu.scores(texts, images)[..., order]
    if name == "meteor":
        from rsitr.captions.meteor import Meteor

        return Meteor(captions.texts, captions.references, threads=threads).scores
    from rsitr.captions.released import Released

    return Released(captions.texts, captions.references, threads=threads).scores


def module_of(name: str) -> str:
    """The module that computes a measure; raises ``ParamsError`` for an unknown one."""
    if name not in MEASURES:
        raise ParamsError(f"unknown measure of similarity {name!r}: the known ones are {', '.join(MEASURES)}")
    return f"rsitr.captions.{MEASURES[name]}"


def identity(name: str, captions: CaptionSet) -> str:
    """Hash of everything that a matrix depends on: the captions, the measure and its code and tables."""
    # By name, since what makes hashes of code is not part of what computes a number.
    code_sha = importlib.import_module("rsitr.records.identity").code_sha
    made_by = [code_sha((module_of(name),)), *map(importlib.metadata.version, ("nltk", "pycocoevalcap"))]
    return sha256_json([name, made_by, captions.texts, captions.references, "sha256"])


def write_matrix(name: str, captions: CaptionSet, path: Path, threads: int = 1) -> bool:
    """Write a measure, float16 [images, texts], to ``path`` (.npy), and next to it (.json) what it was made from.

    An interrupted run continues, and a matrix that is already there is left alone. Returns whether there was anything
    to do; stderr says why an older matrix was discarded.
    """
    made_of, images = identity(name, captions), len(captions.references)
    done = _rows_done(path, made_of, captions)
    if done == images and images:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    everything = np.arange(len(captions.texts))
    blocks = [np.arange(start, min(start + BLOCK, images)) for start in range(done, images, BLOCK)]
    note = {"identity": made_of, "images": images, "texts": len(everything)}
    with path.open("r+b" if done else "w+b") as file, Progress(name, -(-images // BLOCK), done // BLOCK) as progress:
        file.write(_header(captions))
        file.truncate(_bytes(done, captions))
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256")
        write_json(_note(path), note | {"rows": done, "sha256": digest.hexdigest()})
        score = measure(name, captions, threads) if blocks else None
        for block in blocks:
            assert score is not None
            rows = np.ascontiguousarray(score(everything, block).T, dtype=DTYPE).tobytes()
            file.write(rows)
            file.flush()
            os.fsync(file.fileno())  # the note must not be ahead of the rows after a loss of power
            digest.update(rows)
            write_json(_note(path), note | {"rows": int(block[-1]) + 1, "sha256": digest.hexdigest()})
            progress.advance()
    return True


def open_matrix(name: str, captions: CaptionSet, path: Path) -> npt.NDArray[np.float16] | None:
    """The matrix at ``path``, memory-mapped, or None if it is missing, unfinished, or of something else."""
    if not captions.references or _rows_done(path, identity(name, captions), captions) < len(captions.references):
        return None
    return np.load(path, mmap_mode="r")


def _rows_done(path: Path, made_of: str, captions: CaptionSet) -> int:
    """How many rows of the matrix at ``path`` can be relied on."""
    if not (path.is_file() and _note(path).is_file()):
        return 0
    try:
        note = json.loads(_note(path).read_text(encoding="utf-8"))
        made_of_now, rows = note["identity"], int(note["rows"])
    except (ValueError, KeyError, TypeError):
        made_of_now, rows = "", 0
    if made_of_now != made_of:
        print(f"{path} is of other captions or of an older version: it does not count", file=sys.stderr)
        return 0
    size = _bytes(rows, captions)
    whole = path.stat().st_size >= size and np.memmap(path, mode="r", shape=size).data
    if whole and hashlib.sha256(whole).hexdigest() == note.get("sha256"):
        return rows
    print(f"{set_aside(path)} is damaged: it does not count", file=sys.stderr)
    return 0


def _note(path: Path) -> Path:
    return path.with_suffix(".json")


def _header(captions: CaptionSet) -> bytes:
    buffer = io.BytesIO()
    shape = (len(captions.references), len(captions.texts))
    npy.write_array_header_1_0(buffer, {"descr": DTYPE.str, "fortran_order": False, "shape": shape})
    return buffer.getvalue()


def _bytes(rows: int, captions: CaptionSet) -> int:
    """Size of a file with ``rows`` rows."""
    return len(_header(captions)) + rows * len(captions.texts) * DTYPE.itemsize
