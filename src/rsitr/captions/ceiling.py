"""The recall of a perfect method that leaves the order of identical captions to chance, in expectation.

Published code leaves ties to the sort, which comes close to this; here are the closed forms. Every image is taken for
a picture of its own. The ceiling of our protocol, where ties count against the method and identical pictures tie, is
``rsitr.retrieval.recall.ceiling``.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import comb
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from rsitr.captions.words import normal_form
from rsitr.errors import DatasetError

CUTOFFS = (1, 5, 10)


class Ceiling(NamedTuple):
    """Expected recalls in percent."""

    i2t_r1: float
    i2t_r5: float
    i2t_r10: float
    t2i_r1: float
    t2i_r5: float
    t2i_r10: float


def expected_ceiling(captions: Sequence[str], image_of: npt.NDArray[np.integer]) -> Ceiling:
    """Expected ceilings of the captions [C] of the images ``image_of`` [C], each of which has at least one caption.

    t2i: for a text on m images, a perfect method puts these m first and cannot tell them apart, so a query with it is a
    hit at K with probability min(K, m) / m.

    i2t: a text with N copies, n of them the image's own, takes N neighbouring places in random order; put first, it
    is a hit at K unless K draws without replacement all miss: 1 - C(N - n, K) / C(N, K). The image's best text
    counts. Mixing two texts gains nothing, since the logarithm of the chance of a miss is concave in the draws.

    Raises ``DatasetError`` unless there is one image number per caption, and at least one caption.
    """
    if len(captions) != len(image_of) or not len(captions):
        raise DatasetError(f"{len(captions)} captions came with {len(image_of)} image numbers: give one per caption.")
    _, text_of = np.unique([normal_form(caption) for caption in captions], return_inverse=True)
    (text, image), own = np.unique(np.stack([text_of, image_of]), axis=1, return_counts=True)
    images, copies = np.bincount(text)[text], np.bincount(text_of)[text]
    t2i = [own @ (np.minimum(k, images) / images) / len(captions) for k in CUTOFFS]
    i2t = []
    for k in CUTOFFS:
        best = np.zeros(int(image.max()) + 1)
        np.maximum.at(best, image, [_hit(a, n, k) for a, n in zip(copies.tolist(), own.tolist(), strict=True)])
        i2t.append(best[np.unique(image)].mean())
    return Ceiling(*(float(100 * share) for share in (*i2t, *t2i)))


def _hit(copies: int, own: int, draws: int) -> float:
    """Chance that ``draws`` of ``copies`` captions, drawn without replacement, hold one of ``own``."""
    return 1 - comb(copies - own, draws) / comb(copies, draws) if draws <= copies else 1.0
