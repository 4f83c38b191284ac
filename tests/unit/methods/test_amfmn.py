"""AMFMN: the queries it reads, and the score of every guidance against its equations, pair by pair in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rsitr.captions.queries import compose
from rsitr.methods import get_method
from rsitr.methods.amfmn import AMFMN
from rsitr.methods.base import Corpus
from rsitr.methods.configure import configure
from rsitr.nn.seeds import seeded

CAPTIONS = ["a red dot on white ground", "a green bar", "two trees", "a white plane"]


def build(name: str, settings: dict[str, Any], **more: Any) -> AMFMN:
    cls = get_method(name)
    fields = {key: value for key, value in settings.items() if key in cls.Config.model_fields}
    with seeded(0):
        return cls.build(configure(cls, "", fields | {"low_levels": 2} | more), Corpus(CAPTIONS, np.arange(4))).eval()


def vectors(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3))


def sigmoid(value: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-value))


def unit(value: np.ndarray) -> np.ndarray:
    return value / np.sqrt((value**2).sum())


class Slowly:
    """The equations of section III-D for one image and one text."""

    def __init__(self, method: AMFMN):
        self.name, self.config = method.name, method.config
        self.weights = {key: value.double().numpy() for key, value in method.state_dict().items()}

    def linear(self, name: str, value: np.ndarray) -> np.ndarray:
        return self.weights[f"{name}.weight"] @ value + self.weights.get(f"{name}.bias", 0)

    def guided(self, image: np.ndarray, text: np.ndarray) -> np.ndarray:
        """``text`` is, for AMFMN-sim, f(t) already."""
        if not self.config.guided:
            return text
        if self.name == "amfmn-soft":
            return sigmoid(self.linear("image_gate", image)) * text
        if self.name == "amfmn-fusion":
            joint = self.linear("image_part", image) + self.linear("text_part", text)
            return joint[: len(text)] * sigmoid(joint[len(text) :])
        if "image_part.weight" not in self.weights:
            return text  # any gate would do
        if self.config.form == "released":
            return sigmoid(self.linear("image_part", image) * text) * text
        return sigmoid(unit(self.linear("image_part", image)) @ unit(text)) * text

    def score(self, image: np.ndarray, text: np.ndarray) -> float:
        fused = self.fused(image, text)
        return image @ fused if self.config.score == "dot" else unit(image) @ unit(fused)

    def fused(self, image: np.ndarray, text: np.ndarray) -> np.ndarray:
        if text.ndim == 1:
            return self.guided(image, text)
        sentence, keywords = (self.guided(image, part) for part in text)
        if self.config.fusion == "mean":
            return (sentence + keywords) / 2
        weight = sigmoid(self.linear("gate", np.concatenate([unit(sentence), unit(keywords)])))
        return weight * sentence + (1 - weight) * keywords


@pytest.mark.parametrize("name", ["amfmn-soft", "amfmn-fusion", "amfmn-sim"])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"form": "released"},
        {"guided": False},
        {"score": "dot"},
        {"score": "dot", "form": "released"},
        {"score": "dot", "guided": False},
        {"score": "dot", "query": "joint"},
        {"query": "joint"},
        {"query": "joint", "form": "released"},
        {"query": "joint", "fusion": "mean"},
        {"query": "joint", "guided": False},
    ],
    ids=lambda settings: " ".join(map(str, settings.values())),
)
def test_scores_are_the_equations(name: str, settings: dict[str, Any], tiny_settings: dict[str, Any]) -> None:
    method = build(name, tiny_settings, **settings)
    images = vectors(3, 16)
    texts = vectors(5, 2, 16) if settings.get("query") == "joint" else vectors(5, 16)
    with torch.inference_mode():
        scores = method.score(images, texts)
    slowly = Slowly(method)
    expected = [[slowly.score(image, text) for text in texts.double().numpy()] for image in images.double().numpy()]
    np.testing.assert_allclose(scores.numpy(), expected, atol=1e-5)


def test_the_gate_of_one_number_cancels_and_is_not_made(tiny_settings: dict[str, Any]) -> None:
    assert not hasattr(build("amfmn-sim", tiny_settings), "image_part")
    assert hasattr(build("amfmn-sim", tiny_settings, score="dot"), "image_part")
    assert hasattr(build("amfmn-sim", tiny_settings, query="joint"), "image_part")


@pytest.mark.parametrize("head", [False, True])
def test_a_joint_query_has_a_vector_for_the_sentence_and_one_for_the_keywords(
    head: bool, tiny_settings: dict[str, Any]
) -> None:
    settings = {"text_head": True, "text_width": 12} if head else {}
    method = build("amfmn-soft", tiny_settings, query="joint", **settings)
    queries = [
        compose("a red dot", ["green bar", "- trees"]),
        compose("a red dot", []),
        compose("a red dot", ["- bar"]),
    ]
    tokens = method.tokenize(queries)
    assert tokens.shape == (3, 3, 3)
    # The second query has no keywords of its own: its sentence has one, "red dot".
    assert [int(row.any(1).sum()) for row in tokens] == [3, 2, 2]
    with torch.inference_mode():
        texts = method.encode_texts(tokens)
        alone = [method.encode_texts(method.tokenize([query])) for query in queries]
        encoder = method.text
        bar, trees = (
            encoder._vectors(encoder.keyword_text, encoder.text.tokenize([word])) for word in ("green bar", "trees")
        )
        expected = encoder.mlp((bar + trees) / 2)[0]
    assert texts.shape == (3, 2, 16)
    torch.testing.assert_close(texts, torch.cat(alone))
    torch.testing.assert_close(texts[0, 1], expected)
    torch.testing.assert_close(texts[0, 0], texts[2, 0])
    assert not torch.allclose(texts[0, 1], texts[2, 1])


def test_a_sentence_feeds_the_keyword_branch_where_both_work(tiny_settings: dict[str, Any]) -> None:
    """Section V-C: two vectors of "a red dot", the second that of its keyword, "red dot"."""
    method = build("amfmn-sim", tiny_settings, branches="both")
    tokens = method.tokenize(["a red dot"])
    assert tokens.shape == (1, 2, 3)
    assert torch.equal(tokens[0, 1], method.text.text.tokenize(["red dot", "a red dot"])[0])
    with torch.inference_mode():
        texts = method.encode_texts(tokens)
        assert texts.shape == (1, 2, 16)
        assert method.score(vectors(3, 16), texts).shape == (3, 1)
    said = " ".join(method.departures)
    assert "keyword branch" not in said
    assert "keyword branch" in " ".join(build("amfmn-sim", tiny_settings).departures)


def test_a_fixed_margin_sums_over_all_negatives() -> None:
    cls = get_method("amfmn-sim")
    assert {configure(cls, f"alpha-{margin}", {}).negatives for margin in (0.4, 0.6, 0.8)} == {"all"}
    assert configure(cls, "", {}).negatives == "hardest"


def test_keywords_alone_are_the_sentence_of_a_joint_query(tiny_settings: dict[str, Any]) -> None:
    method = build("amfmn-soft", tiny_settings, query="joint")
    keywords = method.tokenize([compose("", ["red dot", "- bar"])])[0]
    assert torch.equal(keywords[0], method.text.text.tokenize(["red dot bar"])[0])


def test_a_query_without_any_keyword_has_none(tiny_settings: dict[str, Any]) -> None:
    method = build("amfmn-soft", tiny_settings, query="joint")
    with torch.inference_mode():
        texts = method.encode_texts(method.tokenize(["there"]))
        assert texts[0, 0].any()
        assert not texts[0, 1].any()
        assert torch.isfinite(method.score(vectors(2, 16), texts)).all()


def test_sentence_and_keywords_share_their_word_vectors(tiny_settings: dict[str, Any]) -> None:
    text = build("amfmn-soft", tiny_settings, query="joint").text
    assert text.keyword_text.embed is text.text.embed
    assert text.keyword_text.gru is not text.text.gru


def test_saliency_is_a_map_of_the_image(tiny_settings: dict[str, Any]) -> None:
    method = build("amfmn-soft", tiny_settings)
    with torch.inference_mode():
        assert method.saliency(torch.rand(2, 3, 32, 32)).shape == (2, 2, 2)
