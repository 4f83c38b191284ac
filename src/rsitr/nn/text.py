"""Text encoders behind one interface: captions to token indices, token indices to a state for every token.

Some do not learn; of one of these, each training caption is encoded once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

from rsitr.captions.words import PAD, Vocabulary
from rsitr.errors import WeightsMismatch
from rsitr.nn.dropout import Dropout
from rsitr.nn.gru import PackedGRU
from rsitr.nn.locations import resolve
from rsitr.nn.pretrained import note
from rsitr.nn.weights import of_hub, require_hub

HUB_FILES = ("model.safetensors", "pytorch_model.bin")
TOKENIZER_FILES = ("tokenizer.json", "vocab.txt")
BATCH = 256
"""Training captions encoded at a time by an encoder that does not learn."""


class TextEncoder(nn.Module):
    """Captions -> tokens [B, L] (0 is padding) -> states [B, L, width]."""

    width: int

    def tokenize(self, captions: list[str]) -> Tensor:
        """Indices [B, L] of captions, padded with 0 to the longest of them."""
        raise NotImplementedError

    def pool(self, states: Tensor, tokens: Tensor) -> Tensor:
        """One vector [B, width] for each caption."""
        raise NotImplementedError


def mean_state(states: Tensor, used: Tensor) -> Tensor:
    """Mean [B, width] of the states [B, L, width] at the places that are ``used``, bool [B, L]; 0 where none is."""
    return (states * used[..., None]).sum(1) / used.sum(1, keepdim=True).clamp(min=1)


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
        self.arguments: dict[str, Any] = {
            "word_size": word_size,
            "width": width,
            "bidirectional": bidirectional,
            "dropout": dropout,
        }
        self.vocabulary = vocabulary
        self.max_words = max_words
        self.pooling: Literal["last", "mean"] = pooling
        self.width = width
        self.embed = nn.Embedding(len(vocabulary), word_size, padding_idx=PAD)
        self.dropout = Dropout(dropout)
        self.gru = PackedGRU(word_size, width, batch_first=True, bidirectional=bidirectional)
        nn.init.uniform_(self.embed.weight, -0.1, 0.1)

    def sibling(self) -> GRUEncoder:
        """Another GRU of the same kind on the same word vectors."""
        other = GRUEncoder(self.vocabulary, max_words=self.max_words, pooling=self.pooling, **self.arguments)
        other.embed = self.embed
        return other

    def tokenize(self, captions: list[str]) -> Tensor:
        """Word indices [B, L]."""
        return word_indices(self.vocabulary, captions, self.max_words)

    def forward(self, tokens: Tensor) -> Tensor:
        """States [B, L, width]; those of padding are zero."""
        lengths = (tokens != PAD).sum(1).cpu()
        packed = pack_padded_sequence(tokens, lengths, batch_first=True, enforce_sorted=False)
        states = self.gru(packed._replace(data=self.dropout(self.embed(packed.data))))
        if self.gru.bidirectional:
            states = states._replace(data=states.data.unflatten(1, (2, self.width)).mean(1))
        return pad_packed_sequence(states, batch_first=True, total_length=tokens.shape[1])[0]

    def pool(self, states: Tensor, tokens: Tensor) -> Tensor:
        """One vector [B, width] for each caption."""
        lengths = (tokens != PAD).sum(1)
        if self.pooling == "mean":
            return states.sum(1) / lengths[:, None]
        return states[torch.arange(len(states), device=states.device), lengths - 1]


class TransformerEncoder(TextEncoder):
    """Any encoder of the transformers library, with its own tokenizer.

    ``weights`` is a location that ``rsitr.nn.locations.resolve`` understands, or a hub repository (``owner/name``).
    """

    def __init__(self, weights: str, max_words: int):
        super().__init__()
        from transformers import AutoModel, AutoTokenizer, logging

        logging.set_verbosity_error()  # an unused pooling layer is not worth a report
        source = _locate(weights)
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(source)
            self.model, loaded = AutoModel.from_pretrained(source, add_pooling_layer=False, output_loading_info=True)
        except (OSError, ValueError, KeyError) as error:
            raise WeightsMismatch(f"{weights} holds no text encoder that transformers can load: {error}") from None
        # transformers leaves what the file does not have at random, and only warns.
        if missing := sorted(loaded["missing_keys"]):
            raise WeightsMismatch(
                f"{weights} lacks {len(missing)} tensors of its own architecture {missing[:3]}: name a repository or "
                "folder whose weights are complete"
            )
        _note(weights)
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


def word_head(weights: str) -> nn.Module | None:
    """What a BERT guesses masked words with, ``BertLMPredictionHead``; None where its weights come without one."""
    from transformers import BertForMaskedLM

    found: Any = BertForMaskedLM.from_pretrained(_locate(weights), output_loading_info=True)
    bert, loaded = found
    lacks = any(name.startswith("cls.predictions.transform") for name in loaded["missing_keys"])
    return None if lacks else bert.cls.predictions


def _locate(weights: str) -> str:
    if _on_hub(weights):
        require_hub(weights, HUB_FILES)
        return weights
    return str(resolve(weights))


def _on_hub(weights: str) -> bool:
    return "://" not in weights and not Path(weights).expanduser().exists()


def _note(weights: str) -> None:
    """Note what makes a text encoder: its weights, their configuration, and the tokenizer."""
    choices = (HUB_FILES, ("config.json",), TOKENIZER_FILES, ("tokenizer_config.json",))
    if _on_hub(weights):
        location, files = of_hub(weights, *choices)
    else:
        location, folder = weights, resolve(weights)
        here = ([folder / name for name in names if (folder / name).is_file()] for names in choices)
        files = [path for found in here for path in found[:1]]
    note("text_weights", location, *files)


class FrozenText(TextEncoder):
    """A text encoder that neither learns nor applies dropout, and is not part of any checkpoint."""

    def __init__(self, encoder: TransformerEncoder):
        super().__init__()
        # In a tuple, so that neither the optimiser nor the checkpoint finds it.
        self._encoder = (encoder.eval().requires_grad_(False),)
        self.width = encoder.width

    @property
    def encoder(self) -> TransformerEncoder:
        """The encoder itself."""
        return self._encoder[0]

    @property
    def vocabulary(self) -> Vocabulary | None:
        """That of an encoder whose words come from the training captions."""
        return getattr(self.encoder, "vocabulary", None)

    def tokenize(self, captions: list[str]) -> Tensor:
        """Word-piece indices [B, L]."""
        return self.encoder.tokenize(captions)

    @torch.no_grad()
    def forward(self, tokens: Tensor) -> Tensor:
        """States [B, L, width]."""
        return self.encoder.to(tokens.device)(tokens)

    def pool(self, states: Tensor, tokens: Tensor) -> Tensor:
        """Mean over all tokens, [CLS] and [SEP] included.

        The state of [CLS] says something of the caption only where an encoder was trained to make it do so, and may be
        the same for all captions otherwise: after three layers of MiniLM, whose own vectors are means, it is.
        """
        return mean_state(states, tokens != self.encoder.tokenizer.pad_token_id)


class FrozenTransformer(FrozenText):
    """An unchanged ``TransformerEncoder``.

    The states of ``captions`` are kept from the first training step on, in float16: 768 bytes per token of width 384.
    """

    def __init__(self, weights: str, max_words: int, captions: list[str]):
        super().__init__(TransformerEncoder(weights, max_words))
        self._captions = captions
        self._states: dict[bytes, Tensor] = {}

    def forward(self, tokens: Tensor) -> Tensor:
        """States [B, L, width]; those of padding are zero."""
        if not self.training:
            return self._encode(tokens)
        if not self._states:
            self._keep(tokens.device)
        kept = [self._states[_key(row)] for row in tokens.cpu()]
        states = pad_sequence(kept, batch_first=True).to(tokens.device).float()
        return torch.nn.functional.pad(states, (0, 0, 0, tokens.shape[1] - states.shape[1]))

    def _encode(self, tokens: Tensor) -> Tensor:
        return super().forward(tokens) * (tokens != self._padding)[..., None]

    def _keep(self, device: torch.device) -> None:
        # In a fixed order and fixed batches, so that a resumed run gets exactly the same states.
        captions = sorted(set(self._captions), key=lambda caption: (len(caption), caption))
        for start in range(0, len(captions), BATCH):
            tokens = self.tokenize(captions[start : start + BATCH])
            states = self._encode(tokens.to(device)).half().cpu()
            for row, of_row in zip(tokens, states, strict=True):
                self._states[_key(row)] = of_row[: int((row != self._padding).sum())].clone()

    @property
    def _padding(self) -> int:
        return int(self.encoder.tokenizer.pad_token_id)


def _key(row: Tensor) -> bytes:
    """Tokens [L] of one caption without the padding, which depends on the batch."""
    return row[: int(row.nonzero().max()) + 1].numpy().tobytes()
