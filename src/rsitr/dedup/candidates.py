"""The cheap stage: pairs of images with similar fingerprints, in any orientation, whole or as a window."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import faiss
import numpy as np
import pandas as pd
from filelock import FileLock

from rsitr.dedup.fingerprints import DIMENSIONS, WINDOWS, Window, canonical, fingerprints, oriented, plausible, undone
from rsitr.dedup.thumbnails import Pictures
from rsitr.records.files import intact, replacing, seal

SIMILAR = 0.7
"""Minimum cosine of two fingerprints."""
NEIGHBOURS = 8
"""Nearest fingerprints considered for each query."""
PLACES = 2
"""Windows in which one image is looked for in another: a repeating pattern fits several."""
MOST = 40
"""How many candidates an image gets, the nearest ones."""
EXHAUSTIVE = 300_000
"""Up to this many distinct fingerprints, each query is compared with all of them."""
PROBES, MOST_CODES = 4, 100_000
"""Beyond that: how many cells of the index a query visits, and with how many fingerprints it is compared at most."""

ADDED = 100_000
"""Fingerprints that are added to an index at once."""
READ = 1024
"""Images whose fingerprints are computed at once."""
KEY = 16
"""Bytes of a digest."""

COLUMNS = ["first", "second", "part", "window", "orientation", "similarity"]


class Hits(NamedTuple):
    """Similar fingerprints, one row each, all of length H."""

    query: np.ndarray
    entry: np.ndarray
    """Row of the index."""
    orientation: np.ndarray
    """The one that turns the image of the entry into that of the query."""
    similarity: np.ndarray


class Index(NamedTuple):
    """The distinct fingerprints to search, in canonical orientation."""

    orientation: np.ndarray
    """int8 [N]: what turns each fingerprint into the canonical one."""
    rows: np.ndarray
    """Those that can be found, one of each kind."""
    same: np.ndarray
    """[N]: for each fingerprint the one of ``rows`` that equals it; itself where it shows nothing."""
    nearest: Any
    """Of faiss, over ``rows``."""

    @classmethod
    def of(cls, parts: Iterable[np.ndarray], size: int) -> Index:
        """An index of ``parts``, float32 [n, 54], ``size`` vectors together; zero vectors are never found."""
        vectors, keys = np.empty((size, DIMENSIONS), dtype=np.float32), np.empty(size, dtype=f"V{KEY}")
        orientation, done = np.empty(size, dtype=np.int8), 0
        for part in parts:
            place = slice(done, done + len(part))
            orientation[place] = canonical(part)
            vectors[place] = oriented(part, orientation[place])
            keys[place] = _keys(vectors[place])
            done += len(part)
        rows, same = _different(keys, np.asarray(vectors.any(axis=1)))
        return cls(orientation, rows, same, _search_index(vectors, rows))

    @classmethod
    def kept(cls, path: Path, make: Callable[[], Index]) -> Index:
        """The index in a file, which the process that comes first makes and all others read."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            if not intact(path):
                made = make()
                with replacing(path) as part, part.open("wb") as file:
                    np.savez(file, **made._replace(nearest=faiss.serialize_index(made.nearest))._asdict())
                seal(path)
                return made
        with np.load(path, allow_pickle=False) as arrays:
            found = cls(*(arrays[name] for name in cls._fields))
        return found._replace(nearest=_bounded(faiss.deserialize_index(found.nearest)))

    def search(self, vectors: np.ndarray, neighbours: int) -> Hits:
        """The ``neighbours`` nearest entries of each query in each of its plausible orientations."""
        shown = vectors.any(axis=1, keepdims=True) if len(self.rows) else np.zeros((len(vectors), 1), dtype=bool)
        query, turned = np.nonzero(plausible(vectors) & shown)
        wanted = max(1, min(neighbours, len(self.rows)))
        similarity, entry = self.nearest.search(oriented(vectors[query], turned), wanted)
        near = np.asarray(similarity >= SIMILAR)
        query, turned = (np.broadcast_to(column[:, None], near.shape)[near] for column in (query, turned))
        entry = self.rows[entry[near]]
        return Hits(query, entry, undone(turned, self.orientation[entry]), similarity[near])


def _keys(vectors: np.ndarray) -> np.ndarray:
    """A digest of each vector, the same for those that are equal in thousandths: void [N]."""
    coarse = np.round(vectors * 1024).astype(np.int16)
    digests = (blake2b(vector, digest_size=KEY).digest() for vector in coarse)
    return np.fromiter(digests, dtype=f"V{KEY}", count=len(vectors))


