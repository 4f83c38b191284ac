"""METEOR 1.5 for English of every caption against the captions of every image, exact and without Java.

METEOR is defined by M. Denkowski and A. Lavie, 'Meteor Universal: Language Specific Translation Evaluation for Any
Target Language' (WMT 2014), with the parameters of its version 1.5; pycocoevalcap calls the authors' Java program for
one pair at a time. This module gives the scores of that program, as pycocoevalcap calls it, to within 1e-6.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial

import numpy as np

from rsitr.captions.all_pairs import (
    FloatArray,
    IntArray,
    checked_places,
    checked_references,
    checked_threads,
    end_to_end,
    over_threads,
)
from rsitr.captions.meteor.aligner import score_captions
from rsitr.captions.meteor.matches import prepare
from rsitr.captions.meteor.tables import Tables, load_tables


class Meteor:
    """METEOR of captions against images: the best of a caption's scores against the captions of an image.

    ``texts`` are captions, and ``references[i]`` the places in ``texts`` of the captions of image ``i``. ``tables`` are
    what METEOR knows about English, by default read from the installed pycocoevalcap with a compact form in
    ``cache/meteor``, which takes about half a minute to build if it is missing. ``scores`` divides its captions over
    ``threads`` threads, whose number does not affect the scores.

    A caption without words scores 0 against everything, and so does everything against an image without captions.

    Raises ``DatasetError`` for references outside ``texts`` and for a text of more than 4,000 words,
    ``SourceUnavailable`` without pycocoevalcap, and ``CorruptArchive`` if its files cannot be read.
    """

    def __init__(
        self, texts: Sequence[str], references: Sequence[Sequence[int]], tables: Tables | None = None, threads: int = 1
    ):
        self.threads = checked_threads(threads)
        checked_references(references, len(texts))
        self.references = end_to_end([sorted(set(own)) for own in references])
        self.corpus = prepare(texts, _installed_tables() if tables is None else tables)

    def scores(self, captions: IntArray, images: IntArray) -> FloatArray:
        """Float64 [H, I] in 0..1: METEOR of each of ``captions`` [H] against each of ``images`` [I].

        ``captions`` are places in ``texts``, ``images`` places in ``references``; ``DatasetError`` if they are not.
        """
        captions = checked_places(captions, len(self.corpus.same), "captions")
        images = checked_places(images, len(self.references.starts) - 1, "images")
        out = np.empty((len(captions), len(images)))
        work = partial(score_captions, self.corpus, self.references, captions, images, out)
        over_threads(work, len(captions), self.threads)
        return out


@cache
def _installed_tables() -> Tables:
    return load_tables()
