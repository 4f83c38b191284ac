"""A BERT in two halves: the lower one reads captions, the upper one is what a fusion encoder starts from.

MTGFE (X. Zhang et al., 2023, sections 3.1.2 and 3.2) splits BERT-base into 6 + 6 layers; a MiniLM of 6 becomes 3 + 3.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import nn

from rsitr.captions.words import Vocabulary
from rsitr.errors import ParamsError, WeightsMismatch
from rsitr.nn.text import TextEncoder, TransformerEncoder

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
RANDOM = "none"
"""Instead of a location of weights."""


class Halves(NamedTuple):
    """A BERT with random or pretrained weights, split."""

    text: TransformerEncoder
    """The embeddings and the lower layers."""
    upper: list[nn.Module]
    """The other layers, as transformers has them (``BertLayer``)."""
    shape: Any
    """Its ``BertConfig``: sizes, heads, dropout."""


def halves(encoder: TransformerEncoder, text_layers: int | None) -> Halves:
    """Take the upper layers off ``encoder``; ``text_layers`` stay, or half of them if it is None.

    Raises ``WeightsMismatch`` for a model that is not a BERT, ``ParamsError`` unless each half gets a layer.
    """
    shape: Any = encoder.model.config
    if shape.model_type != "bert":
        raise WeightsMismatch(f"text_weights name a {shape.model_type}, only a BERT (or MiniLM) can be split")
    layers = list(encoder.model.encoder.layer)
    kept = len(layers) // 2 if text_layers is None else text_layers
    if not 0 < kept < len(layers):
        raise ParamsError(f"text_layers {kept} of {len(layers)} leaves a half empty: set it to 1 ... {len(layers) - 1}")
    encoder.model.encoder.layer = nn.ModuleList(layers[:kept])
    return Halves(encoder, layers[kept:], shape)


class RandomTransformer(TransformerEncoder):
    """A BERT with random weights whose vocabulary is the words of the training captions.

    ``options`` are arguments of ``transformers.BertConfig``. Every other word is [UNK]. Raises ``ParamsError`` for
    options that do not make a BERT.
    """

    def __init__(
        self, options: dict[str, Any], captions: list[str], min_count: int, max_words: int, words: Sequence[str] = ()
    ):
        """``words`` are the vocabulary where it is known, whatever the captions."""
        TextEncoder.__init__(self)
        from transformers import BertConfig, BertModel, BertTokenizer

        words = words or _words(BertTokenizer(vocab=_numbered(SPECIAL)), captions, min_count)
        self.vocabulary, known = Vocabulary(words), [*SPECIAL, *words]
        self.tokenizer = BertTokenizer(vocab=_numbered(known))
        try:
            self.model = BertModel(BertConfig(vocab_size=len(known), **options), add_pooling_layer=False)
        except (ValueError, TypeError) as error:
            raise ParamsError(f"text_options make no BERT: {error}") from None
        self.max_tokens = min(max_words + 2, self.model.config.max_position_embeddings)
        self.width = self.model.config.hidden_size


def _numbered(words: Any) -> dict[str, int]:
    return {word: number for number, word in enumerate(words)}


def _words(tokenizer: Any, captions: list[str], min_count: int) -> list[str]:
    """What the tokenizer splits captions into, most frequent first, ties in alphabetical order."""
    backend = tokenizer.backend_tokenizer
    split = (backend.pre_tokenizer.pre_tokenize_str(backend.normalizer.normalize_str(text)) for text in captions)
    counts = Counter(word for caption in split for word, _ in caption)
    return sorted((word for word in counts if counts[word] >= min_count), key=lambda word: (-counts[word], word))
