"""CAMP's message passing against loops over pairs and fragments in float64, and against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from rsitr.methods.camp_message_passing import MessagePassing, ReleasedMessagePassing, score_in_blocks

FORMS = {"paper": MessagePassing, "released": ReleasedMessagePassing}
WIDTH = 6


def passing(form: str, width: int = WIDTH) -> MessagePassing:
    """One with random weights, biases and all, in float64."""
    torch.manual_seed(1)
    model = FORMS[form](width).double()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.6)
    return model


def pairs(images: int = 3, regions: int = 4, lengths: tuple[int, ...] = (1, 5, 3)) -> tuple[torch.Tensor, torch.Tensor]:
    """Regions [I, N, D] and words [C, L, D], those after the end of a text zero."""
    torch.manual_seed(2)
    texts = torch.randn(len(lengths), max(lengths), WIDTH, dtype=torch.float64)
    for text, length in zip(texts, lengths, strict=True):
        text[length:] = 0
    return torch.randn(images, regions, WIDTH, dtype=torch.float64), texts


def softmax(values: list[torch.Tensor]) -> list[torch.Tensor]:
    total = sum(math.exp(value) for value in values)
    return [math.exp(value) / total for value in values]


def mean(weights, vectors):
    return sum(weight * vector for weight, vector in zip(weights, vectors, strict=True))


def attend(query, keys, values):
    """Scaled dot-product attention of one query."""
    return mean(softmax([query @ key / math.sqrt(len(key)) for key in keys]), values)


class Paper:
    """Sections 3.1 to 3.4 for one image and one text, message by message."""

    def __init__(self, model: MessagePassing):
        self.model = model

    def messages(self, regions, words):
        """What each region hears and what each word hears."""
        own, other = self.model.attention.image.weight, self.model.attention.text.weight
        seen, read = [own @ region for region in regions], [other @ word for word in words]
        return [attend(one, read, words) for one in seen], [attend(one, seen, regions) for one in read]

    def summary(self, module, vectors):
        scores = [module.project.weight[0] @ vector / math.sqrt(len(vector)) for vector in vectors]
        return mean(softmax(scores), vectors)

    def fuse(self, module, own, messages):
        fused = []
        for vector, message in zip(own, messages, strict=True):
            gate = torch.sigmoid(vector * message)
            hidden = module.transform.weight @ (gate * (vector + message)) + module.transform.bias
            fused.append(vector + hidden.clamp(min=0))
        return self.summary(module.summary, fused)

    def join(self, regions, words):
        return regions + words

    def __call__(self, regions, words, fuse):
        to_regions, to_words = self.messages(regions, words)
        if not fuse:
            cosine = self.model.cosine
            heard = self.summary(cosine.regions, to_regions), self.summary(cosine.words, to_words)
            return heard[0] @ heard[1] / heard[0].norm() / heard[1].norm()
        both = self.model.fusion
        joined = self.join(self.fuse(both.regions, regions, to_regions), self.fuse(both.words, words, to_words))
        first, _, last = both.perceptron
        return (last.weight @ (first.weight @ joined + first.bias).clamp(min=0) + last.bias)[0]


class Released(Paper):
    """The same with the departures of the released code, every message kept as a vector."""

    def messages(self, regions, words):
        a = self.model.attention
        keys = [a.image_key.weight @ region for region in regions], [a.text_key.weight @ word for word in words]
        to_regions = [attend(a.image_query.weight @ region, keys[1], words) for region in regions]
        to_words = [attend(a.text_query.weight @ word, keys[0], regions) for word in words]
        return self.among(a.among_regions, to_regions), self.among(a.among_words, to_words)

    def among(self, module, messages):
        keys = [module.key.weight @ message for message in messages]
        return [attend(module.query.weight @ message, keys, messages) for message in messages]

    def summary(self, module, vectors):
        hidden = [(module.project.weight @ vector + module.project.bias).clamp(min=0) for vector in vectors]
        scores = [module.heads.weight @ one + module.heads.bias for one in hidden]
        assert len(scores[0]) == 4
        return sum(mean(softmax([score[head] for score in scores]), vectors) for head in range(4)) / 4

    def fuse(self, module, own, messages):
        matrix = torch.cat([module.own.weight, module.message.weight], dim=1)
        fused = []
        for vector, message in zip(own, messages, strict=True):
            unit = message / message.norm()
            gate = torch.sigmoid(vector @ unit)
            fused.append(vector + (matrix @ (torch.cat([vector, unit]) * gate)).clamp(min=0))
        pooled = self.summary(module.summary, fused)
        return pooled / pooled.norm()

    def join(self, regions, words):
        return torch.cat([regions, words])


REFERENCE = {"paper": Paper, "released": Released}


@pytest.mark.parametrize("fuse", [False, True])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("regions", "lengths"),
    [(4, (1, 5, 3)), (1, (2, 4)), (3, (1, 1)), (1, (1,))],
    ids=["many", "region", "word", "both"],
)
def test_scores_are_those_of_loops_over_pairs_and_fragments(form, fuse, regions, lengths):
    model = passing(form)
    images, texts = pairs(3, regions, lengths)
    with torch.no_grad():
        scores = model(images, texts, fuse=fuse)
        reference = REFERENCE[form](model)
        expected = [
            [reference(list(image), list(text[:length]), fuse) for text, length in zip(texts, lengths, strict=True)]
            for image in images
        ]
    assert scores.std() > 0.05 or not fuse  # a test that any constant passes would be none
    torch.testing.assert_close(scores, torch.tensor(expected).double().to(scores.dtype), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("fuse", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_padding_changes_nothing(form, fuse):
    model = passing(form)
    images, texts = pairs()
    more = F.pad(images, (0, 0, 0, 2)), F.pad(texts, (0, 0, 0, 3))
    torch.testing.assert_close(model(*more, fuse=fuse), model(images, texts, fuse=fuse))


@pytest.mark.parametrize("fuse", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_blocks_give_the_scores_and_gradients_of_the_whole(form, fuse):
    """Blocks of 2 x 2 of 3 images and 5 texts, so that the last ones are smaller."""
    model = passing(form)
    results = []
    # A pair of 4 regions and 5 words takes 4 x 5 + 9 x 6 = 74 numbers; four of them, 296.
    for numbers in (10**9, 296):
        images, texts = (side.requires_grad_() for side in pairs(3, 4, (1, 5, 3, 2, 5)))
        seen = []

        def score(some, others, seen=seen):
            seen.append((len(some), len(others)))
            return model(some, others, fuse=fuse)

        model.zero_grad()
        scores = score_in_blocks(score, images, texts, numbers)
        blocks = list(seen)
        (scores * torch.arange(15.0).view(3, 5)).sum().backward()
        gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
        results.append((scores, images.grad, texts.grad, gradients, blocks))
    whole, divided = results
    assert whole[-1] == [(3, 5)]
    assert divided[-1] == [(2, 2), (2, 2), (2, 1), (1, 2), (1, 2), (1, 1)]
    torch.testing.assert_close(divided[:-1], whole[:-1])


def test_one_region_and_one_word_by_hand():
    """Each hears the other and nothing else, whatever the attention; D = 1, and every weight is written out."""
    model = passing("paper", width=1)
    v, t = 2.0, -0.5
    with torch.no_grad():
        for module, (weight, bias) in (
            (model.fusion.regions.transform, (3.0, 0.25)),
            (model.fusion.words.transform, (-2.0, 0.5)),
            (model.fusion.perceptron[0], (0.5, 0.1)),
            (model.fusion.perceptron[2], (1.5, -1.0)),
        ):
            module.weight.fill_(weight)
            module.bias.fill_(bias)
        score = model(torch.tensor([[[v]]]).double(), torch.tensor([[[t]]]).double(), fuse=True)
    gate = 1 / (1 + math.exp(1))  # of the product -1; the sum is 1.5
    region = v + (3 * gate * 1.5 + 0.25)
    word = t + max(0, -2 * gate * 1.5 + 0.5)
    assert score.item() == pytest.approx(1.5 * (0.5 * (region + word) + 0.1) - 1.0)


def test_one_region_and_one_word_in_the_released_form_by_hand():
    """Messages of unit length: (0, 1) of the word and (.6, .8) of the region."""
    model = passing("released", width=2)
    region, word = torch.tensor([3.0, 4.0]).double(), torch.tensor([0.0, 2.0]).double()
    fusion = model.fusion
    with torch.no_grad():
        fusion.regions.own.weight.copy_(torch.diag(torch.tensor([1.0, 2.0])))
        fusion.regions.message.weight.copy_(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
        fusion.words.own.weight.copy_(-torch.eye(2))
        fusion.words.message.weight.copy_(torch.eye(2))
        fusion.perceptron[0].weight.copy_(torch.tensor([[1.0, 2.0, 3.0, 4.0], [-9.0, -9.0, -9.0, -9.0]]))
        fusion.perceptron[0].bias.zero_()
        fusion.perceptron[2].weight.copy_(torch.tensor([[2.0, 5.0]]))
        fusion.perceptron[2].bias.fill_(-1.0)
        score = model(region.view(1, 1, 2), word.view(1, 1, 2), fuse=True)
    gate = 1 / (1 + math.exp(-4.0))  # (3, 4) . (0, 1); W_v v = (3, 8), W_m m = (1, 0)
    x, y = 3 + 4 * gate, 4 + 8 * gate
    other = 1 / (1 + math.exp(-1.6))  # (0, 2) . (.6, .8); -(0, 2) + (.6, .8) = (.6, -1.2), of which .6 is left
    z, w = 0.6 * other, 2.0
    hidden = (x + 2 * y) / math.hypot(x, y) + (3 * z + 4 * w) / math.hypot(z, w)
    assert score.item() == pytest.approx(2 * hidden - 1)


@pytest.mark.parametrize("fuse", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_the_order_of_fragments_does_not_matter(form, fuse):
    model = passing(form)
    images, texts = pairs()
    shuffled = model(images[:, [2, 0, 3, 1]], texts[:, [4, 2, 0, 3, 1]], fuse=fuse)
    torch.testing.assert_close(shuffled, model(images, texts, fuse=fuse))


def test_under_autocast_scores_keep_to_those_in_full_precision():
    for form in FORMS:
        model = FORMS[form](WIDTH)
        images, texts = (side.float() for side in pairs())
        for fuse in (False, True):
            with torch.autocast("cpu", torch.bfloat16):
                rough = model(images, texts, fuse=fuse)
            torch.testing.assert_close(rough.float(), model(images, texts, fuse=fuse), atol=0.03, rtol=0.03)
