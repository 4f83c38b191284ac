"""Masked language modelling: which tokens are hidden, and the loss by hand."""

from __future__ import annotations

import math

import pytest
import torch

from rsitr.nn.bert_halves import RandomTransformer
from rsitr.nn.fusion_tasks import WordHead, mask_words
from rsitr.nn.seeds import seeded

OPTIONS = {"hidden_size": 4, "num_hidden_layers": 2, "num_attention_heads": 1, "intermediate_size": 4}
WORDS = "one two three four five six seven eight nine ten"


@pytest.fixture(scope="module")
def encoder():
    return RandomTransformer(OPTIONS, [WORDS], 1, 60)


def test_how_many_are_chosen(encoder) -> None:
    # 15 % of 20, 10, 7 and 1 words: 3, 1.5 (to the even 2), 1.05, and at least one; none of unknown words.
    texts = [f"{WORDS} {WORDS}", WORDS, "one two three four five six seven", "one", "thousand million"]
    tokens = encoder.tokenize(texts)
    with seeded(0):
        masked = mask_words(tokens, encoder.tokenizer)
    assert masked.chosen.sum(1).tolist() == [3, 2, 1, 1, 0]
    assert not masked.chosen[tokens < 5].any()
    assert masked.tokens[~masked.chosen].equal(tokens[~masked.chosen])


def test_what_becomes_of_them(encoder) -> None:
    tokens = encoder.tokenize([WORDS]).expand(3000, -1)
    with seeded(0):
        masked = mask_words(tokens, encoder.tokenizer)
    assert (masked.tokens[masked.chosen] == 4).all()
    places = masked.chosen.float().mean(0)[1:-1]
    torch.testing.assert_close(places, torch.full((10,), 0.2), atol=0.03, rtol=0)


def test_loss_by_hand(encoder) -> None:
    head = WordHead(encoder.model.config)
    head.transform = torch.nn.Identity()
    vectors = torch.zeros(15, 4)
    vectors[3, 0] = 1.0
    head.bias.data[5] = math.log(2)
    # Weights of the 15 words: e, 2 and thirteen times 1.
    fused = torch.tensor([[1.0, 0.0, 0.0, 0.0]] * 2)
    total = math.log(math.e + 2 + 13)
    expected = ((total - 1) + (total - math.log(2))) / 2
    assert math.isclose(head.loss(fused, torch.tensor([3, 5]), vectors).item(), expected, rel_tol=1e-6)
    assert head.loss(fused[:0], torch.tensor([], dtype=torch.long), vectors).item() == 0
