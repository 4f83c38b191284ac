"""The peers of our BLEU, pycocoevalcap and nltk: one pair of a caption and its references after the other.

Both expect words that are one space apart, and leave it to the caller to bring captions into that form.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
from pycocoevalcap.bleu.bleu_scorer import BleuScorer

Pair = tuple[str, Sequence[str]]
"""A caption and the captions of an image."""
ORDERS = 4
NLTK_METHODS = range(8)
WEIGHTS = [(1 / order,) * order for order in range(1, ORDERS + 1)]


def pycocoevalcap_bleu(pairs: Sequence[Pair]) -> npt.NDArray[np.float64]:
    """[N, 4]: BLEU-1 to BLEU-4 of each segment as ``pycocoevalcap.bleu.bleu.Bleu`` takes it from its scorer."""
    scorer = BleuScorer(n=ORDERS)
    for caption, references in pairs:
        scorer += (caption, references)
    return np.array(scorer.compute_score(option="closest")[1]).T


def nltk_bleu(pairs: Sequence[Pair], method: int) -> npt.NDArray[np.float64]:
    """[N, 4]: BLEU-1 to BLEU-4 as ``sentence_bleu`` gives them with a smoothing method; NaN where it raises an error.

    The four weightings are one call, as nltk recommends. Its warnings about counts of zero are not shown.
    """
    smoothing = getattr(SmoothingFunction(), f"method{method}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.array([_sentence_bleu(caption.split(), references, smoothing) for caption, references in pairs])


def _sentence_bleu(words: list[str], references: Sequence[str], smoothing: object) -> list[float]:
    try:
        return sentence_bleu([text.split() for text in references], words, WEIGHTS, smoothing)
    except (AssertionError, ValueError):
        # Method 6 without a common trigram; no references.
        return [np.nan] * ORDERS
