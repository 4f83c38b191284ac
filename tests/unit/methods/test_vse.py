"""VSE with Transformer encoder layers: which token stands for the whole, padding, and the rows of PIR's Table I."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from rsitr.errors import ParamsError
from rsitr.methods.base import Corpus
from rsitr.methods.configure import configure
from rsitr.methods.vse import VSE
from rsitr.nn.seeds import seeded
from rsitr.nn.text import GRUEncoder
from rsitr.nn.token_sequence import TransformerLayers, image_sequence, text_sequence
from rsitr.tables.published import load, lookup

CAPTIONS = ["a red dot", "a green bar on ground", "a dot"]
SMALL = {"image_backbone": "test_resnet", "image_weights": "none", "image_size": 64, "width": 16, "heads": 2}


@pytest.fixture
def build(tiny_bert):
    def built(**settings: Any) -> VSE:
        small = SMALL | {"text_weights": str(tiny_bert), "tel_layers": 2, "text_width": 16, "word_size": 8}
        with seeded(0):
            return VSE.build(configure(VSE, "tel", small | settings), Corpus(CAPTIONS, np.arange(3))).eval()

    return built


def test_the_whole_comes_first() -> None:
    tokens = torch.arange(12.0).reshape(1, 3, 4)
    assert image_sequence(tokens, "first", nn.Identity()).equal(tokens)
    found = image_sequence(tokens, "mean", nn.Identity())
    assert found.tolist() == [[[4.0, 5.0, 6.0, 7.0], *tokens[0].tolist()]]
    dropped = image_sequence(tokens, "mean", nn.Threshold(1e6, 0.0))
    assert dropped.tolist() == [[[0.0] * 4, *tokens[0].tolist()]]


@torch.no_grad()
def test_a_gru_has_its_pooled_state_first(build) -> None:
    encoder = build(text_encoder="bigru").text
    assert isinstance(encoder, GRUEncoder)
    tokens = encoder.tokenize(CAPTIONS)
    states, padding = text_sequence(encoder, tokens)
    assert states[:, 0].equal(encoder.pool(encoder(tokens), tokens))
    assert states[:, 1:].equal(encoder(tokens))
    assert padding.sum(1).tolist() == [2, 0, 3]
    assert not padding[:, 0].any()


@torch.no_grad()
def test_the_first_token_after_the_layers_is_the_embedding(build) -> None:
    method = build()
    pixels = torch.rand(2, 3, 64, 64)
    tokens = method.backbone(pixels)
    assert tokens.shape == (2, 4, 96)
    states = method.image_head(torch.cat([tokens.mean(1, keepdim=True), tokens], 1))
    for layer in method.image_layers.layers:
        states = layer(states)
    torch.testing.assert_close(method.encode_images(pixels), F.normalize(states[:, 0], dim=1))


@pytest.mark.parametrize("text_encoder", ["transformer", "bigru"])
@torch.no_grad()
def test_a_text_does_not_depend_on_the_padding_of_its_batch(build, text_encoder: str) -> None:
    method = build(text_encoder=text_encoder)
    together = method.encode_texts(method.tokenize(CAPTIONS))
    alone = torch.cat([method.encode_texts(method.tokenize([caption])) for caption in CAPTIONS])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


def test_no_two_layers_begin_alike() -> None:
    first, second = TransformerLayers(8, 2, 2, 0.0).layers
    assert not torch.equal(first.linear1.weight, second.linear1.weight)
    with pytest.raises(ParamsError, match="a width of 8 cannot be split among 3 heads"):
        TransformerLayers(8, 1, 3, 0.0)


def test_every_row_of_table_i_has_a_variant() -> None:
    rows = load().query("paper == 'pir2024' and table == 'table1' and method == 'vse'")
    assert set(zip(rows["variant"], rows["backbone"], strict=True)) == {
        (row.variant, row.backbone) for row in VSE.published.values()
    }
    assert lookup(VSE.published["tel"], "rsicd")["mr"] == 23.53
