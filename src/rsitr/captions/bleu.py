"""BLEU-1 to BLEU-4 of every caption against the captions of every image, exact.

BLEU is defined by K. Papineni et al., 'BLEU: a method for automatic evaluation of machine translation' (ACL 2002), for
a whole corpus; libraries differ on single sentences, where n-grams without a match are the rule. This module follows
the definitions of two of them, to within 1e-9 of what they compute one pair at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from rsitr.captions.all_pairs import (
    FloatArray,
    IntArray,
    checked_places,
    checked_references,
    checked_threads,
    over_threads,
)
from rsitr.captions.bleu_kernel import ORDERS, PYCOCOEVALCAP, score_images
from rsitr.captions.ngrams import count_ngrams
from rsitr.captions.words import words
from rsitr.errors import ParamsError

METHODS = {"pycocoevalcap": PYCOCOEVALCAP} | {f"nltk-{method}": method for method in range(8)}
"""Definition -> its number in ``bleu_kernel``."""


class Bleu:
    """BLEU-1 to BLEU-4 of captions against images, each image with any number of captions as references.

    ``texts`` are captions, and ``references[i]`` the places in ``texts`` of the captions of image ``i``. ``tokenize``
    splits a caption into words; pycocoevalcap and nltk also leave that to their callers. ``scores`` divides its images
    over ``threads`` threads, whose number does not affect the scores.

    ``definition`` is one of ``METHODS``:

    - ``pycocoevalcap``: the score that its ``Bleu`` gives each segment (closest reference length).
    - ``nltk-0`` to ``nltk-7``: ``sentence_bleu`` with a method of ``SmoothingFunction`` (B. Chen and C. Cherry, 'A
      systematic comparison of smoothing techniques for sentence-level BLEU', WMT 2014), with default constants and
      the four uniform weightings in one call: methods 5 to 7 smooth an order with the help of higher ones, which a
      call for BLEU-1 alone would not have.

    Where the libraries raise an error, the score is 0: an image without captions; a caption without words, even against
    captions without words; all four orders of ``nltk-6``, which is undefined without a common trigram. nltk's methods 5
    and 7 may give more than 1.

    Raises ``ParamsError`` for an unknown definition and ``DatasetError`` for references outside ``texts``.
    """

    def __init__(
        self,
        texts: Sequence[str],
        references: Sequence[Sequence[int]],
        definition: str = "pycocoevalcap",
        threads: int = 1,
        tokenize: Callable[[str], list[str]] = words,
    ):
        if definition not in METHODS:
            raise ParamsError(f"unknown definition of BLEU: {definition!r}; choose from {', '.join(METHODS)}")
        self.method = METHODS[definition]
        self.threads = checked_threads(threads)
        self.references = checked_references(references, len(texts))
        # The methods that average neighbouring orders need the one above the last.
        orders = ORDERS + 1 if self.method in (5, 7) else ORDERS
        self.ngrams = count_ngrams([tokenize(text) for text in texts], orders)

    def scores(self, captions: IntArray, images: IntArray) -> FloatArray:
        """Float64 [H, I, 4]: BLEU-1 to BLEU-4 of each of ``captions`` [H] against each of ``images`` [I].

        ``captions`` are places in ``texts``, ``images`` places in ``references``; ``DatasetError`` if they are not.
        """
        captions = checked_places(captions, len(self.ngrams.lengths), "captions")
        images = checked_places(images, len(self.references.starts) - 1, "images")
        out = np.empty((len(captions), len(images), ORDERS))
        work = partial(score_images, captions, images, self.references, self.ngrams, self.method, out)
        over_threads(work, len(images), self.threads)
        return out
