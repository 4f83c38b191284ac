"""Scoring: what is encoded once, how fragments are filled up, and blocks against the whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from rsitr.datasets.splits import SplitData
from rsitr.methods.base import Method, TrainingConfig
from rsitr.retrieval.ranks import rank_scores
from rsitr.retrieval.recall import duplicates_of
from rsitr.retrieval.rerank import rerank
from rsitr.stages import encode as scoring
from rsitr.stages.encode import Encoded, Scores, encode, encode_captions, ranks_to_choose_by, score_all, slices, trimmed
from rsitr.stages.setup import build_method, load_data
from tests.helpers.ranked import assert_same


def test_slices():
    assert [part.tolist() for part in slices(5, 2)] == [[0, 1], [2, 3], [4]]
    assert list(slices(0, 2)) == []


class ByPlace:
    """Embeds a caption by its place in its batch, which is what rounding does in the small."""

    def __init__(self):
        self.batches = []

    def eval(self):
        return self

    def tokenize(self, captions):
        return torch.tensor([[1000 - sum(map(ord, caption)), len(caption)] for caption in captions])  # longest first

    def encode_texts(self, tokens):
        self.batches.append(tokens[:, 1].tolist())
        return tokens.float() + torch.arange(len(tokens))[:, None] * 1e-3


def test_identical_captions_have_identical_embeddings_and_each_stays_in_its_place(monkeypatch):
    monkeypatch.setattr(scoring, "TEXT_BATCH", 2)
    method = ByPlace()
    captions = ["ccc", "a", "bb", "a", "dddd", "ccc"]
    distinct, place = encode_captions(method, captions, "cpu")
    texts = distinct[place]
    assert method.batches == [[1, 2], [3, 4]]  # each text once, the short ones first
    assert torch.equal(texts[1], texts[3])
    assert torch.equal(texts[0], texts[5])
    torch.testing.assert_close(texts, method.tokenize(captions).float(), atol=2e-3, rtol=0)


def test_captions_with_the_same_words_tie_exactly_in_a_real_encoder(project, make_spec):
    spec = make_spec()
    method = build_method(spec, load_data(spec))
    captions = ["a red dot on white ground", "a red dot", "A red dot.", "a blue bar"]
    texts, place = encode_captions(method, captions, "cpu")
    assert len(texts) == 3
    assert place[1] == place[2] != place[0]


class LastWords(Method):
    """Words [B, L, 3] with zeros after them; an image [N, 3] and a caption score by their best pair of fragments."""

    trainable = False

    @classmethod
    def build(cls, config, corpus):
        return cls()

    def encode_images(self, images):
        return images

    def tokenize(self, captions):
        rows = [torch.tensor([ord(letter) for letter in caption]) for caption in captions]
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)

    def encode_texts(self, tokens):
        return F.one_hot(tokens.clamp(min=96) - 96, 4)[..., 1:].float()

    def score(self, images, texts):
        pairs = torch.einsum("ind,cld->icnl", images, texts)
        return pairs.masked_fill(~texts.any(-1)[None, :, None], -torch.inf).amax((2, 3))


IMAGES = torch.rand(7, 2, 3, generator=torch.Generator().manual_seed(0))
CAPTIONS = ["a", "abc", "b", "a", "cc", "cb", "b", "ab", "bcba"]
IMAGE_OF = np.array([0, 1, 2, 3, 4, 5, 6, 0, 1])


def expected():
    """Of an image and a caption: the largest number at the letters of the caption."""
    letters = [[ord(letter) - ord("a") for letter in caption] for caption in CAPTIONS]
    return torch.tensor([[max(float(image[:, place].max()) for place in row) for row in letters] for image in IMAGES])


def test_texts_of_any_length_are_one_tensor(monkeypatch):
    monkeypatch.setattr(scoring, "TEXT_BATCH", 2)
    texts, place = encode_captions(LastWords(), CAPTIONS, "cpu")
    assert texts.shape == (7, 4, 3)
    assert [int(row.any(-1).sum()) for row in texts[place]] == [len(caption) for caption in CAPTIONS]
    assert place[0] == place[3]


@pytest.mark.parametrize("numbers", [1, 40, 200, 2**24])
def test_scores_do_not_depend_on_the_block(monkeypatch, numbers):
    monkeypatch.setattr(scoring, "PAIR_NUMBERS", numbers)
    method = LastWords()
    texts, place = encode_captions(method, CAPTIONS, "cpu")
    torch.testing.assert_close(score_all(method, IMAGES, texts, "cpu")[:, place], expected())
    scores = Scores(method, Encoded(IMAGES, texts, place), "cpu")
    torch.testing.assert_close(scores.of(slice(2, 5), slice(1, 9)), expected()[2:5, 1:9])


def test_a_block_holds_no_more_numbers_than_it_may(monkeypatch):
    monkeypatch.setattr(scoring, "PAIR_NUMBERS", 200)
    sizes = []

    class Watched(LastWords):
        def score(self, images, texts):
            (i, n, d), (c, length, _) = images.shape, texts.shape
            sizes.append(i * c * (n * length + (n + length) * d))
            return super().score(images, texts)

    texts, _ = encode_captions(Watched(), CAPTIONS, "cpu")
    score_all(Watched(), IMAGES, texts, "cpu")
    assert len(sizes) > 1
    assert max(sizes) <= 200


def test_a_method_states_what_a_pair_takes(monkeypatch):
    monkeypatch.setattr(scoring, "PAIR_NUMBERS", 200)
    sizes = []

    class Thrifty(LastWords):
        def pair_numbers(self, fragments, words, width):
            assert width == 3
            return fragments * words

        def score(self, images, texts):
            sizes.append(len(images) * len(texts) * images.shape[1] * texts.shape[1])
            return super().score(images, texts)

    texts, place = encode_captions(Thrifty(), CAPTIONS, "cpu")
    torch.testing.assert_close(score_all(Thrifty(), IMAGES, texts, "cpu")[:, place], expected())
    # 2 fragments and up to 4 words: 8 numbers a pair, 5 x 5 pairs a block instead of 2 x 2.
    assert 100 < max(sizes) <= 200


class Watching(LastWords):
    """Encodes an image by its place in its batch, too, which is what rounding does in the small."""

    def __init__(self):
        super().__init__()
        self.batches = []

    def encode_images(self, images):
        self.batches.append(images.tolist())
        places = torch.arange(len(images))
        return (images + 1e-3 * places)[:, None, None].expand(-1, 2, 3) + torch.tensor([[0, 0.1, 0.2], [0.3, 0.4, 0.5]])

    def score(self, images, texts):
        return super().score(images, texts) + 1e-4 * torch.arange(len(images))[:, None]


class Numbers:
    """Inputs whose images are their positions."""

    def batches(self, batches, epoch=0):
        yield from (torch.from_numpy(batch).float() for batch in batches)


def split_of(hashes):
    """A split of as many images, two of which have two captions."""
    names = [f"{place}.png" for place in range(len(hashes))]
    return SplitData(names, [Path(name) for name in names], hashes, CAPTIONS, IMAGE_OF, ("",) * len(hashes))


def test_identical_pictures_are_encoded_once_and_stay_tied(monkeypatch):
    monkeypatch.setattr(scoring, "IMAGE_BATCH", 2)
    method, split = Watching(), split_of(["x", "y", "x", "", "z", "", "y"])
    encoded = encode(method, split, Numbers(), "cpu")
    assert method.batches == [[0, 1], [3, 4], [5]]  # an image of which nothing is known is like no other
    assert torch.equal(encoded.images[2], encoded.images[0])
    assert torch.equal(encoded.images[6], encoded.images[1])
    torch.testing.assert_close(encoded.images[[0, 1, 3, 4, 5], 0, 0], torch.tensor([0, 1.001, 3, 4.001, 5]))
    scores = Scores(method, encoded, "cpu").of(slice(0, 7), slice(0, 9))  # by a scorer that rounds by place, too
    assert torch.equal(scores[[2, 6]], scores[[0, 1]])
    assert (scores[:6].diff(dim=0)[1:] != 0).all()


def test_ranks_of_a_method_that_interacts():
    method = LastWords()
    assert method.interacts
    encoded = Encoded(IMAGES, *encode_captions(method, CAPTIONS, "cpu"))
    scores = Scores(method, encoded, "cpu")
    ranks = scores.rank(IMAGE_OF)
    table = expected()
    for caption, image in enumerate(IMAGE_OF):
        own = table[image, caption]
        others = np.delete(table[:, caption].numpy(), image)
        assert ranks.t2i[caption] == 1 + (others >= float(own)).sum()
    again = rerank(lambda images, captions: table[images, captions], IMAGE_OF)
    assert scores.rerank(IMAGE_OF).t2i.tolist() == again.t2i.tolist()


def test_ranks_of_a_method_that_does_not(project, make_spec):
    spec = make_spec()
    method = build_method(spec, load_data(spec))
    assert not method.interacts
    images = F.normalize(torch.eye(2, 16), dim=1)
    encoded = Encoded(images, images, torch.tensor([1, 0, 0]))
    scores = Scores(method, encoded, "cpu")
    # Caption 0 is image 1's text, captions 1 and 2 are image 0's.
    assert scores.rank(np.array([0, 1, 0])).t2i.tolist() == [2, 2, 1]
    assert scores.rerank(np.array([0, 1, 0])).t2i.tolist() == [2, 2, 1]


def test_trimmed():
    texts = torch.zeros(2, 4, 3)
    texts[1, 1] = 1
    assert trimmed(texts).shape == (2, 2, 3)
    assert trimmed(torch.zeros(2, 4, 3)).shape == (2, 1, 3)
    assert trimmed(torch.zeros(2, 3)).shape == (2, 3)


class OwnFilter(LastWords):
    """Whose cheap score knows the first letter of a caption, and the first fragment of an image, alone."""

    def __init__(self, choose):
        super().__init__()
        self.config = TrainingConfig(choose=choose)

    def filter_images(self, images):
        return images[:, 0]

    def filter_texts(self, texts):
        return texts[:, 0]


def test_an_epoch_may_be_chosen_by_shortlists(monkeypatch):
    """One item cannot be sorted, all can; in between some pairs are scored and no others."""
    encoded = Encoded(IMAGES, *encode_captions(LastWords(), CAPTIONS, "cpu"))
    same = duplicates_of(CAPTIONS, [*"abcde", "f", "a"])
    whole = ranks_to_choose_by(OwnFilter("best"), encoded, IMAGE_OF, same, "cpu")
    first = torch.tensor([[float(image[0, ord(caption[0]) - ord("a")]) for caption in CAPTIONS] for image in IMAGES])
    cheap = rank_scores(lambda images, texts: first[images, texts], IMAGE_OF, duplicates=same)
    found, scored = {}, []
    real = OwnFilter.score
    monkeypatch.setattr(OwnFilter, "score", lambda self, i, t: scored.append(len(i) * len(t)) or real(self, i, t))
    for length in (1, 3, 99):
        monkeypatch.setattr(scoring, "SHORTLIST", length)
        scored.clear()
        found[length] = ranks_to_choose_by(OwnFilter("shortlists"), encoded, IMAGE_OF, same, "cpu"), sum(scored)
    for ranks, expected_ranks in ((found[99][0], whole), (found[1][0], cheap)):
        for side, expected_side in zip(ranks, expected_ranks, strict=True):
            assert_same(side, expected_side)
    assert whole.plain.t2i.tolist() != cheap.plain.t2i.tolist()
    assert whole.plain.t2i.tolist() != whole.duplicate_aware.t2i.tolist()
    assert 0 < found[1][1] < found[3][1] < found[99][1] == 7 * 7
