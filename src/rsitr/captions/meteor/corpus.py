"""A corpus as the aligner reads it: numbered words and phrases, and what each of them may be matched to."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from rsitr.captions.all_pairs import IntArray


class Corpus(NamedTuple):
    """Texts for the aligner. A unit is a word, or a phrase of several that is in the paraphrase table.

    ``x_starts[n]`` to ``x_starts[n + 1]`` is the part of the arrays ``x_...`` that belongs to n.
    """

    text_starts: IntArray
    """int64 [texts + 1] into the places of all texts."""
    same: IntArray
    """int64 [texts]: equal for texts of the same words."""
    weights: IntArray
    """int64 [texts]: of all words, if they match exactly."""
    place_starts: IntArray
    """int64 [places + 1]."""
    place_units: npt.NDArray[np.int32]
    """The units that start at a place: the word first, then phrases, shorter ones first."""
    match_starts: IntArray
    """int64 [units + 1]. The matches of a unit of a caption:"""
    match_units: npt.NDArray[np.int32]
    """the units of references that it may be matched to,"""
    match_rows: IntArray
    """[matches, COLUMNS]: the match, as if at place 0 of a caption,"""
    match_shifts: IntArray
    """and where in its sort key the place in the caption is added."""
