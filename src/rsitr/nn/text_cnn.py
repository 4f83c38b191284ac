"""A text encoder with convolutions over words."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rsitr.captions.words import PAD, Vocabulary
from rsitr.nn.text import TextEncoder, word_indices


class TextCNN(TextEncoder):
    """Word embeddings, kernels of several lengths, the largest response of each (Y. Kim, EMNLP 2014, section 2).

    A kernel stays inside the caption; one longer than the caption is applied once, to the caption padded with zeros.
    ``dropout`` applies to the pooled responses.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        *,
        word_size: int,
        kernels: tuple[int, ...],
        channels: int,
        max_words: int,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.vocabulary, self.max_words = vocabulary, max_words
        self.kernels, self.width = kernels, len(kernels) * channels
        self.embed = nn.Embedding(len(vocabulary), word_size, padding_idx=PAD)
        self.convolutions = nn.ModuleList(nn.Conv1d(word_size, channels, kernel) for kernel in kernels)
        self.dropout = nn.Dropout(dropout)

    def tokenize(self, captions: list[str]) -> Tensor:
        """Word indices [B, L]."""
        return word_indices(self.vocabulary, captions, self.max_words)

    def forward(self, tokens: Tensor) -> Tensor:
        """Responses [B, L, width] of the kernels that start at each word; zero where one would leave the caption."""
        embedded = self.embed(tokens).transpose(1, 2)
        lengths = (tokens != PAD).sum(1, keepdim=True)
        starts = torch.arange(tokens.shape[1], device=tokens.device)
        states = []
        for kernel, convolution in zip(self.kernels, self.convolutions, strict=True):
            reach = kernel - 1
            inside = starts <= (lengths - 1 - reach).clamp(min=0)
            states.append(F.relu(convolution(F.pad(embedded, (0, reach)))) * inside[:, None])
        return torch.cat(states, 1).transpose(1, 2)

    def pool(self, states: Tensor, tokens: Tensor) -> Tensor:
        """The largest responses [B, width]."""
        return self.dropout(states.amax(1))
