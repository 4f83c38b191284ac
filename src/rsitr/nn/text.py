"""Text encoders behind one interface: captions to token indices, token indices to a state for every token."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from rsitr.captions.words import PAD, Vocabulary
from rsitr.errors import WeightsMismatch
from rsitr.nn.weights import require_hub, resolve

HUB_FILES = ("model.safetensors", "pytorch_model.bin")


class TextEncoder(nn.Module):
    """Captions -> tokens [B, L] (0 is padding) -> states [B, L, width]."""

    width: int

    def tokenize(self, captions: list[str]) -> Tensor:
        """Indices [B, L] of captions, padded with 0 to the longest of them."""
        raise NotImplementedError

    def pool(self, states: Tensor, tokens: Tensor) -> Tensor:
        """One vector [B, width] for each caption."""
        raise NotImplementedError


def word_indices(vocabulary: Vocabulary, captions: list[str], max_words: int) -> Tensor:
    """Indices [B, L] of the words of captions, padded with 0 to the longest of them."""
    rows = [torch.tensor(vocabulary.encode(caption, max_words)) for caption in captions]
    return nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PAD)


class GRUEncoder(TextEncoder):
    """Word embeddings and a one-layer GRU (VSE++, Faghri et al., BMVC 2018, section 3.3).

    A bidirectional GRU averages its directions, as in AMFMN section III-B. ``pooling`` is ``last`` (the state at the
    last word) or ``mean`` (over the real words); ``dropout`` applies to the word vectors.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        *,
        bidirectional: bool,
        word_size: int,
        width: int,
        max_words: int,
        pooling: Literal["last", "mean"],
        dropout: float = 0.0,
    ):
        super().__init__()
        self.vocabulary = vocabulary
        self.max_words = max_words
        self.pooling: Literal["last", "mean"] = pooling
        self.width = width
        self.embed = nn.Embedding(len(vocabulary), word_size, padding_idx=PAD)
        self.dropout = nn.Dropout(dropout)
        self.gru = nn.GRU(word_size, width, batch_first=True, bidirectional=bidirectional)
        nn.init.uniform_(self.embed.weight, -0.1, 0.1)

    def sibling(self) -> GRUEncoder:
        """Another GRU of the same kind on the same word vectors."""
        other = GRUEncoder(
            self.vocabulary,
            bidirectional=self.gru.bidirectional,
            word_size=self.embed.embedding_dim,
            width=self.width,
            max_words=self.max_words,
            pooling=self.pooling,
            dropout=self.dropout.p,
        )
        other.embed = self.embed
        return other

    def tokenize(self, captions: list[str]) -> Tensor:
        """Word indices [B, L]."""
        return word_indices(self.vocabulary, captions, self.max_words)

    def forward(self, tokens: Tensor) -> Tensor:
        """States [B, L, width]; those of padding are zero."""
        lengths = (tokens != PAD).sum(1).cpu()
        packed = pack_padded_sequence(self.dropout(self.embed(tokens)), lengths, batch_first=True, enforce_sorted=False)
        states, _ = pad_packed_sequence(self.gru(packed)[0], batch_first=True, total_length=tokens.shape[1])
        return states if not self.gru.bidirectional else states.unflatten(2, (2, self.width)).mean(2)

    def pool(self, states: Tensor, tokens: Tensor) -> Tensor:
        """One vector [B, width] for each caption."""
        lengths = (tokens != PAD).sum(1)
        if self.pooling == "mean":
            return states.sum(1) / lengths[:, None]
        return states[torch.arange(len(states), device=states.device), lengths - 1]


class TransformerEncoder(TextEncoder):
    """Any encoder of the transformers library, with its own tokenizer.

    ``weights`` is a location that ``rsitr.nn.weights.resolve`` understands, or a hub repository (``owner/name``).
    """

    def __init__(self, weights: str, max_words: int):
        super().__init__()
        from transformers import AutoModel, AutoTokenizer, logging

        logging.set_verbosity_error()  # an unused pooling layer is not worth a report
        source = _locate(weights)
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(source)
            self.model = AutoModel.from_pretrained(source, add_pooling_layer=False)
        except (OSError, ValueError, KeyError) as error:
            raise WeightsMismatch(f"{weights} holds no text encoder that transformers can load: {error}") from None
        # The tokenizer adds [CLS] and [SEP].
        self.max_tokens = min(max_words + 2, self.model.config.max_position_embeddings)
        self.width = self.model.config.hidden_size

    def tokenize(self, captions: list[str]) -> Tensor:
        """Word-piece indices [B, L]."""
        return self.tokenizer(
            captions, padding=True, truncation=True, max_length=self.max_tokens, return_tensors="pt"
        ).input_ids

    def forward(self, tokens: Tensor) -> Tensor:
        """States [B, L, width]; padding is not attended to."""
        return self.model(input_ids=tokens, attention_mask=(tokens != self.tokenizer.pad_token_id).long())[0]

    def pool(self, states: Tensor, tokens: Tensor) -> Tensor:
        """State of the first token, [CLS]."""
        return states[:, 0]


def _locate(weights: str) -> str:
    if "://" not in weights and not Path(weights).expanduser().exists():
        require_hub(weights, HUB_FILES)
        return weights
    return str(resolve(weights))
