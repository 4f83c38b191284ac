"""The fusion encoder against a slow reference, number by number in float64, and against torch's own attention."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from rsitr.nn import fusion as module
from rsitr.nn.fusion import CrossAttention, FusionEncoder, score_captions
from rsitr.nn.fusion_tasks import MatchingHead
from rsitr.nn.seeds import seeded
from tests.helpers.examples import examples

WIDTH, HEADS, TOKENS = 8, 2, 5


def shape():
    from transformers import BertConfig

    sizes = {"hidden_size": WIDTH, "num_attention_heads": HEADS, "intermediate_size": 12, "num_hidden_layers": 3}
    # Weights of size one, so that attention is far from uniform.
    return BertConfig(vocab_size=10, **sizes, initializer_range=0.7)


@pytest.fixture(scope="module")
def encoder():
    """Two layers and a head in float64, without dropout, biases and norms changed from what they begin with."""
    from transformers import BertModel

    with seeded(0):
        layers = list(BertModel(shape()).encoder.layer)[1:]
        fusion = FusionEncoder(layers, shape()).double().eval()
        head = MatchingHead(WIDTH).double()
        for parameter in fusion.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
    return fusion, head


def captions(lengths, seed=1):
    generator = torch.Generator().manual_seed(seed)
    found = torch.zeros(len(lengths), max(lengths), WIDTH, dtype=torch.float64)
    for row, length in zip(found, lengths, strict=True):
        row[:length] = torch.randn(length, WIDTH, generator=generator, dtype=torch.float64)
    return found


def pictures(count, seed=2):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, TOKENS, WIDTH, generator=generator, dtype=torch.float64)


def slow_linear(layer, vector):
    return [
        sum(w * x for w, x in zip(row, vector, strict=True)) + b
        for row, b in zip(layer.weight.tolist(), layer.bias.tolist(), strict=True)
    ]


def slow_norm(layer, vector):
    mean = sum(vector) / len(vector)
    spread = math.sqrt(sum((x - mean) ** 2 for x in vector) / len(vector) + layer.eps)
    return [
        (x - mean) / spread * w + b for x, w, b in zip(vector, layer.weight.tolist(), layer.bias.tolist(), strict=True)
    ]


def slow_attention(query, key, value, asking, answering):
    """Eqs. 1 and 2 before the last projection: [L][D] of lists of vectors."""
    asked = [slow_linear(query, x) for x in asking]
    keys, values = ([slow_linear(layer, x) for x in answering] for layer in (key, value))
    size = WIDTH // HEADS
    found = []
    for one in asked:
        row = []
        for head in range(HEADS):
            part = slice(head * size, (head + 1) * size)
            logits = [sum(a * b for a, b in zip(one[part], k[part], strict=True)) / math.sqrt(size) for k in keys]
            weights = [math.exp(x - max(logits)) for x in logits]
            row += [
                sum(w * v[part][i] for w, v in zip(weights, values, strict=True)) / sum(weights) for i in range(size)
            ]
        found.append(row)
    return found


def added(left, right):
    return [a + b for a, b in zip(left, right, strict=True)]


def slow_cross(cross, states, image):
    found = slow_attention(cross.query, cross.key, cross.value, states, image)
    return [slow_norm(cross.norm, added(x, slow_linear(cross.output, y))) for x, y in zip(states, found, strict=True)]


def slow_layer(layer, states, image):
    own, out = layer.attention.self, layer.attention.output
    found = slow_attention(own.query, own.key, own.value, states, states)
    states = [slow_norm(out.LayerNorm, added(x, slow_linear(out.dense, y))) for x, y in zip(states, found, strict=True)]
    states = slow_cross(layer.cross, states, image)
    changed = []
    for x in states:
        hidden = [h * (1 + math.erf(h / math.sqrt(2))) / 2 for h in slow_linear(layer.intermediate.dense, x)]
        changed.append(slow_norm(layer.output.LayerNorm, added(x, slow_linear(layer.output.dense, hidden))))
    return changed


def slow_score(fusion, head, image, caption):
    states = caption.tolist()
    for layer in fusion.layers:
        states = slow_layer(layer, states, image.tolist())
    no, yes = slow_linear(head.classes, states[0])
    return yes - no


def assert_near(found, expected, tolerance=1e-6):
    torch.testing.assert_close(
        found.double(), torch.as_tensor(expected, dtype=torch.float64), atol=tolerance, rtol=tolerance
    )


@torch.no_grad()
def test_cross_attention_against_the_reference(encoder) -> None:
    cross = encoder[0].layers[0].cross
    image, text = pictures(1), captions([3, 3])
    found = cross(text[None], cross.memory(image))
    assert_near(found[0], [slow_cross(cross, one.tolist(), image[0].tolist()) for one in text], 1e-12)


@torch.no_grad()
def test_cross_attention_is_torchs_multihead_attention(encoder) -> None:
    cross = encoder[0].layers[1].cross
    peer = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True).double()
    peer.in_proj_weight.copy_(torch.cat([cross.query.weight, cross.key.weight, cross.value.weight]))
    peer.in_proj_bias.copy_(torch.cat([cross.query.bias, cross.key.bias, cross.value.bias]))
    peer.out_proj.load_state_dict(cross.output.state_dict())
    image, text = pictures(2), captions([4, 4])
    attended, weights = peer(text, image, image)
    # Caption i with image i: images and captions in the first place.
    memory = cross.memory(image)
    assert_near(cross(text[:, None], memory)[:, 0], cross.norm(text + attended), 1e-12)
    assert_near(cross.weights(text[:, None], memory)[:, 0], weights, 1e-12)


@torch.no_grad()
def test_the_score_against_the_reference(encoder) -> None:
    fusion, head = encoder
    images, texts = pictures(2), captions([3, 1, 4, 3])
    expected = [[slow_score(fusion, head, image, text[: int(text.any(1).sum())]) for text in texts] for image in images]
    assert_near(score_captions(fusion, head, images, texts), expected)
    assert_near(score_captions(fusion.float(), head.float(), images.float(), texts.float()), expected, 1e-5)
    fusion.double(), head.double()


@torch.no_grad()
@examples(25)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=6), st.integers(1, 4), st.sampled_from([1, 150, 2**20]))
def test_blocks_and_padding_change_nothing(encoder, lengths, count, numbers) -> None:
    fusion, head = encoder
    images, texts = pictures(count), captions(lengths)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "NUMBERS", {"cpu": numbers})
        found = score_captions(fusion, head, images, F.pad(texts, (0, 0, 0, 3)))
    memory, padding = fusion.memory(images), ~texts.any(2)[None]
    masked = head(fusion(texts[None], memory, padding, first_only=True))
    assert found.shape == (count, len(lengths))
    assert_near(found, masked)


@torch.no_grad()
@pytest.mark.parametrize("packed", [1, 7, 128])
def test_captions_in_a_row_attend_each_to_itself(encoder, packed, monkeypatch) -> None:
    """Of five lengths, in batches of one length, in rows of at most 7 tokens, or in one row."""
    fusion, head = encoder
    images, texts = pictures(3), captions([3, 1, 4, 3, 2, 5])
    alone = [score_captions(fusion, head, images, text[None]) for text in texts]
    monkeypatch.setattr(module, "PACKED", packed)
    seen: list[int] = []
    fusion.layers[0].attention.output.register_forward_hook(lambda _, given, __: seen.append(given[0].shape[1]))
    assert_near(score_captions(fusion, head, images, texts), torch.cat(alone, 1), 1e-12)
    fusion.layers[0].attention.output._forward_hooks.clear()
    # Rows of 1 + 2 + 3, 3 + 4 and 5 tokens.
    assert seen == {1: [1, 2, 3, 4, 5], 7: [6, 7, 5], 128: [18]}[packed]
    memory, flat = fusion.memory(images), torch.cat([texts[0, :3], texts[4, :2]])[None, None]
    starts = torch.tensor([0, 3])
    whole = fusion(flat, memory, starts=starts)
    assert_near(fusion(flat, memory, first_only=True, starts=starts), whole[:, 0, starts], 1e-12)


@torch.no_grad()
def test_memory_is_bounded(encoder, monkeypatch) -> None:
    fusion, head = encoder
    seen = []
    fusion.layers[0].intermediate.register_forward_hook(lambda _, __, hidden: seen.append(hidden.numel()))
    monkeypatch.setattr(module, "NUMBERS", {"cpu": 400})
    score_captions(fusion, head, pictures(7), captions([2] * 9 + [4] * 3))
    fusion.layers[0].intermediate._forward_hooks.clear()
    assert max(seen) <= 400
    # Images times tokens times the hidden width of 12: nothing is computed twice.
    assert sum(seen) == 7 * (9 * 2 + 3 * 4) * 12


@torch.no_grad()
def test_an_image_answers_once_for_all_captions(encoder) -> None:
    fusion, head = encoder
    seen = []
    fusion.layers[0].cross.key.register_forward_hook(lambda _, given, __: seen.append(given[0].shape[0]))
    score_captions(fusion, head, pictures(7), captions([2, 3, 4]))
    fusion.layers[0].cross.key._forward_hooks.clear()
    assert sum(seen) == 7


@torch.no_grad()
def test_a_gallery_has_its_answers_ready(encoder, monkeypatch) -> None:
    """Keys and values are 2 x 2 layers x 3 x 5 x 8 numbers; no more are kept than may be."""
    fusion, head = encoder
    images, texts = pictures(3), captions([2, 3, 4])
    gallery = fusion.gallery(images)
    seen: list[int] = []
    fusion.layers[0].cross.key.register_forward_hook(lambda *_: seen.append(1))
    chosen = torch.tensor([2, 0])
    found = [score_captions(fusion, head, gallery[part], texts) for part in (slice(None), chosen)]
    fusion.layers[0].cross.key._forward_hooks.clear()
    assert seen == []
    expected = score_captions(fusion, head, images, texts)
    assert_near(found[0], expected, 1e-12)
    assert_near(found[1], expected[chosen], 1e-12)
    monkeypatch.setattr(module, "KEPT", {"cpu": 479})
    assert fusion.gallery(images) is images
    monkeypatch.setattr(module, "KEPT", {"cpu": 480})
    assert len(fusion.gallery(images)) == 3


@torch.no_grad()
def test_the_first_token_alone_is_the_first_of_all(encoder) -> None:
    fusion, _ = encoder
    memory, texts = fusion.memory(pictures(2)), captions([3, 3])[None]
    assert_near(fusion(texts, memory, first_only=True), fusion(texts, memory)[:, :, 0], 1e-12)


@torch.no_grad()
def test_attention_of_a_later_layer(encoder) -> None:
    fusion, _ = encoder
    image, text = pictures(1), captions([3])
    weights = fusion.attention(text[None], fusion.memory(image), -1)
    assert weights.shape == (1, 1, 3, TOKENS)
    assert_near(weights.sum(-1), torch.ones(1, 1, 3), 1e-12)
    below = fusion.layers[0](text[None], fusion.memory(image)[0], None, first_only=False)
    upper = fusion.layers[1]
    assert_near(weights, upper.cross.weights(upper.read(below, None), fusion.memory(image)[1]), 1e-12)
    assert_near(weights, fusion.attention(text[None], fusion.memory(image), 1), 1e-12)


def test_new_weights_begin_as_berts_do() -> None:
    cross = CrossAttention(shape())
    assert 0.5 < cross.value.weight.std() < 0.9
    assert not cross.value.bias.any()
    assert cross.norm.eps == 1e-12
