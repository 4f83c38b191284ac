"""Near-duplicate groups from 64-bit perceptual hashes: the field's protocol, named ``remoteclip``.

RemoteCLIP (section III) removes training images whose hash lies within Hamming distance 2 of a test image's.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

MAX_DISTANCE = 2
_BLOCK = 1024


def near_pairs(fingerprints: list[str], max_distance: int = MAX_DISTANCE) -> np.ndarray:
    """All pairs within ``max_distance`` bits: integers [P, 2], first < second.

    ``fingerprints`` are 16 hexadecimal digits each; an empty one (no image) is near to nothing.
    """
    present = np.array([index for index, value in enumerate(fingerprints) if value], dtype=np.int64)
    hashes = np.array([int(fingerprints[index], 16) for index in present], dtype=np.uint64)
    pairs = [np.empty((0, 2), dtype=np.int64)]
    for start in range(0, len(hashes), _BLOCK):
        distance = np.bitwise_count(hashes[start : start + _BLOCK, None] ^ hashes[None, start:])
        first, second = np.nonzero(distance <= max_distance)
        chosen = first < second
        pairs.append(np.stack([first[chosen], second[chosen]], axis=1) + start)
    return present[np.concatenate(pairs)]


def duplicate_groups(fingerprints: list[str], max_distance: int = MAX_DISTANCE) -> np.ndarray:
    """Group number of every image: int32 [N]; images linked by a chain of near pairs share one."""
    pairs = near_pairs(fingerprints, max_distance)
    size = len(fingerprints)
    links = coo_array((np.ones(len(pairs), dtype=bool), (pairs[:, 0], pairs[:, 1])), shape=(size, size))
    return connected_components(links, directed=False)[1].astype(np.int32)
