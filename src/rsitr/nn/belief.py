"""Which tokens of an image an instruction believes in, and what becomes of the others (PIR, section IV-B).

J. Pan, M. Ma, Q. Ma, C. Bai, S. Chen, "PIR: Remote Sensing Image-Text Retrieval with Prior Instruction Representation
Learning", 2024. Our copy of its text lacks the formulas: Eqs. 5 and 6 are reconstructed from the prose around them and
from the public code of PIR-CLIP.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def belief_matrix(tokens: Tensor, instruction: Tensor) -> Tensor:
    """Eq. 3: the belief [B, N] in each of the tokens [B, N, D], a softmax of their products with [B, D], unscaled."""
    return torch.einsum("bnd,bd->bn", tokens, instruction).softmax(1)


def select(tokens: Tensor, belief: Tensor, keep: int) -> Tensor:
    """Eq. 4, the hard strategy: the ``keep`` tokens that are believed in most, highest belief first.

    All of them, in that order, if there are fewer.
    """
    order = belief.topk(min(keep, tokens.shape[1]), 1).indices
    return tokens.take_along_dim(order[..., None], 1)


def ranks(belief: Tensor) -> Tensor:
    """Eq. 5: how many tokens of the image are believed in at least as much, [B, N]; 1 for the highest belief."""
    return (belief[:, None, :] >= belief[:, :, None]).sum(2)


def weigh(tokens: Tensor, belief: Tensor) -> Tensor:
    """Eq. 6, the soft strategy: F'_i = Norm(b_i F_i + F_i / sqrt(rank_i)), all tokens in their original order.

    Norm gives each feature unit length over the tokens of the image. Normalising each token over its features would
    undo the weight it has just been given.
    """
    weights = belief + ranks(belief).rsqrt()
    return F.normalize(weights[..., None] * tokens, dim=1)
