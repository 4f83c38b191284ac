"""The dynamic margin of AMFMN: how far apart a caption and an image have to be, given their prior similarity.

Z. Yuan et al., 'Exploring a Fine-Grained Multiscale Method for Cross-Modal Remote Sensing Image Retrieval' (IEEE TGRS,
2021), section III-D, Eq. 29.
"""

from __future__ import annotations

from math import isfinite

import numpy as np
import numpy.typing as npt

from rsitr.errors import DatasetError, ParamsError

STRAIGHT = 1e-16
"""With ``beta`` closer to 0 than this, the curve and its limit are the same in double precision."""


def margin(similarity: npt.ArrayLike, gamma: float, beta: float) -> npt.NDArray[np.float64]:
    """alpha = gamma (e^beta - e^(beta S)) / (e^beta - 1), float64 in the shape of ``similarity`` S (Eq. 29).

    ``gamma`` above 0 is the margin of a pair with no similarity; it falls to exactly 0 at S = 1. With ``beta`` below 0
    it falls fast at first, above 0 fast at the end. At 0 the formula is undefined; its limit is the line gamma (1 - S).
    Accurate for every finite ``beta``, however small or large.

    Raises ``ParamsError`` for a meaningless ``gamma`` or ``beta`` and ``DatasetError`` for a similarity outside
    0 to 1.
    """
    if not (isfinite(gamma) and gamma > 0):
        raise ParamsError(f"gamma is {gamma}: give the largest margin, a number above 0")
    if not isfinite(beta):
        raise ParamsError(f"beta is {beta}: give a finite number; 0 makes the margin fall in a line")
    s = np.asarray(similarity, dtype=np.float64)
    inside = (s >= 0) & (s <= 1)
    if not inside.all():
        raise DatasetError(f"{s[~inside][0]} is no similarity: every value must lie between 0 and 1")
    if abs(beta) < STRAIGHT:
        return gamma * (1 - s)
    # Eq. 29 with e^|beta| taken out of both sides, so that no power overflows and nothing cancels near S = 1.
    share = np.expm1(-abs(beta) * (1 - s)) / np.expm1(-abs(beta))
    return gamma * (share if beta > 0 else share * np.exp(beta * s))
