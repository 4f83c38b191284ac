"""What a picture says of a query: the best images, which of them share its text, and where the ground truth is."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch

from rsitr.examples import panels

IDS = ["a", "b", "c", "d", "e", "f", "g"]
CAPTIONS = ["a port", "a farm", "a port", "a road", "a lake", "a hill", "a park"]


def test_the_rank_of_the_truth_and_the_images_that_share_the_query(monkeypatch):
    split = SimpleNamespace(image_ids=IDS, captions=CAPTIONS, image_of=np.arange(7), classes=IDS)
    model = SimpleNamespace(data=SimpleNamespace(splits={"test": split}), method=None, device="cpu")
    encoded = SimpleNamespace(images=None, texts=torch.zeros(7, 1), place=torch.arange(7))
    monkeypatch.setattr(panels, "pixels_of", lambda _, place: np.full((2, 2, 3), place, np.uint8))
    scores = torch.tensor([1.0, 2.0, 9.0, 8.0, 7.0, 6.0, 5.0])[:, None]
    monkeypatch.setattr(panels, "score_all", lambda *_: scores)
    (found,) = panels.found_images("sentence", model, encoded, ["a", "elsewhere"])
    assert (found.sentence, found.keywords, found.rank) == ("a port", (), 7)
    assert [hit.class_name for hit in found.hits] == ["c", "d", "e", "f", "g"]
    assert [int(hit.image[0, 0, 0]) for hit in found.hits] == [2, 3, 4, 5, 6]
    assert [(hit.matches, hit.shares) for hit in found.hits] == [(False, True), *[(False, False)] * 4]


def test_captions_of_the_image_and_captions_that_say_the_same(monkeypatch):
    captions = ["A port.", "a farm", "a port", "a road", "a lake", "a hill", "a park"]
    split = SimpleNamespace(captions=captions, image_of=np.arange(7), classes=IDS)
    model = SimpleNamespace(data=SimpleNamespace(splits={"test": split}), method=None, device="cpu")
    encoded = SimpleNamespace(images=torch.zeros(7, 1), texts=torch.zeros(7, 1), place=torch.arange(7))
    monkeypatch.setattr(panels, "pixels_of", lambda _, place: np.full((2, 2, 3), place, np.uint8))
    scores = torch.tensor([[8.0, 2.0, 9.0, 7.0, 6.0, 5.0, 4.0]])
    monkeypatch.setattr(panels, "score_all", lambda *_: scores)
    (found,) = panels.found_captions(model, encoded, [0])
    assert [(hit.caption, hit.matches, hit.shares) for hit in found.hits] == [
        ("a port", False, True),
        ("A port.", True, True),
        ("a road", False, False),
        ("a lake", False, False),
        ("a hill", False, False),
    ]
