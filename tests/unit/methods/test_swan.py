"""SWAN's blocks against their definitions written as loops in float64, and what the method makes of its settings."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rsitr.captions.words import Vocabulary
from rsitr.errors import ParamsError, WeightsMismatch, WeightsUnavailable
from rsitr.methods.base import Corpus
from rsitr.methods.configure import configure
from rsitr.methods.swan import LEARNS, SWAN, SWANConfig
from rsitr.methods.swan_blocks import SFGS, TCGE, VMSF, GatedAttention, load_word_vectors
from rsitr.nn.seeds import seeded

CAPTIONS = ["a red dot on white ground", "a green bar", "two trees", "dots"]
CORPUS = Corpus(CAPTIONS, np.array([0, 1, 2, 2]))
SMALL = {
    "image_backbone": "test_resnet",
    "image_weights": "none",
    "image_size": 64,
    "width": 16,
    "word_size": 8,
    "sfgs_channels": 4,
}


def unsettled(module):
    """In float64, with norms and running statistics that are not those of the beginning."""
    with seeded(3), torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
        for name, buffer in module.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_()
            elif name.endswith("running_var"):
                buffer.uniform_(0.5, 2)
    return module.double().eval()


def relu(x):
    return x.clamp(min=0)


def linear(layer, x):
    return layer.weight @ x + layer.bias


def batch_norm(layer, x):
    """Of one vector over channels."""
    return (x - layer.running_mean) / (layer.running_var + layer.eps).sqrt() * layer.weight + layer.bias


def layer_norm(layer, x):
    return (x - x.mean()) / (x.var(correction=0) + layer.eps).sqrt() * layer.weight + layer.bias


def randn(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@torch.no_grad()
def test_vmsf_against_its_convolutions_one_after_the_other():
    """The large map is read at every second place, the small one at its place for four of the middle one."""
    module = unsettled(VMSF([(3, 8, 8), (4, 4, 4), (5, 2, 2)], 6))
    maps = [randn(2, 3, 8, 8), randn(2, 4, 4, 4), randn(2, 5, 2, 2)]
    found = module(maps)
    first, _, _, last = module.mlp
    for image in range(2):
        large, middle, small = (level[image] for level in maps)
        total = torch.zeros(6).double()
        for y in range(4):
            for x in range(4):
                cells = [large[:, 2 * y, 2 * x], middle[:, y, x], small[:, y // 2, x // 2]]
                joint = torch.cat([level.weight @ cell for level, cell in zip(module.levels, cells, strict=True)])
                assert len(joint) == 4 * 6
                total += relu(batch_norm(module.norm, module.merge.weight @ joint))
        torch.testing.assert_close(found[image], linear(last, relu(linear(first, total / 16))))


def pooled(cells):
    """Mean of the cells of [h, w] that overlap each of 16 x 16 parts."""
    height, width = cells.shape
    ends = [(side * n // 16, -(-side * (n + 1) // 16)) for side in (height, width) for n in range(16)]
    rows, columns = ends[:16], ends[16:]
    return torch.stack([cells[a:b, c:d].mean() for a, b in rows for c, d in columns])


def windows(block, maps, side):
    """A convolution of windows that do not overlap, batch norm, ReLU: [C, h, w]."""
    convolution, norm, _ = block
    count = maps.shape[1] // side
    result = torch.zeros(len(convolution.weight), count, count).double()
    for y in range(count):
        for x in range(count):
            window = maps[:, y * side : (y + 1) * side, x * side : (x + 1) * side]
            result[:, y, x] = relu(batch_norm(norm, (convolution.weight * window).sum((1, 2, 3))))
    return result


def attended(layer, tokens):
    """Self-attention with eight heads, then feed-forward, a norm after each: [N, D]."""
    width = tokens.shape[1]
    parts = zip(layer.self_attn.in_proj_weight.split(width), layer.self_attn.in_proj_bias.split(width), strict=True)
    query, key, value = (tokens @ weight.T + bias for weight, bias in parts)
    heads = []
    for head in range(8):
        some = slice(head * width // 8, (head + 1) * width // 8)
        scores = query[:, some] @ key[:, some].T / (width / 8) ** 0.5
        heads.append((scores.exp() / scores.exp().sum(1, keepdim=True)) @ value[:, some])
    result = []
    for token, mixed in zip(tokens, torch.cat(heads, 1), strict=True):
        middle = layer_norm(layer.norm1, token + linear(layer.self_attn.out_proj, mixed))
        hidden = linear(layer.linear1, middle)
        hidden = hidden * (1 + torch.erf(hidden / 2**0.5)) / 2
        result.append(layer_norm(layer.norm2, middle + linear(layer.linear2, hidden)))
    return torch.stack(result)


@torch.no_grad()
def test_sfgs_against_loops():
    """11 px: windows of five leave two parts of a side, of three three, with a rest that is not read."""
    module, levels = unsettled(SFGS(3, 2, 16)), randn(2, 3, 11, 11)
    found, sides = module(levels), list(zip((1, 3, 5), module.windows, strict=True))
    for image in range(2):
        filtered = windows(module.filter, levels[image], 1)
        maps = [m for side, block in sides for m in windows(block, filtered, side)]
        assert len(maps) == 8
        tokens = attended(module.attend, torch.stack([relu(linear(module.embed[0], pooled(m))) for m in maps]))
        expected = sum(weight * token for weight, token in zip(module.weights, tokens, strict=True))
        torch.testing.assert_close(found[image], expected)


def test_the_sum_of_tokens_is_the_mean_of_the_products_with_a_matrix():
    """What the authors' code computes: a matrix [tokens, width], transposed, times the tokens, mean over its rows."""
    matrix, tokens = randn(8, 5), randn(8, 5)
    torch.testing.assert_close(matrix.mean(1) @ tokens, (matrix.T @ tokens).mean(0))


