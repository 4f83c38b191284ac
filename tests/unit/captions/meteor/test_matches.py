"""Stems as METEOR has them; every expectation is what the stemmer of its jar gives, and later versions do not."""

from __future__ import annotations

import pytest
from snowballstemmer import stemmer

from rsitr.captions.meteor.matches import STEMMER


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("a", "a"),
        ("by", "by"),
        ("trees", "tree"),
        ("buildings", "build"),
        ("parking", "park"),
        ("houses", "hous"),
        ("cities", "citi"),
        ("ties", "tie"),
        ("gas", "gas"),
        ("grass", "grass"),
        ("census", "census"),
        ("skies", "sky"),
        ("news", "news"),
        ("innings", "inning"),
        ("succeeded", "succeed"),
        ("succeed", "succeed"),
        ("exceeding", "exceed"),
        ("dying", "die"),
        ("gently", "gentl"),
        ("agreed", "agre"),
        ("feed", "feed"),
        ("hopping", "hop"),
        ("hoping", "hope"),
        ("conflated", "conflat"),
        ("troubling", "troubl"),
        ("sized", "size"),
        ("bed", "bed"),
        ("yellow", "yellow"),
        ("playing", "play"),
        ("say", "say"),
        ("cry", "cri"),
        ("quantization", "quantiz"),
        ("rotationally", "rotat"),
        ("residential", "residenti"),
        ("generously", "generous"),
        ("communism", "communism"),
        ("relational", "relat"),
        ("analogies", "analog"),
        ("hopefulness", "hope"),
        ("electrical", "electr"),
        ("adjustable", "adjust"),
        ("adoption", "adopt"),
        ("opinion", "opinion"),
        ("probate", "probat"),
        ("controll", "control"),
        ("rate", "rate"),
        ("'s", "'s"),
        ("'tis", "tis"),
        ("river's", "river"),
        ("rivers'", "river"),
        ("façades", "façad"),
    ],
)
def test_stem(word, expected):
    assert stemmer(STEMMER).stemWord(word) == expected
