"""The English paraphrase table of METEOR 1.5, read from pycocoevalcap and kept in a compact form.

The table is a gzip file of three lines per entry: a probability, which METEOR ignores, a phrase of up to seven words,
and its paraphrase. Reading its 5.3 million entries takes tens of seconds; finding the phrases of a corpus in the
compact form takes a fraction of one.
"""

from __future__ import annotations

import gzip
import os
import sys
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from filelock import FileLock
from pyarrow import csv

from rsitr.captions.all_pairs import IntArray
from rsitr.errors import CorruptArchive
from rsitr.progress import Progress
from rsitr.records.files import replacing

VERSION = 1
"""Of the compact form; raise it when the form or its meaning changes."""
FILE = "paraphrases.npz"
REPAIR = "install pycocoevalcap again"


@dataclass(frozen=True)
class Paraphrases:
    """All phrases as nodes of a prefix tree, and which phrase has which paraphrases.

    Nodes are numbered level by level, so that those of phrases of n words are ``starts[n - 1]`` to ``starts[n]``.
    """

    words: dict[str, int]
    """Every word of the table -> its number."""
    starts: IntArray
    """int64 [levels + 1]."""
    keys: IntArray
    """int64 [nodes], ascending within a level: number of the parent within its level x len(words) + word."""
    phrases: npt.NDArray[np.int32]
    """[entries], ascending: nodes. Entries of one phrase are in the order of the table."""
    paraphrases: npt.NDArray[np.int32]
    """[entries]: the nodes they may be replaced by."""

    def occurrences(self, words: IntArray) -> Iterator[tuple[IntArray, IntArray]]:
        """For each number of words from 1: places in ``words`` where a phrase of that length starts, and its node.

        ``words`` int64 [N] holds numbers of words, -1 for an unknown word or a border that no phrase crosses. A node
        may be only the beginning of phrases, not a phrase itself.
        """
        places, parents = np.arange(len(words)), np.zeros(len(words), dtype=np.int64)
        for level in range(len(self.starts) - 1):
            ends = places + level
            inside = ends < len(words)
            places, parents, ends = places[inside], parents[inside], ends[inside]
            keys = self.keys[self.starts[level] : self.starts[level + 1]]
            wanted = parents * len(self.words) + words[ends]
            found = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
            known = (words[ends] >= 0) & (keys[found] == wanted)
            places, parents = places[known], found[known]
            yield places, parents + self.starts[level]


def load_paraphrases(source: Path, folder: Path) -> Paraphrases:
    """The table of the gzip file ``source``; its compact form is in ``folder``, built if necessary.

    Building takes about half a minute and 2 GiB; a process that needs the table in the meantime waits. A compact form
    that is unreadable or of another source or version is replaced, with a message on stderr. Raises ``CorruptArchive``
    if the source is damaged.
    """
    path, identity = folder / FILE, _identity(source)
    folder.mkdir(parents=True, exist_ok=True)
    table = _read(path, identity)
    if table is None:
        with FileLock(path.with_suffix(".lock")):
            table = _read(path, identity)
            if table is None:
                table = _build(source)
                _write(table, path, identity)
    return table


def _identity(source: Path) -> str:
    """What a compact form is made from: a gzip file ends with the checksum and the length of its content."""
    with source.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - 8, 0))
        return f"version {VERSION} of {size} bytes ending in {file.read().hex()}"


def _read(path: Path, identity: str) -> Paraphrases | None:
    """The compact form, or None if there is no usable one."""
    if not path.is_file():
        return None
    try:
        with np.load(path) as arrays:
            found = str(arrays["identity"])
            if found == identity:
                words = arrays["words"].tobytes().decode().split("\n")
                numbers = {word: number for number, word in enumerate(words)}
                return Paraphrases(numbers, *(arrays[name] for name in ("starts", "keys", "phrases", "paraphrases")))
        reason = f"it is {found}, and {identity} is needed"
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        reason = f"it cannot be read ({error})"
    print(f"METEOR: {path} is built again: {reason}", file=sys.stderr, flush=True)
    return None