def gated(module, states):
    """Gated attention of the words [L, D] of one caption."""
    width = states.shape[1]
    split = states @ module.split.weight.T + module.split.bias
    result = []
    for word in range(len(states)):
        heads = []
        for head in range(2):
            some = slice(head * width // 2, (head + 1) * width // 2)
            query, key, value = (part[:, some] for part in split.split(width, 1))
            pairs = []
            for number in range(len(states)):
                gates = [
                    linear(module.gate, linear(module.query, query[i]) * linear(module.key, key[i])).sigmoid()
                    for i in (word, number)
                ]
                own, other = query[word] * gates[0][: width // 2], key[number] * gates[1][width // 2 :]
                score = own @ other / (width / 2) ** 0.5
                pairs.append(score.floor() if module.form == "released" else score)
            weights = torch.stack(pairs).exp()
            heads.append((weights[:, None] * value).sum(0) / weights.sum())
        result.append(torch.cat(heads))
    return torch.stack(result)


@pytest.mark.parametrize("form", ["paper", "released"])
@torch.no_grad()
def test_tcge_against_loops(form):
    """Captions of five, two and one word: groups of two and of three are filled up with zeros."""
    module = unsettled(TCGE(6, form))
    lengths = (5, 2, 1)
    states, tokens = randn(3, 5, 6), torch.zeros(3, 5, dtype=torch.long)
    for caption, length in enumerate(lengths):
        states[caption, length:] = 0
        tokens[caption, :length] = 7
    found = module(states, tokens)
    for caption, length in enumerate(lengths):
        words = states[caption, :length]
        rows = [w + batch_norm(module.norm, a) for w, a in zip(words, gated(module.attend, words), strict=True)]
        if form == "released":
            rows = rows[-1:]
        else:
            for size, (convolution, norm, _) in zip((2, 3), module.groups, strict=True):
                filled = torch.cat([words, torch.zeros(3, 6).double()])
                for start in range(0, length, size):
                    group = torch.cat([filled[start + n] for n in range(size)])
                    rows.append(relu(batch_norm(norm, linear(convolution, group))))
        expected = sum(row + linear(module.out, relu(linear(module.hidden[0], row))) for row in rows) / len(rows)
        torch.testing.assert_close(found[caption], expected)


def test_the_released_attention_does_not_learn_where_to_look():
    real, states = torch.ones(2, 4, dtype=torch.bool), torch.randn(2, 4, 6)
    for form, learns in (("paper", True), ("released", False)):
        torch.manual_seed(0)
        module = GatedAttention(6, form)
        module(states, real).square().sum().backward()
        assert bool(module.gate.weight.grad.any()) is learns
        assert module.split.weight.grad[12:].any()


def build(**settings):
    with seeded(0):
        return SWAN.build(SWANConfig(**(SMALL | settings)), CORPUS)


@pytest.mark.parametrize("form", ["paper", "released"])
def test_a_text_does_not_depend_on_its_batch(form):
    method = build(form=form).eval()
    with torch.inference_mode():
        together = method.encode_texts(method.tokenize(CAPTIONS))
        for place, caption in enumerate(CAPTIONS):
            alone = method.encode_texts(method.tokenize([caption]))[0]
            torch.testing.assert_close(alone, together[place])


@pytest.mark.parametrize(("low_levels", "channels"), [(2, 32), (3, 32)])
def test_sfgs_reads_a_quarter_of_the_side(low_levels, channels):
    """The stem of a ResNet after its max pooling, or the first level; both are 16 of 64 px."""
    method = build(low_levels=low_levels).eval()
    pixels, seen = torch.rand(2, 3, 64, 64), []
    method.sfgs.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    resnet = method.backbone.model
    with torch.inference_mode():
        method.encode_images(pixels)
        stem = resnet.maxpool(resnet.act1(resnet.bn1(resnet.conv1(pixels))))
        expected = stem if low_levels == 3 else resnet.layer1(stem)
    assert seen[0].shape == (2, channels, 16, 16)
    torch.testing.assert_close(seen[0], expected)


def test_a_backbone_without_levels_is_refused():
    with pytest.raises(ParamsError, match="has no feature maps of 5 levels"):
        build(image_backbone="vit_tiny_patch16_224", image_size=224)


def test_departures_follow_the_settings(tmp_path):
    (tmp_path / "vectors.txt").write_text("red" + " 1" * 8 + "\n")
    shared = {
        "autocast to bfloat16 in training, on GPUs",
        "captions of one image are never negatives of each other; in the authors' code all but the pair itself are",
        "padding counts in neither norm nor attention of the text, unlike in the authors' code",
    }
    assert {*build(form="released", word_vectors=str(tmp_path / "vectors.txt")).departures} == shared
    assert {*build(low_levels=2).departures} == shared | {
        "SFGS on the first level of the backbone instead of its stem",
        "learned word vectors instead of GloVe's",
        "mean over words and their groups instead of the last word",
        "scores of attention not rounded down, unlike in the authors' code",
    }


def test_the_published_phase_trains_all_but_the_backbone():
    names = {f"{name}." for name, _ in build().named_children()}
    assert names == {*LEARNS, "backbone."}
    assert configure(SWAN, "", {}).course[0].epochs == 50


class TestWordVectors:
    def load(self, path, size=3):
        vocabulary = Vocabulary(["red", "dot", "x-ray"])
        embed = torch.nn.Embedding(len(vocabulary), size)
        before = embed.weight.detach().clone()
        load_word_vectors(embed, vocabulary, str(path))
        return before, embed.weight.detach()

    def test_words_of_the_file_and_others(self, tmp_path):
        path = tmp_path / "vectors.txt"
        path.write_text("green 9 9 9\nred 1 2.5 -3e-1\nred x@y.com 4 4 4\nx-ray 0 1 0\n", encoding="utf-8")
        before, after = self.load(path)
        expected = before.clone()
        expected[2], expected[4] = torch.tensor([1, 2.5, -0.3]), torch.tensor([0.0, 1.0, 0.0])
        assert torch.equal(after, expected)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("red 1 2\n", "line 1 has fewer than 3 numbers"),
            ("green 9 9\ndot 1 2 three\n", "could not convert string to float: 'three'"),
            ("red 1 2 3 4\n", "no word of the training captions with 3 numbers"),
            ("blue 1 2 3\n", "no word of the training captions with 3 numbers"),
            ("", "no word of the training captions with 3 numbers"),
        ],
    )
    def test_a_broken_file_is_refused(self, tmp_path, content, message):
        path = tmp_path / "vectors.txt"
        path.write_text(content, encoding="utf-8")
        with pytest.raises(WeightsMismatch, match=message):
            self.load(path)

    def test_something_that_is_no_text_or_no_file(self, tmp_path):
        (tmp_path / "glove.zip").write_bytes(bytes(range(256)) * 10)
        with pytest.raises(WeightsMismatch, match=r"glove.zip has no word"):
            self.load(tmp_path / "glove.zip")
        with pytest.raises(WeightsMismatch, match="cannot be read as word vectors"):
            self.load(tmp_path)
        with pytest.raises(WeightsUnavailable, match=r"none.txt is not at"):
            self.load(tmp_path / "none.txt")