def _different(keys: np.ndarray, shown: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first row of each run of equal vectors, without zero vectors; and for every row that first one.

    Otherwise a million copies of one picture would all be each other's neighbours.
    """
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    same = first[inverse]
    return np.sort(first[shown[first]]), np.where(shown, same, np.arange(len(keys)))


def _search_index(vectors: np.ndarray, rows: np.ndarray) -> Any:
    """An index of some rows of ``vectors``."""
    size, dimensions = len(rows), vectors.shape[1]
    cells = 1 << int(np.log2(4 * np.sqrt(max(size, 1))))
    kind = "Flat" if size <= EXHAUSTIVE else f"IVF{cells},SQ8"
    index: Any = faiss.index_factory(dimensions, kind, faiss.METRIC_INNER_PRODUCT)
    if size > EXHAUSTIVE:
        index.cp.max_points_per_centroid = 64
        index.train(vectors if size == len(vectors) else vectors[rows])
    for start in range(0, size, ADDED):
        index.add(vectors[rows[start : start + ADDED]])
    return _bounded(index)


def _bounded(index: Any) -> Any:
    """What a query visits; a file does not hold all of it."""
    if isinstance(index, faiss.IndexIVF):
        index.nprobe, index.max_codes = PROBES, MOST_CODES
    return index


class Gallery(NamedTuple):
    """A set of images that the images of another set, or its own, are compared with."""

    wholes: Index
    windows: Index | None
    """None where images are compared within a set: a pair is also met from the side of the original of the crop."""

    @classmethod
    def of(cls, pixels: Pictures | np.ndarray, within: bool = False, kept: Path | None = None) -> Gallery:
        """The gallery of thumbnails, uint8 [N, 64, 64, 3]; ``within`` if they are compared with each other.

        Its indexes are kept in the folder ``kept``, if there is one.
        """

        def index(windows: tuple[Window, ...]) -> Index:
            make = partial(Index.of, _read(pixels, windows), len(pixels) * len(windows))
            return Index.kept(kept / f"{len(windows)}.npz", make) if kept else make()

        return cls(index(WINDOWS[:1]), None if within else index(WINDOWS))

    def candidates(self, pixels: Pictures | np.ndarray, rows: np.ndarray) -> pd.DataFrame:
        """Candidates of the images ``pixels[rows]`` with the columns ``COLUMNS``, sorted.

        ``first`` is a row of ``pixels``, ``second`` one of the gallery; ``part`` is the one (``first`` or ``second``)
        that shows a ``window`` (index into ``WINDOWS``) of the other after ``orientation``.
        """
        vectors = fingerprints(pixels[rows], WINDOWS)
        within = self.windows is None
        hits = self.wholes.search(vectors.reshape(-1, DIMENSIONS), NEIGHBOURS + within)
        image, window = np.divmod(hits.query, len(WINDOWS))
        found = [_frame(rows[image], hits.entry, "second", window, hits.orientation, hits.similarity)]
        if self.windows:
            # Several windows of one image are similar, so more entries are needed for the same number of images.
            hits = self.windows.search(vectors[:, 0], 4 * NEIGHBOURS)
            entry, window = np.divmod(hits.entry, len(WINDOWS))
            back = undone(hits.orientation, np.zeros_like(hits.orientation))
            found.append(_frame(rows[hits.query], entry, "first", window, back, hits.similarity))
        else:
            # The first image with exactly the same fingerprint: the index holds only that one.
            index, same = self.wholes, self.wholes.same[rows]
            turned = undone(index.orientation[rows], index.orientation[same])
            found.append(_frame(rows, same, "second", np.zeros_like(rows), turned, np.ones(len(rows), np.float32)))
        frame = pd.concat(found)
        if within:
            frame = frame[frame["first"] != frame["second"]]
        frame = frame.sort_values(["first", "similarity", "second", "part"], ascending=[True, False, True, True])
        frame = frame[frame.groupby(["first", "second", "part"]).cumcount() < PLACES]
        return frame[frame.groupby("first").cumcount() < MOST].reset_index(drop=True)


def _read(pixels: Pictures | np.ndarray, windows: tuple[Window, ...]) -> Iterator[np.ndarray]:
    """The fingerprints of a set's windows, float32 [n, 54] for some images at a time."""
    for start in range(0, len(pixels), READ):
        yield fingerprints(pixels[start : start + READ], windows).reshape(-1, DIMENSIONS)


def _frame(*columns: np.ndarray | str) -> pd.DataFrame:
    return pd.DataFrame(dict(zip(COLUMNS, columns, strict=True)))
