"""The text tower of the page: what it computes, what it passes over, and that its files give it back."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rsitr.captions.words import Vocabulary
from rsitr.records.bundle import CARD
from rsitr.search.tower import FOLDER, HIDDEN, SIZE, WEIGHTS, WORDS, PageTower, load_tower, write_tower


@pytest.fixture
def tower() -> PageTower:
    """Two words of two numbers, two hidden units, two dimensions."""
    made = PageTower(Vocabulary(["red", "roof"]), 2, 2, 2).eval()
    weights = {
        "words.weight": [[0, 0], [0, 0], [1, 2], [3, -4]],
        "hidden.weight": [[1, 0], [0, 1]],
        "hidden.bias": [0, 0.5],
        "out.weight": [[3, 0], [0, 1]],
        "out.bias": [0, 4],
    }
    made.load_state_dict({name: torch.tensor(value, dtype=torch.float32) for name, value in weights.items()})
    return made


def test_an_embedding_is_worked_out_by_hand(tower: PageTower) -> None:
    # Mean of both words: 2, -1. Hidden: 2, max(0, -0.5). Out: 6, 4.
    both = torch.tensor([6.0, 4.0]) / 52**0.5
    torch.testing.assert_close(tower.encode_texts(["A RED roof!", "roof, red", "red"])[:2], torch.stack([both, both]))
    # 1, 2 -> 1, 2.5 -> 3, 6.5
    torch.testing.assert_close(tower.encode_texts(["red"])[0], torch.tensor([3.0, 6.5]) / (9 + 6.5**2) ** 0.5)


def test_unknown_words_are_passed_over(tower: PageTower) -> None:
    assert tower.tokenize(["a red barn", "barn", ""]).tolist() == [[2], [1], [1]]
    known, longer = tower.encode_texts(["red", "one red barn"])
    assert torch.equal(known, longer)


def test_its_files_give_it_back_in_low_precision(tower: PageTower, tmp_path: Path) -> None:
    write_tower(tower, tmp_path)
    again = load_tower(tmp_path)
    assert again.vocabulary.index == tower.vocabulary.index
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in tower.state_dict().items())
    tower.words.weight.data[2, 0] = 1.06  # eight bits have four digits of two: 1, 1.125 ...
    write_tower(tower, tmp_path)
    assert load_tower(tmp_path).words.weight[2].tolist() == [1.0, 2.0]


def test_the_shipped_one_is_small_and_has_a_card() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {CARD, WEIGHTS, WORDS}
    assert (FOLDER / WEIGHTS).stat().st_size < 2 * 2**20
    tower = load_tower()
    assert (tower.words.embedding_dim, tower.hidden.out_features, tower.out.out_features) == (SIZE, HIDDEN, 512)
    found = tower.encode_texts(["many planes at an airport", "an airport with planes", "a dense forest"])
    assert found[0] @ found[1] > 0.9 > 0.5 > found[0] @ found[2]
