"""The map of similarities: by hand, against the prior itself, in whatever blocks, and its order."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsitr.captions import similarity_map as module
from rsitr.captions.released import Released
from rsitr.captions.similarity_map import similarity_map
from rsitr.captions.statistics import Image
from rsitr.errors import DatasetError
from tests.helpers.examples import examples


def image(number, *captions, name="port"):
    return Image(f"{number}.tif", "val", name, list(captions))


def test_equal_captions_and_captions_without_a_word_in_common():
    found = similarity_map([image(1, "two boats"), image(2, "Two boats"), image(3, "green trees")])
    assert found.cells.tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 1]]
    assert found.average == pytest.approx(5 / 9)
    assert (found.images, found.captions, found.classes) == (3, 3, [("port", 3.0)])


def test_captions_of_an_image_are_averaged_and_its_repetitions_count():
    # The first image is known by one of its three captions to the second one, which has no other.
    found = similarity_map([image(1, "two boats", "green trees", "green trees"), image(2, "green trees")])
    own = Released(["two boats", "green trees"], [[0, 1, 1], [1]])
    first, second = own.scores(np.array([0, 1, 1]), np.array([0, 1])).T
    assert found.cells == pytest.approx(np.array([[first.mean(), first[1]], [second.mean(), second[1]]]))
    assert second.tolist() == [0, 1, 1]
    assert found.average == pytest.approx((first.sum() + first[1] + 2 + 1) / 8)


def test_classes_then_numbers_order_the_map():
    images = [image(10, "trees"), image(11, "trees"), image(9, "boats"), image("x", "quays", name="alley"), image(1)]
    found = similarity_map(images)
    # The alley, then of the port 9, 10 and 11; an image without captions is left out.
    assert found.cells.tolist() == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]]
    assert (found.images, found.classes) == (4, [("alley", 1.0), ("port", 4.0)])


def test_names_without_numbers_stand_beside_numbers():
    ids = ["quay_2.jpg", "quay_10.jpg", "7", "quay.jpg"]
    images = [Image(image_id, "val", "", [text]) for image_id, text in zip(ids, "efgf", strict=True)]
    assert similarity_map(images).images == 4


def test_cells_of_several_images_show_the_highest(monkeypatch):
    monkeypatch.setattr(module, "CELLS", 2)
    images = [image(1, "two boats"), image(2, "a quay"), image(3, "green trees", name="wood")]
    found = similarity_map(images)
    assert found.cells.tolist() == [[1, 0], [0, 1]]
    assert found.average == pytest.approx(1 / 3)
    assert found.classes == [("port", 1.0), ("wood", 1.5)]


captions = st.lists(st.sampled_from(["a", "two", "boats", "green", "trees", "."]), max_size=6).map(" ".join)
sets = st.lists(st.lists(captions, min_size=1, max_size=3), min_size=1, max_size=7)


@given(sets, st.integers(1, 40), st.integers(1, 3))
@examples(30)
def test_it_is_the_prior_whatever_the_blocks_and_threads(lists, block, threads):
    """Blank captions among them; the prior has its own tests."""
    texts = [text for own in lists for text in own]
    starts = np.cumsum([0, *map(len, lists)])
    references = [range(start, end) for start, end in pairwise(starts)]
    full = Released(texts, references).scores(np.arange(len(texts)), np.arange(len(lists)))
    images = [image(number, *own) for number, own in enumerate(lists)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK", block)
        patch.setattr(module, "CELLS", 4)
        found = similarity_map(images, threads)
    assert found.average == pytest.approx(full.mean(), abs=1e-12)
    side = -(-len(lists) // 4)
    means = np.array([full[list(own)].mean(axis=0) for own in references]).T
    cells = [
        [means[i : i + side, j : j + side].max() for j in range(0, len(lists), side)]
        for i in range(0, len(lists), side)
    ]
    assert found.cells == pytest.approx(np.array(cells), abs=1e-6)
    assert np.isfinite(found.cells).all()


@pytest.mark.parametrize("images", [[], [image(1)]])
def test_nothing_to_compare(images):
    with pytest.raises(DatasetError, match="no image has a caption"):
        similarity_map(images)


def test_blank_captions_alone_are_no_similarity():
    found = similarity_map([image(1, "", "..."), image(2, "")])
    assert np.isfinite(found.average)
    assert found.cells[1, 1] == 0


def test_progress_names_what_is_measured(capsys):
    similarity_map([image(1, "two boats")], title="ucm val similarity")
    assert "ucm val similarity 1/1" in capsys.readouterr().err
