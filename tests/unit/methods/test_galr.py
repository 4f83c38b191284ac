"""GaLR's parts: graph convolutions by hand on a small grid, the fusion against its equations in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from rsitr.methods.base import Corpus
from rsitr.methods.galr import MIDF, GaLR, GaLRConfig, GraphConvolutions, GridGraph, grid_adjacency
from rsitr.nn.seeds import seeded

CAPTIONS = ["a red dot", "a green bar"]


def test_adjacency_of_a_grid_by_hand():
    """A corner of two by three cells has three links with its own, a cell in the middle of a row four."""
    corner, middle, mixed = 1 / 3, 1 / 4, 12**-0.5
    expected = [
        [corner, mixed, 0, corner, 0, 0],
        [mixed, middle, mixed, 0, middle, 0],
        [0, mixed, corner, 0, 0, corner],
        [corner, 0, 0, corner, mixed, 0],
        [0, middle, 0, mixed, middle, mixed],
        [0, 0, corner, 0, mixed, corner],
    ]
    torch.testing.assert_close(grid_adjacency(2, 3), torch.tensor(expected))
    assert grid_adjacency(1, 1).tolist() == [[1.0]]


def test_a_graph_convolution_by_hand():
    """On two by two cells each one is the mean of itself and its two neighbours, not of the cell across."""
    layer = GraphConvolutions((2, 1))
    with torch.no_grad():
        layer.layers[0].weight.copy_(torch.tensor([[1.0, -1.0]]))
    nodes = torch.tensor([[[3.0, 0.0], [6.0, 3.0], [0.0, 0.0], [9.0, 27.0]]])
    # Cell 0: (3+6+0)/3 - (0+3+0)/3 = 2; 1: (3+6+9)/3 - (0+3+27)/3 < 0; 2: (3+0+9)/3 - 27/3 < 0; 3: 15/3 - 30/3 < 0.
    assert layer(grid_adjacency(2, 2), nodes)[0, :, 0].tolist() == pytest.approx([2, 0, 0, 0])


def test_a_graph_of_its_own_for_every_image():
    layer = GraphConvolutions((2, 2))
    with torch.no_grad():
        layer.layers[0].weight.copy_(torch.eye(2))
    nodes = torch.rand(2, 2, 2)
    graphs = torch.stack([torch.eye(2), torch.eye(2).flip(0)])
    found = layer(graphs, nodes)
    torch.testing.assert_close(found[0], nodes[0])
    torch.testing.assert_close(found[1], nodes[1].flip(0))


def test_the_local_branch_against_loops():
    torch.manual_seed(0)
    branch, maps = GridGraph((3, 2, 2), node_width=4, width=5).double(), torch.randn(2, 3, 2, 2).double()
    assert [tuple(layer.weight.shape) for layer in branch.convolutions.layers] == [(4, 4), (2, 4), (4, 2)]
    found = branch(maps)
    for image in range(2):
        nodes = [branch.reduce(maps[image, :, y, x]) for y in range(2) for x in range(2)]
        for layer in branch.convolutions.layers:
            near = [(0, 1, 2), (1, 0, 3), (2, 0, 3), (3, 1, 2)]
            nodes = [(layer.weight @ sum(nodes[place] for place in group) / 3).clamp(min=0) for group in near]
        vector = branch.embed.weight @ torch.cat(nodes) + branch.embed.bias
        torch.testing.assert_close(found[image], vector / vector.norm(), atol=1e-6, rtol=1e-6)


def attention(layer, values):
    """Multi-head attention to a single place: a softmax over it is 1, so what remains is linear."""
    width = len(values)
    value = layer.in_proj_weight[2 * width :] @ values + layer.in_proj_bias[2 * width :]
    return layer.out_proj.weight @ value + layer.out_proj.bias


def norm(layer, x):
    return (x - x.mean()) / (x.var(correction=0) + layer.eps).sqrt() * layer.weight + layer.bias


def feed_forward(layer, x):
    return layer.linear2(layer.linear1(x).clamp(min=0))


def self_attended(layer, x):
    x = norm(layer.norm1, x + attention(layer.self_attn, x))
    return norm(layer.norm2, x + feed_forward(layer, x))


def guided(layer, x, guide):
    x = norm(layer.norm1, x + attention(layer.self_attn, x))
    x = norm(layer.norm2, x + attention(layer.multihead_attn, guide))
    return norm(layer.norm3, x + feed_forward(layer, x))


@pytest.mark.parametrize("form", ["paper", "released"])
@torch.no_grad()
def test_fusion_against_its_equations(form):
    torch.manual_seed(0)
    module = MIDF(16, form).double().eval()
    for name, parameter in module.named_parameters():  # biases and norms begin at zero and one
        if parameter.ndim == 1:
            parameter.add_(0.3 * torch.randn_like(parameter))
            assert name
    whole, local = torch.randn(2, 3, 16).double()
    found = module(whole, local)
    for image in range(3):
        wide, near = self_attended(module.attend_global, whole[image]), self_attended(module.attend_local, local[image])
        near = guided(module.correct, near, wide)
        wide = guided(module.supplement, wide, near)
        corrected, supplemented = wide / (1 + (-near).exp()), wide + near
        first, _, _, last, _ = module.weights
        logits = last(first(corrected + supplemented).sigmoid())
        share = 1 / (1 + (logits[1] - logits[0]).exp())
        other = share if form == "released" else 1 - share
        torch.testing.assert_close(found[image], share * corrected + other * supplemented, atol=1e-6, rtol=1e-6)


def build(**settings):
    small = {"image_backbone": "test_resnet", "image_weights": "none", "image_size": 64, "width": 16, "word_size": 8}
    with seeded(0):
        return GaLR.build(GaLRConfig(**(small | settings)), Corpus(CAPTIONS, np.array([0, 1]))).eval()


@torch.no_grad()
def test_both_branches_count():
    method = build()
    pixels = torch.rand(2, 3, 64, 64)
    before = method.encode_images(pixels)
    assert before.shape == (2, 16)
    for branch in (method.local.embed.weight, method.mvsa.mask.weight):
        kept = branch.clone()
        branch.mul_(-1)
        assert not torch.allclose(method.encode_images(pixels), before, atol=1e-4)
        branch.copy_(kept)
    torch.testing.assert_close(method.encode_images(pixels), before)


def test_the_text_is_the_last_state_or_has_a_head():
    tokens = build().tokenize(CAPTIONS)
    plain, released = build(), build(text_head=True, text_width=24)
    states = plain.text(tokens)
    torch.testing.assert_close(plain.encode_texts(tokens), F.normalize(states[:, -1], dim=1))
    assert released.text.width == 24
    assert (released.encode_texts(tokens) >= 0).all()


def test_saliency_has_the_cells_of_the_larger_high_level():
    method = build()
    with torch.inference_mode():
        found = method.saliency(torch.rand(2, 3, 64, 64))
    assert found.shape == (2, 4, 4)  # 64 px at stride 16
    torch.testing.assert_close(found.amax((1, 2)), torch.ones(2))
