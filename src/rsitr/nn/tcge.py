"""Textual coarse-grained enhancement: one vector from a caption's words, words in context and groups of words."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rsitr.captions.words import PAD
from rsitr.nn.mvsa import Form

HEADS = 2
GROUPS = (2, 3)
"""How many words a group has."""
DROPOUT, MLP_DROPOUT = 0.2, 0.1


class GatedAttention(nn.Module):
    """Self-attention whose queries and keys pass a gate made from both, the same for all heads.

    ``released``: the authors' code rounds the scores down, so that no gradient reaches queries, keys and gate.
    """

    def __init__(self, width: int, form: Form):
        super().__init__()
        self.form = form
        self.split = nn.Linear(width, 3 * width)
        head = width // HEADS
        self.query, self.key = nn.Linear(head, head), nn.Linear(head, head)
        self.gate = nn.Linear(head, 2 * head)

    def forward(self, states: Tensor, real: Tensor) -> Tensor:
        """[B, L, width] of states [B, L, width]; ``real`` [B, L] tells words from padding."""
        query, key, value = self.split(states).unflatten(2, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        query_gate, key_gate = self.gate(self.query(query) * self.key(key)).sigmoid().chunk(2, 3)
        scores = (query * query_gate) @ (key * key_gate).transpose(2, 3) / query.shape[3] ** 0.5
        scores = scores.floor() if self.form == "released" else scores
        weights = scores.masked_fill(~real[:, None, None], -torch.inf).softmax(3)
        return (weights @ value).transpose(1, 2).flatten(2)


class TCGE(nn.Module):
    """SWAN's TCGE (J. Pan et al., ICMR 2023).

    Words are enhanced by gated attention (batch norm, dropout, residual). Convolutions over two and over three words
    that do not overlap (batch norm, ReLU) make groups. An MLP with a residual follows each word and group. The caption
    is their mean; the authors' code (``released``) takes the last word, which no group reaches, so it needs none.

    Padding counts in neither norm nor attention, unlike in the authors' code; a group that is partly padding counts.
    """

    def __init__(self, width: int, form: Form):
        super().__init__()
        self.form = form
        self.attend = GatedAttention(width, form)
        self.norm, self.dropout = nn.BatchNorm1d(width), nn.Dropout(DROPOUT)
        self.groups = nn.ModuleList(
            nn.Sequential(nn.Linear(size * width, width), nn.BatchNorm1d(width), nn.ReLU())
            for size in (GROUPS if form == "paper" else ())
        )
        self.hidden = nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Dropout(MLP_DROPOUT))
        self.out = nn.Linear(2 * width, width)

    def forward(self, states: Tensor, tokens: Tensor) -> Tensor:
        """Features [B, width] of the states [B, L, width] of tokens [B, L]; states of padding are zero."""
        real = tokens != PAD
        words = states[real] + self.dropout(self.norm(self.attend(states, real)[real]))
        if self.form == "released":
            last = words[real.sum(1).cumsum(0) - 1]
            return last + self.out(self.hidden(last))
        parts = [(words, real)]
        for size, group in zip(GROUPS, self.groups, strict=True):
            windows, some = _windows(states, size), _windows(real[..., None], size).any(2)
            parts.append((group(windows[some]), some))
        rows = torch.cat([part for part, _ in parts])
        # The mean commutes with the last layer, and before it costs less.
        return _mean(rows, parts) + self.out(_mean(self.hidden(rows), parts))


def _windows(sequence: Tensor, size: int) -> Tensor:
    """Windows [B, ceil(L / size), size D] of a sequence [B, L, D], padded with zeros."""
    filled = F.pad(sequence, (0, 0, 0, -sequence.shape[1] % size))
    return filled.unflatten(1, (-1, size)).flatten(2)


def _mean(rows: Tensor, parts: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Mean of the rows of each caption; ``parts`` says where in which caption the rows were."""
    owners = torch.cat([where.nonzero()[:, 0] for _, where in parts])
    count = torch.stack([where.sum(1) for _, where in parts]).sum(0)
    total = rows.new_zeros(len(parts[0][1]), rows.shape[1]).index_add(0, owners, rows)
    return total / count[:, None]
