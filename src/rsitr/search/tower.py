"""The text tower that runs in a page: a bag of words and one hidden layer, taught by the tower of the shipped model.

Its embeddings are in the space of the shipped model, so that a page searches the embeddings of pictures that
``rsitr search`` has made. It is small enough, and simple enough, for a page to compute it from its numbers, without a
runtime for models (``site/pages/tower.js``).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from rsitr.captions.words import PAD, UNKNOWN, Vocabulary, words
from rsitr.records.files import write_text
from rsitr.records.weights import write_weights

FOLDER = Path(__file__).with_name("model") / "page"
WEIGHTS, WORDS = "tower.safetensors", "words.txt"
VECTORS = "words.weight"
SIZE, HIDDEN = 64, 512
"""Of a word vector, and of the hidden layer."""


class PageTower(nn.Module):
    """Texts to embeddings of unit length. Words that it does not know are passed over."""

    def __init__(self, vocabulary: Vocabulary, width: int, size: int = SIZE, hidden: int = HIDDEN):
        super().__init__()
        self.vocabulary = vocabulary
        self.words = nn.EmbeddingBag(len(vocabulary), size, mode="mean", padding_idx=PAD)
        self.hidden = nn.Linear(size, hidden)
        self.out = nn.Linear(hidden, width)
        with torch.no_grad():
            self.words.weight[UNKNOWN] = 0

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Indices [B, L] of the known words; of a text without one, that of an unknown word."""
        index = self.vocabulary.index
        rows = [[index[word] for word in words(text) if word in index] or [UNKNOWN] for text in texts]
        return nn.utils.rnn.pad_sequence([*map(torch.tensor, rows)], batch_first=True, padding_value=PAD)

    def forward(self, tokens: Tensor) -> Tensor:
        """Embeddings [B, width] of unit length."""
        return F.normalize(self.out(F.relu(self.hidden(self.words(tokens)))), dim=1)

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Embeddings [B, width] of texts."""
        return self(self.tokenize(texts))


def write_tower(tower: PageTower, folder: Path = FOLDER) -> str:
    """Write words and numbers, word vectors in eight bits and the rest in half precision; returns their SHA-256."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / WORDS, "\n".join(tower.vocabulary.index) + "\n")
    small = {name: value.half() for name, value in tower.state_dict().items()}
    small[VECTORS] = tower.words.weight.to(torch.float8_e4m3fn)
    return write_weights(folder / WEIGHTS, small, "tower", "rsitr search")


def load_tower(folder: Path = FOLDER) -> PageTower:
    """The tower of a folder, in float32."""
    weights = {name: value.float() for name, value in load_file(folder / WEIGHTS).items()}
    vocabulary = Vocabulary((folder / WORDS).read_text(encoding="utf-8").split())
    hidden, size = weights["hidden.weight"].shape
    tower = PageTower(vocabulary, len(weights["out.bias"]), size, hidden)
    tower.load_state_dict(weights)
    return tower.eval()
