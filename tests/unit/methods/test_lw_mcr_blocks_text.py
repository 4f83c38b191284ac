"""TextCNN: responses by hand, and that neither padding nor company changes a caption's."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from rsitr.captions.words import PAD, Vocabulary
from rsitr.methods.lw_mcr_blocks import TextCNN

CAPTIONS = ["a red dot on white ground", "a dot", "red"]


def text_cnn(kernels=(2, 3), channels=4, dropout=0.0, max_words=64):
    torch.manual_seed(0)
    return TextCNN(
        Vocabulary.of(CAPTIONS),
        word_size=5,
        kernels=kernels,
        channels=channels,
        max_words=max_words,
        dropout=dropout,
    )


def test_responses_by_hand():
    """One channel of two words that adds up the first number of both word vectors."""
    encoder = text_cnn(kernels=(2,), channels=1)
    with torch.no_grad():
        encoder.convolutions[0].weight.zero_()
        encoder.convolutions[0].weight[0, 0] = 1
        encoder.convolutions[0].bias.fill_(0.5)
        encoder.embed.weight[:, 0] = torch.tensor([0.0, 0, 1, 2, -9, 4, 5, 6])
    # a 2, dot 3, red 4 (twice each), ground 5, on 6, white 7: first numbers 1, 2, -9, 4, 5, 6.
    tokens = encoder.tokenize(CAPTIONS)
    states = encoder(tokens)[..., 0]
    # a+red and red+dot are negative, dot+on 7.5, on+white 11.5, white+ground 10.5; nothing begins at the last word.
    # "a dot" is one place; "red" alone is filled up: -9 + 0 + .5.
    expected = [[0, 0, 7.5, 11.5, 10.5, 0], [3.5, 0, 0, 0, 0, 0], [0] * 6]
    torch.testing.assert_close(states, torch.tensor(expected))
    torch.testing.assert_close(encoder.pool(states[..., None], tokens), torch.tensor([[11.5], [3.5], [0.0]]))


@pytest.mark.parametrize("place", range(3))
def test_a_caption_pools_alike_alone_and_in_company(place):
    encoder = text_cnn(kernels=(2, 3, 9))
    together = encoder.tokenize(CAPTIONS)
    pooled = encoder.pool(encoder(together), together)
    alone = encoder.tokenize([CAPTIONS[place]])
    torch.testing.assert_close(encoder.pool(encoder(alone), alone), pooled[place : place + 1])
    padded = F.pad(alone, (0, 7), value=PAD)
    torch.testing.assert_close(encoder.pool(encoder(padded), padded), pooled[place : place + 1])


def test_a_place_that_a_longer_caption_has_counts():
    encoder = text_cnn(kernels=(3,))
    tokens = encoder.tokenize(["a red dot", "a red dot on"])
    states = encoder(tokens)
    assert states.shape == (2, 4, 4)
    torch.testing.assert_close(states[0, 0], states[1, 0])
    assert not states[0, 1:].any()
    assert not states[1, 2:].any()
    assert states[1, :2].any()


def test_the_vector_of_padding_learns_nothing():
    encoder = text_cnn()
    tokens = encoder.tokenize(CAPTIONS)
    encoder.pool(encoder(tokens), tokens).sum().backward()
    gradient = encoder.embed.weight.grad
    assert not gradient[PAD].any()
    assert gradient[2].any()


def test_width_words_and_dropout():
    encoder = text_cnn(dropout=0.5, max_words=2)
    assert encoder.width == 8
    tokens = encoder.tokenize(CAPTIONS)
    assert tokens.tolist() == [[2, 4], [2, 3], [4, PAD]]
    states = encoder(tokens)
    responses = states.amax(1)
    dropped = encoder.pool(states, tokens)
    assert ((dropped == 0) | torch.isclose(dropped, 2 * responses)).all()
    assert not torch.equal(dropped, responses)
    torch.testing.assert_close(encoder.eval().pool(states, tokens), responses)
