"""Text queries of sentences, of keywords and of both as vectors: AMFMN, sections III-B2 and III-B3."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor, nn

from rsitr.captions.keywords import extract
from rsitr.captions.queries import QueryMode, parts
from rsitr.nn.text import GRUEncoder


class QueryEncoder(nn.Module):
    """One vector for each part of a query that ``mode`` has: s of the sentence (Eq. 12), k of the keywords (Eq. 13).

    The keywords of a joint query have their own GRU on the word vectors of the sentence. ``head`` adds a linear
    layer with ReLU to either GRU.
    """

    def __init__(self, text: GRUEncoder, mode: QueryMode, width: int, head: bool):
        super().__init__()
        self.mode, self.text, self.width = mode, text, width
        self.head = nn.Sequential(nn.Linear(text.width, width), nn.ReLU()) if head else nn.Identity()
        if mode != "sentence":
            self.mlp = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
        if mode == "joint":
            self.keyword_text = text.sibling()

    def tokenize(self, queries: list[str]) -> Tensor:
        """Words [B, L] of sentences; of other queries [B, 1 + N, L], the first row that of the sentence.

        What a query lacks is made from what it has: keywords are extracted from a sentence, and a sentence is the
        keywords one after another (AMFMN, section V-C).
        """
        if self.mode == "sentence":
            return self.text.tokenize(queries)
        rows = [_rows(query) for query in queries]
        words = self.text.tokenize([text for row in rows for text in row])
        tokens = words.new_zeros(len(rows), max(map(len, rows)), words.shape[1])
        places = [(query, place) for query, row in enumerate(rows) for place in range(len(row))]
        tokens[tuple(torch.tensor(places).t())] = words
        return tokens

    def forward(self, tokens: Tensor) -> Tensor:
        """s [B, D], k [B, D], or both [B, 2, D]; k is zero where a query has no keyword."""
        if self.mode == "sentence":
            return self._vectors(self.text, tokens)
        if self.mode == "keywords":
            return self._keywords(self.text, tokens[:, 1:])
        sentences = self._vectors(self.text, tokens[:, 0])
        return torch.stack([sentences, self._keywords(self.keyword_text, tokens[:, 1:])], 1)

    def _vectors(self, encoder: GRUEncoder, tokens: Tensor) -> Tensor:
        return self.head(encoder.pool(encoder(tokens), tokens))

    def _keywords(self, encoder: GRUEncoder, tokens: Tensor) -> Tensor:
        """Of the words [B, N, L] of keywords; padding rows do not count."""
        present = tokens.any(2)
        if not present.any():
            return torch.zeros(len(tokens), self.width, device=tokens.device)
        vectors = self._vectors(encoder, tokens[present])
        places = torch.zeros(*present.shape, vectors.shape[1], dtype=vectors.dtype, device=tokens.device)
        count = present.sum(1, keepdim=True)
        mean = places.masked_scatter(present[..., None], vectors).sum(1) / count.clamp(min=1)
        return self.mlp(mean) * (count > 0)


def _rows(query: str) -> list[str]:
    """The sentence and each keyword of a query."""
    sentence, keywords = parts(query)
    return [sentence or " ".join(keywords), *(keywords or _keywords_of(sentence))]


@lru_cache(2**17)
def _keywords_of(sentence: str) -> tuple[str, ...]:
    return tuple(keyword.text for keyword in extract([sentence]))