def _write(table: Paraphrases, path: Path, identity: str) -> None:
    words = np.frombuffer("\n".join(table.words).encode(), dtype=np.uint8)
    with replacing(path) as partial, partial.open("wb") as file:
        np.savez(
            file,
            identity=np.array(identity),
            words=words,
            starts=table.starts,
            keys=table.keys,
            phrases=table.phrases,
            paraphrases=table.paraphrases,
        )


def _build(source: Path) -> Paraphrases:
    with Progress("METEOR's paraphrase table", 4) as progress:
        lines = _lines(source)
        progress.advance("read")
        entries = len(lines) // 3
        # Entry n is lines 3n to 3n + 2.
        places = np.arange(entries) * 3 + np.array([[1], [2]])
        phrases = lines.take(pa.array(places.ravel())).combine_chunks().dictionary_encode()
        del lines
        progress.advance("phrases counted")
        words, starts, keys, nodes = _tree(phrases.dictionary)
        progress.advance("tree grown")
        first, second = nodes[phrases.indices.to_numpy()].reshape(2, entries)
        # A phrase without words has no node and never matches.
        kept = (first >= 0) & (second >= 0)
        first, second = first[kept], second[kept]
        order = np.argsort(first, kind="stable")
        progress.advance("sorted")
    return Paraphrases(words, starts, keys, first[order], second[order])


def _lines(source: Path) -> pa.ChunkedArray:
    try:
        with gzip.open(source) as file:
            content = pa.py_buffer(file.read())
        table = csv.read_csv(
            pa.BufferReader(content),
            csv.ReadOptions(column_names=["line"]),
            csv.ParseOptions(delimiter="\x01", quote_char=False, ignore_empty_lines=False),
            csv.ConvertOptions(column_types={"line": pa.string()}),
        )
    except (OSError, EOFError, zlib.error, pa.ArrowInvalid) as error:
        raise CorruptArchive(f"METEOR's paraphrases {source} cannot be read ({error}): {REPAIR}") from None
    if len(table) % 3:
        raise CorruptArchive(f"METEOR's paraphrases {source} have {len(table)} lines, not three an entry: {REPAIR}")
    return table["line"]


def _tree(phrases: pa.StringArray) -> tuple[dict[str, int], IntArray, IntArray, npt.NDArray[np.int32]]:
    """Numbers of words, starts and keys as in ``Paraphrases``, and the node of each phrase; -1 without words."""
    trimmed = pc.ascii_trim(phrases, " \t\f")
    split = pc.split_pattern_regex(trimmed, "[ \t\f]+")
    flat = split.flatten().dictionary_encode()
    words = {word: number for number, word in enumerate(flat.dictionary.to_pylist())}
    codes, begins = flat.indices.to_numpy().astype(np.int64), split.offsets.to_numpy()[:-1]
    lengths = pc.list_value_length(split).to_numpy().astype(np.int64)
    lengths[pc.equal(pc.binary_length(trimmed), 0).to_numpy(zero_copy_only=False)] = 0
    nodes = np.full(len(phrases), -1, dtype=np.int32)
    parents = np.zeros(len(phrases), dtype=np.int64)
    starts, levels = [0], []
    for level in range(lengths.max(initial=0)):
        rows = np.flatnonzero(lengths > level)
        keys, number = np.unique(parents[rows] * len(words) + codes[begins[rows] + level], return_inverse=True)
        parents[rows] = number
        ended = lengths[rows] == level + 1
        nodes[rows[ended]] = starts[-1] + number[ended]
        starts.append(starts[-1] + len(keys))
        levels.append(keys)
    return words, np.array(starts), np.concatenate([*levels, np.empty(0, dtype=np.int64)]), nodes
