"""A text encoder that does not learn says what the one that could learn says, and leaves nothing in a checkpoint."""

from __future__ import annotations

import pytest
import torch

from rsitr.nn.text import FrozenTransformer, TransformerEncoder

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
    assert frozen.pool(torch.arange(12.0).reshape(2, 3, 2), torch.ones(2, 3)).tolist() == [[0.0, 1.0], [6.0, 7.0]]
