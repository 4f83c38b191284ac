"""What a text query is: a sentence, the keywords of an image, or both (AMFMN, section V-D).

A query is one string. Its keywords follow the sentence, each after a unit separator, which every tokenizer treats as
white space: a method without a notion of keywords reads them joined to the sentence, as in AMFMN's comparison.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from rsitr.captions.keywords import frequent_words, without_frequent
from rsitr.datasets.splits import SplitData

QueryMode = Literal["sentence", "keywords", "joint"]
FREQUENT = 0.1
"""A joint query leaves out keyword words that more than this share of the training images have: the paper removes
frequent ones but does not give the threshold."""
_SEPARATOR = "\x1f"

Keywords = Mapping[str, Sequence[str]]
"""Image id -> its keywords."""


def compose(sentence: str, keywords: Sequence[str]) -> str:
    """The query of a sentence and keywords; either may be empty."""
    return _SEPARATOR.join([sentence, *keywords])


def parts(query: str) -> tuple[str, list[str]]:
    """Sentence and keywords of a query."""
    sentence, *keywords = query.split(_SEPARATOR)
    return sentence, keywords


def as_queries(
    splits: Mapping[str, SplitData], mode: QueryMode, keywords: Keywords
) -> tuple[dict[str, SplitData], dict[str, int]]:
    """Splits whose captions are the queries of a mode, and how many images were left out for each reason.

    ``keywords``: one query for each image, all its keywords; an image without any is left out. ``joint``: each caption
    with the keywords of its image, without those too frequent in train.
    """
    if mode == "keywords":
        kept = {name: [bool(keywords[image]) for image in split.image_ids] for name, split in splits.items()}
        missing = sum(not has for marks in kept.values() for has in marks)
        queries = {name: _keyword_queries(split, kept[name], keywords) for name, split in splits.items()}
        return queries, {"no keywords": missing} if missing else {}
    if mode == "joint":
        frequent = frequent_words((keywords[image] for image in splits["train"].image_ids), FREQUENT)
        rarer = {image: without_frequent(texts, frequent) for image, texts in keywords.items()}
        return {name: _joint_queries(split, rarer) for name, split in splits.items()}, {}
    return dict(splits), {}


def _keyword_queries(split: SplitData, kept: Sequence[bool], keywords: Keywords) -> SplitData:
    rows = np.flatnonzero(kept)
    ids = [split.image_ids[row] for row in rows]
    return SplitData(
        ids,
        [split.paths[row] for row in rows],
        [split.hashes[row] for row in rows],
        [compose("", keywords[image]) for image in ids],
        np.arange(len(rows)),
        tuple(split.classes[row] for row in rows),
    )


def _joint_queries(split: SplitData, keywords: Keywords) -> SplitData:
    ids = [split.image_ids[image] for image in split.image_of]
    return split._replace(
        captions=[compose(caption, keywords[image]) for caption, image in zip(split.captions, ids, strict=True)]
    )
