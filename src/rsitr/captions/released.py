"""The similarity of caption and image as AMFMN's authors released it; it differs from the one their paper describes.

Z. Yuan et al., 'Exploring a Fine-Grained Multiscale Method for Cross-Modal Remote Sensing Image Retrieval' (IEEE TGRS,
2021), section III-D, weights BLEU and METEOR. The authors' public program has no METEOR: it takes the mean of BLEU-4 on
stems and the share of words in common. On the validation sets, it gives the means printed in Fig. 9(d).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path

import numpy as np
from nltk.stem import PorterStemmer
from numba import njit

from rsitr.captions.all_pairs import FloatArray, IntArray, Lists, checked_places, over_threads
from rsitr.captions.bleu import Bleu
from rsitr.captions.ngrams import Ngrams, count_ngrams
from rsitr.captions.tokens import tokens

STOP_WORDS = frozenset(Path(__file__).with_name("stop_words.txt").read_text(encoding="utf-8").split()) | {",", "."}
"""The 179 English stop words that nltk's corpus ``stopwords`` had in 2021, a list from M. Porter's Snowball project,
and what the authors added to them."""

BLANK = 0
"""Number of the caption without stems among the distinct sequences of stems."""

_stem = cache(PorterStemmer().stem)


def stems(caption: str) -> list[str]:
    """Porter stems, in lower case, of all tokens of a caption as nltk's ``word_tokenize`` finds them.

    Punctuation and stop words are included.
    """
    return [_stem(token.lower()) for token in tokens(caption)]


class Released:
    """AMFMN's released S: the mean of two scores of a caption against the captions of an image, from 0 to 1.

    - *semantic*: BLEU-4 on ``stems`` without smoothing (``nltk-0`` of ``Bleu``), or 1 where the caption has the same
      stems as one of the image's, in the same order.
    - *entities*: for each caption of the image, the number of distinct stems in common, divided by the number of stems
      of the image's caption, repetitions included; then the mean. Stop words are left out after stemming, so a stop
      word whose stem is another string stays (``very``: ``veri``); captions without other words are left out too.

    Where the authors' program fails or gives NaN, the value is defined: a blank caption scores 0 against every image,
    blank ones included, and *entities* is 0 for an image whose captions have only stop words.

    ``texts`` are captions, ``references[i]`` the places in ``texts`` of the captions of image ``i``. ``scores`` divides
    its images over ``threads`` threads, whose number does not affect the scores. ``DatasetError`` for references
    outside ``texts``.
    """

    def __init__(self, texts: Sequence[str], references: Sequence[Sequence[int]], threads: int = 1):
        stems_of = {text: stems(text) for text in texts}
        self.bleu = Bleu(texts, references, "nltk-0", threads, tokenize=stems_of.__getitem__)
        sentences: dict[tuple[str, ...], int] = {(): BLANK}
        self.sentences = np.array(
            [sentences.setdefault(tuple(stems_of[text]), len(sentences)) for text in texts], dtype=np.int64
        )
        left = [[stem for stem in stems_of[text] if stem not in STOP_WORDS] for text in texts]
        self.entities = count_ngrams(left, orders=1)

    def scores(self, captions: IntArray, images: IntArray) -> FloatArray:
        """Float64 [H, I]: the similarity of each of ``captions`` [H] with each of ``images`` [I].

        ``captions`` are places in ``texts``, ``images`` places in ``references``; ``DatasetError`` if they are not.
        """
        captions = checked_places(captions, len(self.sentences), "captions")
        images = checked_places(images, len(self.bleu.references.starts) - 1, "images")
        out = self.bleu.scores(captions, images)[:, :, -1].copy()
        work = partial(_finish, captions, images, self.bleu.references, self.sentences, self.entities, out)
        over_threads(work, len(images), self.bleu.threads)
        return out


@njit(nogil=True, cache=True)
def _finish(
    captions: IntArray,
    images: IntArray,
    references: Lists,
    sentences: IntArray,
    entities: Ngrams,
    out: FloatArray,
    first: int,
    last: int,
) -> None:
    """Turn the BLEU-4 in ``out[:, first:last]`` into the similarity."""
    # A word earns every caption that has it the same: the sum of 1 / length over the references.
    worth = np.zeros(entities.distinct)
    said = np.zeros(len(sentences) + 1, dtype=np.bool_)
    for place in range(first, last):
        own = references.values[references.starts[images[place]] : references.starts[images[place] + 1]]
        counted = 0
        for text in own:
            said[sentences[text]] = sentences[text] != BLANK
            counted += entities.lengths[text] > 0
            for entry in range(entities.starts[text], entities.starts[text + 1]):
                worth[entities.numbers[entry]] += 1 / entities.lengths[text]
        for row, caption in enumerate(captions):
            earned = 0.0
            for entry in range(entities.starts[caption], entities.starts[caption + 1]):
                earned += worth[entities.numbers[entry]]
            semantic = 1.0 if said[sentences[caption]] else out[row, place]
            out[row, place] = (semantic + earned / max(1, counted)) / 2
        for text in own:
            said[sentences[text]] = False
            for entry in range(entities.starts[text], entities.starts[text + 1]):
                worth[entities.numbers[entry]] = 0.0
