"""Text encoders that do not learn; of one, each training caption is encoded once."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from rsitr.nn.text import TextEncoder, TransformerEncoder

BATCH = 256


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

    def tokenize(self, captions: list[str]) -> Tensor:
        """Word-piece indices [B, L]."""
        return self.encoder.tokenize(captions)

    @torch.no_grad()
    def forward(self, tokens: Tensor) -> Tensor:
        """States [B, L, width]."""
        return self.encoder.to(tokens.device)(tokens)

    def pool(self, states: Tensor, tokens: Tensor) -> Tensor:
        """State of the first token, [CLS]."""
        return self.encoder.pool(states, tokens)


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
