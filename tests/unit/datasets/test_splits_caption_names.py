"""Names of captions: by hand, and there and back."""

from __future__ import annotations

import numpy as np
import pytest

from rsitr.datasets.splits import SplitData, caption_name, words_of
from rsitr.errors import DatasetError

CAPTIONS = ["a lake", "a pond", "two planes", "an apron", "a lake"]
SPLIT = SplitData(["harbour.tif", "port #2.tif"], [], [], CAPTIONS, np.array([0, 0, 1, 1, 1]), ())
NAMES = ["harbour.tif#1", "harbour.tif#2", "port #2.tif#1", "port #2.tif#2", "port #2.tif#3"]


def test_a_caption_is_named_by_its_image_and_its_number() -> None:
    assert [caption_name(SPLIT, caption) for caption in range(5)] == NAMES


def test_a_name_finds_its_words() -> None:
    assert [words_of(name, SPLIT) for name in NAMES] == CAPTIONS


@pytest.mark.parametrize("name", ["quay.tif#1", "harbour.tif#3", "harbour.tif#0", "harbour.tif#-1", "harbour.tif", ""])
def test_a_name_of_other_data(name: str) -> None:
    with pytest.raises(DatasetError, match=f"the split has no caption {name}: the name belongs to other data"):
        words_of(name, SPLIT)
