"""How far classes and modalities lie apart, against points for which it is known."""

from __future__ import annotations

import numpy as np
import pytest

from rsitr.retrieval.separation import separation

EAST, NORTH, WEST = (1.0, 0.0), (0.0, 1.0), (-1.0, 0.0)


def test_classes_that_share_nothing_and_texts_where_their_images_are():
    points = np.array([EAST, EAST, WEST, WEST])
    found = separation(points, points, ["a", "a", "b", "b"])
    assert found.silhouette == pytest.approx(1)  # nothing within a class, 2 to the next
    assert found.gap == 0


def test_a_silhouette_by_hand():
    # Images of a lie east and north, their texts too; b lies west. Cosine distances: 0 to one's double, 1 and 1 to the
    # two others of the class, so 2 / 3 on average; from east 2 to b, from north 1. From b: 0 to its double, 1.5 to a.
    images = np.array([EAST, NORTH, WEST])
    found = separation(images, images, ["a", "a", "b"])
    expected = (2 * (1 - (2 / 3) / 2) + 2 * (1 - 2 / 3) + 2 * 1) / 6
    assert found.silhouette == pytest.approx(expected)


def test_the_gap_is_between_the_means():
    found = separation(np.array([EAST, EAST]), np.array([NORTH, WEST]), ["a", "b"])
    # Means (1, 0) and (-1/2, 1/2).
    assert found.gap == pytest.approx(np.hypot(1.5, 0.5))


def test_items_without_a_class_do_not_count():
    images = np.array([EAST, EAST, WEST, NORTH])
    assert separation(images, images, ["a", "a", "b", ""]).silhouette == pytest.approx(1)
    assert separation(images, images, ["", "", "", ""]).silhouette is None
    assert separation(images, images, ["a"] * 4).silhouette is None
