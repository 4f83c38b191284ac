"""A BERT in two halves: together they are the whole one; random ones know the words of the training captions."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from rsitr.errors import ParamsError, WeightsMismatch
from rsitr.nn.bert_halves import RandomTransformer, halves
from rsitr.nn.text import FrozenText, TransformerEncoder

CAPTIONS = ["A red dot on ground.", "a dot, a bar", "a dot"]
OPTIONS = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 12}


@pytest.fixture
def encoder(tiny_bert):
    return TransformerEncoder(str(tiny_bert), 30).eval()


@torch.no_grad()
def test_both_halves_are_the_whole(encoder, tiny_bert) -> None:
    whole = TransformerEncoder(str(tiny_bert), 30).eval()
    split = halves(encoder, None)
    tokens = whole.tokenize(["a red dot on ground", "a green bar on white ground"])
    states = split.text(tokens)
    hidden = whole.model(input_ids=tokens, attention_mask=(tokens != 0).long(), output_hidden_states=True)
    torch.testing.assert_close(states, hidden.hidden_states[1])
    assert len(split.upper) == 1
    # The first of these captions is one token shorter.
    for row, length in enumerate((tokens != 0).sum(1).tolist()):
        above = split.upper[0](states[row : row + 1, :length])
        torch.testing.assert_close(above[0], hidden.last_hidden_state[row, :length], atol=1e-6, rtol=1e-5)


def test_each_half_gets_a_layer(encoder) -> None:
    with pytest.raises(ParamsError, match="text_layers 2 of 2 leaves a half empty: set it to 1"):
        halves(encoder, 2)


def test_only_a_bert_can_be_split(tmp_path, tiny_bert) -> None:
    from transformers import AutoTokenizer, DistilBertConfig, DistilBertModel

    shape = DistilBertConfig(vocab_size=20, dim=8, n_layers=2, n_heads=2, hidden_dim=8)
    DistilBertModel(shape).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(tiny_bert).save_pretrained(tmp_path)
    encoder = TransformerEncoder.__new__(TransformerEncoder)
    nn.Module.__init__(encoder)
    encoder.model = DistilBertModel.from_pretrained(tmp_path)
    with pytest.raises(WeightsMismatch, match="a distilbert, only a BERT"):
        halves(encoder, None)


class TestRandomTransformer:
    def test_words_of_the_captions_and_nothing_else(self) -> None:
        encoder = RandomTransformer(OPTIONS, CAPTIONS, 2, 30)
        pad, unknown, start, end, mask = 0, 1, 2, 3, 4
        # 'a' four times, 'dot' three times; everything else once.
        assert encoder.tokenizer.mask_token_id == mask
        assert encoder.tokenize(["A dot", "red dot a a"]).tolist() == [
            [start, 5, 6, end, pad, pad],
            [start, unknown, 6, 5, 5, end],
        ]
        assert encoder.model.config.vocab_size == 7

    def test_a_caption_ends_where_the_positions_do(self) -> None:
        encoder = RandomTransformer(OPTIONS | {"max_position_embeddings": 6}, CAPTIONS, 1, 30)
        tokens = encoder.tokenize(["a " * 40, "a " * 4])
        assert tokens.shape == (2, 6)
        assert tokens[0].equal(tokens[1])
        assert tokens[0, -1] == 3
        assert encoder(tokens).shape == (2, 6, 8)

    def test_options_must_make_a_bert(self) -> None:
        with pytest.raises(ParamsError, match="text_options make no BERT"):
            RandomTransformer(OPTIONS | {"num_attention_heads": 3}, CAPTIONS, 1, 30)


def test_frozen_text_is_nobodys_parameter_and_drops_nothing(encoder) -> None:
    frozen = FrozenText(encoder)
    frozen.train()
    assert not list(frozen.parameters())
    assert not frozen.state_dict()
    tokens = encoder.tokenize(CAPTIONS)
    states = frozen(tokens)
    assert states.equal(frozen(tokens))
    assert not states.requires_grad
