"""Groups of near-duplicate images, by either of two rules, within a dataset and across datasets.

``remoteclip`` is the field's rule: 64-bit perceptual hashes within Hamming distance 2 (RemoteCLIP, section III).
``copies`` is ours: pairs that ``rsitr.dedup.near_duplicates`` has verified. A chain of pairs makes one group.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from itertools import combinations, pairwise
from pathlib import Path
from typing import TypeVar

import numpy as np

from rsitr.datasets.table import read_table
from rsitr.dedup.pairs import read_near_duplicates
from rsitr.errors import DatasetError, ParamsError
from rsitr.records.paths import Paths

RULES = ("remoteclip", "copies")
MAX_DISTANCE = 2

PRECEDENCE = {"test": 0, "val": 1, "train": 2}
"""Of near duplicates, the one in the split with published numbers stays."""

H = TypeVar("H", bound=Hashable)
Image = tuple[str, str]
"""Dataset and image id."""
Groups = dict[Image, int]
"""Group number of every image that has a near duplicate; other images are not in it."""


def near_pairs(fingerprints: Sequence[str], max_distance: int = MAX_DISTANCE) -> np.ndarray:
    """Pairs within ``max_distance`` bits: integers [P, 2], first < second.

    ``fingerprints`` are 16 hexadecimal digits each; an empty one (no image) is close to nothing. Of equal ones only the
    first is compared with the others, and it is paired with each equal one, so that a million of them cost little: the
    links are the same as if all pairs were listed.
    """
    present = np.array([index for index, value in enumerate(fingerprints) if value], dtype=np.int64)
    hashes = np.array([int(fingerprints[index], 16) for index in present], dtype=np.uint64)
    hashes, first, same = np.unique(hashes, return_index=True, return_inverse=True)
    repeats = first[same] != np.arange(len(same))
    repeated = np.stack([first[same][repeats], np.flatnonzero(repeats)], axis=1)
    return np.sort(present[np.concatenate([repeated, first[_close(hashes, max_distance)]])], axis=1)


def _close(hashes: np.ndarray, most: int) -> np.ndarray:
    """Pairs of distinct hashes, uint64 [N], that differ in at most ``most`` bits: rows [P, 2] in order, first < second.

    So many bits lie in as many of ``most + 2`` bands, so that two bands of a pair are equal: only hashes that share two
    bands are compared (M. Norouzi et al., 'Fast search in Hamming space', CVPR 2012, section 3).
    """
    edges = [64 * band // (most + 2) for band in range(most + 3)]
    bands = [((1 << stop) - (1 << start)) for start, stop in pairwise(edges)]
    found = [np.empty((0, 2), dtype=np.int64)]
    for one, other in combinations(bands, 2):
        keys = hashes & np.uint64(one | other)
        order = np.argsort(keys, kind="stable")
        keys, apart, places = keys[order], 0, np.arange(len(order))
        while len(places):
            apart += 1
            places = places[: np.searchsorted(places, len(order) - apart)]
            places = places[keys[places] == keys[places + apart]]
            near = np.stack([order[places], order[places + apart]], axis=1)
            found.append(near[np.bitwise_count(hashes[near[:, 0]] ^ hashes[near[:, 1]]) <= most])
    return np.unique(np.concatenate(found), axis=0)


def linked(pairs: Iterable[tuple[H, H]]) -> dict[H, int]:
    """Group number of everything that is in a pair, in the order in which the groups first appear."""
    from scipy.cluster.hierarchy import DisjointSet

    sets = DisjointSet()
    for one, other in pairs:
        sets.add(one)
        sets.add(other)
        sets.merge(one, other)
    numbers: dict[H, int] = {}
    return {item: numbers.setdefault(sets[item], len(numbers)) for item in sets}


def image_groups(rule: str, tables: Mapping[str, Path], near_duplicates: Sequence[Path]) -> Groups:
    """Groups of the images of several datasets under a rule.

    ``tables`` are the canonical tables by dataset, ``near_duplicates`` those of near duplicates in and between them;
    each rule reads what it needs. Raises ``ParamsError`` for an unknown rule.
    """
    if rule == "remoteclip":
        frames = {name: read_table(path)[0].select(["image_id", "fingerprint"]) for name, path in tables.items()}
        images = [(name, image_id) for name, frame in frames.items() for image_id in frame["image_id"].to_pylist()]
        hashes = [value for frame in frames.values() for value in frame["fingerprint"].to_pylist()]
        return linked((images[one], images[other]) for one, other in near_pairs(hashes))
    if rule == "copies":
        return linked(pair for path in near_duplicates for pair in _pairs(path))
    raise ParamsError(f"unknown de-duplication rule {rule!r}: the known ones are {', '.join(RULES)}")


def kept_first(groups: Groups, splits: Mapping[Image, str]) -> list[list[Image]]:
    """The members of each group, in the order of its number; the first is the one that stays where one may stay.

    Test comes before val and val before train; ties go by alphabetical order of dataset and image id.
    """
    members: dict[int, list[Image]] = {}
    for image, number in groups.items():
        members.setdefault(number, []).append(image)
    return [sorted(group, key=lambda image: (PRECEDENCE[splits[image]], image)) for _, group in sorted(members.items())]


def near_duplicates(image: Image) -> tuple[dict[str, Path], list[Image]]:
    """Canonical tables by dataset, and an image's near duplicates in all tables of them found here, the kept one first.

    The image itself is one of them. Raises ``DatasetError`` if it has no others.
    """
    paths = sorted(path for path in Path("data/near_duplicates").glob("*/*.parquet") if path.is_file())
    names = sorted({name for path in paths for name in (path.parent.name, path.stem)})
    tables = {name: Paths.dataset(name) for name in names}
    groups = image_groups("copies", tables, paths)
    if image not in groups:
        raise DatasetError(f"{'/'.join(image)} has no near duplicate in {', '.join(names) or 'none'}")
    splits = {}
    for name, path in tables.items():
        ids, parts = (read_table(path)[0][column].to_pylist() for column in ("image_id", "split"))
        splits.update({(name, image_id): part for image_id, part in zip(ids, parts, strict=True)})
    same = {member: number for member, number in groups.items() if number == groups[image]}
    return tables, kept_first(same, splits)[0]


def _pairs(path: Path) -> list[tuple[Image, Image]]:
    frame, facts = read_near_duplicates(path)
    return [
        ((facts.first, one), (facts.second, other)) for one, other in zip(frame["first"], frame["second"], strict=True)
    ]
