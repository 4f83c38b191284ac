"""How the text tower of the page is made: what it learns from, that it learns, and how it is measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from rsitr.captions.words import Vocabulary
from rsitr.datasets.splits import SplitData
from rsitr.search import page_model
from rsitr.search.page_model import CARD, FOLDER, encodings, learn, lessons, recalls
from rsitr.search.tower import PageTower
from rsitr.stages.encode import Encoded

CAPTIONS = {"a red roof next to a green field", "two boats", "beach"}


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_model, "SPANS", 50)


def test_lessons_are_captions_pieces_words_and_swapped_words() -> None:
    found = lessons(CAPTIONS, ["harbour", "runway"])
    assert {*CAPTIONS, "boats", "roof", "harbour", "runway"} <= {*found}
    assert len({*found}) == len(found)
    assert all(len(text.split()) <= page_model.LONGEST for text in {*found} - CAPTIONS)
    swapped = [text for text in found if " " in text and {"harbour", "runway"} & {*text.split()}]
    assert 0 < len(swapped) <= 2 * page_model.SWAPS
    rest = {*found} - CAPTIONS - {*swapped} - {"harbour", "runway"}
    assert all(any(f" {text} " in f" {caption} " for caption in CAPTIONS) for text in rest)
    assert found == lessons(CAPTIONS, ["harbour", "runway"])
    assert found != lessons(CAPTIONS, ["harbour", "runway"], seed=1)


def test_it_learns_what_it_is_taught() -> None:
    texts = ["red", "roof", "red roof", "green field", "field"]
    torch.manual_seed(0)
    targets = F.normalize(torch.randn(len(texts), 8), dim=1)
    tower = PageTower(Vocabulary(["red", "roof", "green", "field"]), 8, 16, 32)
    learn(tower, texts, targets, torch.tensor([3, 1, 1, 1, 1]))
    before = PageTower(tower.vocabulary, 8, 16, 32).encode_texts(texts)
    assert (tower.encode_texts(texts) * targets).sum(1).mean() > 0.5 + (before * targets).sum(1).mean()


def test_recalls_are_of_a_tower_over_given_images() -> None:
    captions = ["a", "b", "c", "a"]
    split = SplitData(
        ["0", "1"], [Path("0"), Path("1")], ["x", "y"], captions, torch.tensor([0, 0, 1, 1]).numpy(), ("", "")
    )
    vectors = {"a": [1.0, 0.0], "b": [0.8, 0.6], "c": [0.0, 1.0]}
    place = torch.tensor([[*vectors].index(caption) for caption in captions])
    plain, counted = recalls(Encoded(torch.eye(2), torch.tensor([*vectors.values()]), place), split)
    # Of the captions, the last alone is nearer to the image of another: identical to the first, which is that one's.
    assert (plain["t2i_r1"], counted["t2i_r1"]) == (75.0, 100.0)
    assert plain["i2t_r1"] == 50.0


def test_identical_captions_have_one_embedding() -> None:
    captions = ["two boats", "a red roof", "two boats"]
    split = SplitData(["0"], [Path("0")], ["x"], captions, np.zeros(3, dtype=np.int64), ("",))
    tower = PageTower(Vocabulary(["red", "roof", "boats"]), 8, 4, 4).eval()
    found = encodings(tower, split, torch.eye(8)[:1])
    torch.testing.assert_close(found.texts[found.place], tower.encode_texts(captions))
    assert (len(found.texts), found.place.tolist()) == (2, [1, 0, 1])


def test_the_card_compares_it_with_the_shipped_tower() -> None:
    from rsitr.search.shipped import MODEL

    card, shipped = ((folder / CARD).read_text(encoding="utf-8") for folder in (FOLDER, MODEL))
    for metric in ("t2i_r1", "t2i_r5", "t2i_r10", "mr"):
        line = next(line for line in shipped.splitlines() if line.startswith(f"| {metric} |"))
        plain, counted = line.split("|")[2:4]
        ours = next(line for line in card.splitlines() if line.startswith(f"| {metric} |"))
        assert ours.split("|")[3] == f" {plain.strip()} ({counted.strip()}) "
