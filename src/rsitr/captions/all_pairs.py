"""What all scorers of captions against images share: checked places, concatenated lists, work divided over threads.

A scorer holds ``texts``, the captions, and ``references``, for each image the places of its captions in ``texts``. It
scores many captions against many images at once, in compiled loops that check no index: places are checked here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from rsitr.errors import DatasetError, ParamsError

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]


class Lists(NamedTuple):
    """Lists of different lengths as two arrays."""

    values: IntArray
    """All lists end to end."""
    starts: IntArray
    """[lists + 1]: list ``i`` is ``values[starts[i]:starts[i + 1]]``."""


def end_to_end(lists: Sequence[Sequence[int]]) -> Lists:
    """The lists as arrays."""
    starts = np.zeros(len(lists) + 1, dtype=np.int64)
    np.cumsum([len(one) for one in lists], out=starts[1:])
    values = np.fromiter((value for one in lists for value in one), dtype=np.int64, count=starts[-1])
    return Lists(values, starts)


def checked_references(references: Sequence[Sequence[int]], texts: int) -> Lists:
    """The captions of every image; raises ``DatasetError`` where one is not a place among ``texts`` captions."""
    lists = end_to_end(references)
    checked_places(lists.values, texts, "references")
    return lists


def checked_places(places: npt.ArrayLike, count: int, what: str) -> IntArray:
    """``places`` as an array [N]; raises ``DatasetError`` where one is not in ``range(count)``."""
    array = np.ascontiguousarray(places, dtype=np.int64)
    wrong = array[(array < 0) | (array >= count)]
    if len(wrong):
        raise DatasetError(f"{what}: place {wrong[0]} of {count} does not exist; give places from 0 to {count - 1}")
    return array


def checked_threads(threads: int) -> int:
    """``threads`` itself; raises ``ParamsError`` unless there is at least one."""
    if threads < 1:
        raise ParamsError(f"threads is {threads}: give 1 or more")
    return threads


def over_threads(work: Callable[[int, int], Any], count: int, threads: int) -> None:
    """Call ``work(first, last)`` on consecutive parts of ``range(count)``, one per thread.

    Numba's own threads are not used: they would share a process with torch's, and the two pools compete for the cores.
    """
    bounds = [count * part // threads for part in range(threads + 1)]
    parts = [(first, last) for first, last in pairwise(bounds) if first < last]
    if len(parts) <= 1:
        for part in parts:
            work(*part)
        return
    with ThreadPoolExecutor(len(parts)) as pool:
        for done in [pool.submit(work, *part) for part in parts]:
            done.result()
