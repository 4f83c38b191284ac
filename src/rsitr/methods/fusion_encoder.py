"""The frame that ``mtgfe`` and ``envlf`` share: image tokens, the lower half of a BERT for captions, and its upper half
with cross-attention to the image, which scores every pair (MTGFE: X. Zhang et al., 2023, sections 3.1 and 3.2).
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Self

from pydantic import Field
from torch import Tensor, nn

from rsitr.methods.base import Batch, Corpus, Method, Optimizer, Schedule, token_images
from rsitr.methods.dual_encoder import ImageTowerConfig, backbone_arguments, chosen_weights
from rsitr.nn.backbones import ImageBackbone
from rsitr.nn.bert_halves import RANDOM, Halves, RandomTransformer, halves
from rsitr.nn.fusion import FusionEncoder, Gallery, Memory, score_captions
from rsitr.nn.fusion_tasks import MatchingHead, Pairs, WordHead, draw_pairs, mask_words
from rsitr.nn.text import FrozenText, TransformerEncoder, word_head


class FusionConfig(ImageTowerConfig):
    """Which image model and which BERT, and MTGFE's training (section 4.2)."""

    epochs: int = Field(60, ge=1)
    batch_size: int = Field(32, ge=2)
    optimizer: Optimizer = "adamw"
    learning_rate: float = Field(1e-4, gt=0)
    weight_decay: float = Field(0.02, ge=0)
    schedule: Schedule = "cosine"
    warmup_steps: int | None = Field(1000, ge=1)
    text_weights: str = "google-bert/bert-base-uncased"
    """Of a BERT: a repository of the hub, path, mirror://path, package://name/path, or ``none`` for random ones."""
    text_options: dict[str, Any] = Field({})
    """Of a BERT with random weights: arguments of transformers.BertConfig."""
    min_count: int = Field(1, ge=1)
    """Words rarer than this in the training captions are unknown to a BERT with random weights."""
    text_layers: int | None = Field(None, ge=1)
    """Layers that read only the caption; None for half of them. The others are the fusion encoder."""
    freeze_text: bool = False
    """Keep the layers that read only the caption fixed, and the word vectors with them."""
    max_words: int = Field(64, ge=1)
    """How many word pieces of a caption are read, as far as the BERT has positions for them."""


class FusionMethod(Method):
    """Images and captions are fragments, compared by the matching score of a fusion encoder."""

    Config: ClassVar[type[FusionConfig]] = FusionConfig
    scores_by: ClassVar[tuple[str, ...]] = ("fusion", "matching", "words")
    config: FusionConfig
    backbone: ImageBackbone
    words: WordHead
    """Of a method that guesses masked words: it begins as that of the BERT, where its weights have one."""

    def __init__(self, config: FusionConfig, bert: Halves):
        super().__init__()
        self.config = config
        self.backbone = ImageBackbone(**backbone_arguments(config))
        self.pixels = self.backbone.pixels
        self.shape = bert.shape
        self.text: TransformerEncoder | FrozenText = FrozenText(bert.text) if config.freeze_text else bert.text
        self.fusion = FusionEncoder(bert.upper, bert.shape)
        width = bert.shape.hidden_size
        self.matching = MatchingHead(width)
        # A ViT-B with a BERT-base needs none (section 4.2: both are 768 wide).
        self.image_head: nn.Module = nn.Identity()
        if self.backbone.width != width:
            self.image_head = nn.Sequential(nn.Linear(self.backbone.width, width), nn.LayerNorm(width))

    @classmethod
    def build(cls, config: Any, corpus: Corpus) -> Self:
        """Raises ``WeightsMismatch`` or ``ParamsError`` where weights or options do not make a BERT with two halves."""
        if config.text_weights == RANDOM:
            options = (config.text_options, corpus.captions, config.min_count, config.max_words, corpus.words)
            return cls(config, halves(RandomTransformer(*options), config.text_layers))
        encoder = TransformerEncoder(config.text_weights, config.max_words)
        built = cls(config, halves(encoder, config.text_layers))
        words: WordHead | None = getattr(built, "words", None)
        if words and (trained := word_head(config.text_weights)):
            words.take(trained)
        return built

    @property
    def departures(self) -> list[str]:
        """Weights that timm chooses, and what the papers do not speak of."""
        clipped = ["gradients clipped, of which the paper says nothing"] if self.config.clip_norm else []
        return [*super().departures, *chosen_weights(self.config), *clipped]

    @property
    def reader(self) -> TransformerEncoder:
        """The lower half with its tokenizer."""
        return self.text.encoder if isinstance(self.text, FrozenText) else self.text

    def encode_images(self, images: Tensor) -> Tensor:
        """S [B, N, D]: the tokens of the backbone, as wide as the BERT."""
        return self.image_head(token_images(images, self.backbone))

    def tokenize(self, captions: list[str]) -> Tensor:
        """Word-piece indices [B, L] with [CLS] and [SEP].

        A caption longer than ``max_words`` or the table of positions is cut there; unknown characters are [UNK].
        """
        return self.reader.tokenize(captions)

    def encode_texts(self, tokens: Tensor) -> Tensor:
        """W [B, L, D]: the states of the lower half; those of padding are zero."""
        return self.text(tokens) * (tokens != 0)[..., None]

    def gallery(self, images: Tensor) -> Gallery | Tensor:
        """Their keys and values, where these fit into memory."""
        return self.fusion.gallery(images)

    def score(self, images: Tensor | Gallery, texts: Tensor) -> Tensor:
        """Log-odds of a match [I, C], from the fusion encoder for every pair."""
        return score_captions(self.fusion, self.matching, images, texts)

    def pair_numbers(self, fragments: int, words: int, width: int) -> int:
        """The states of a pair's caption; anything larger is computed in parts of its own size."""
        return words * width

    def draw(self, batch: Batch, scores: Tensor | None = None) -> Pairs:
        """The pairs of a batch that matching learns from, as ``draw_pairs``."""
        return draw_pairs(batch.positives, scores)

    def fuse(self, texts: Tensor, tokens: Tensor, memory: list[Memory], pairs: Pairs) -> Tensor:
        """u_cls [P, D] of pairs of a batch; ``texts`` [B, L, D] are the states of ``tokens`` [B, L]."""
        answers = [layer.of(pairs.images) for layer in memory]
        padding = (tokens == 0)[pairs.texts][:, None]
        return self.fusion(texts[pairs.texts][:, None], answers, padding, first_only=True)[:, 0]

    def word_loss(self, tokens: Tensor, memory: list[Memory]) -> Tensor:
        """L_mlm (Eq. 3): masked captions go through both halves, with their images."""
        masked = mask_words(tokens, self.reader.tokenizer)
        states, padding = self.encode_texts(masked.tokens)[:, None], (tokens == 0)[:, None]
        fused = self.fusion(states, memory, padding)[:, 0]
        vectors = self.reader.model.embeddings.word_embeddings.weight
        return self.words.loss(fused[masked.chosen], tokens[masked.chosen], vectors)

    def word_attention(self, images: Tensor, tokens: Tensor, layer: int | None = None) -> Tensor:
        """What each token of its caption looks at in an image (Figs. 6 and 7): [B, L, h, w], sum 1 over the image.

        Mean over the heads of one fusion layer, by default the second to last, like the fifth of six in section 4.4. A
        class token of the backbone is left out; the others form a square.
        """
        layer = max(0, len(self.fusion.layers) - 2) if layer is None else layer
        maps = []
        for image, row in zip(self.encode_images(images), tokens, strict=True):
            used = row[: int((row != 0).sum())][None]
            memory = self.fusion.memory(image[None])
            found = self.fusion.attention(self.encode_texts(used)[None], memory, layer)[0, 0]
            maps.append(nn.functional.pad(found, (0, 0, 0, len(row) - len(found))))
        return squares(nn.utils.rnn.pad_sequence(maps, batch_first=True))

    def pieces(self, tokens: Tensor) -> list[list[str]]:
        """The word pieces of captions [B, L], [CLS] among them (section 4.4.1), an empty one for [SEP] and [PAD]."""
        tokenizer: Any = self.reader.tokenizer
        marks = {tokenizer.sep_token_id, tokenizer.pad_token_id}
        return [
            ["" if token in marks else tokenizer.convert_ids_to_tokens(token) for token in row]
            for row in tokens.tolist()
        ]


def squares(weights: Tensor) -> Tensor:
    """[B, L, h, w], sum 1, of weights [B, L, N] on a square of tokens, after a class token where one is left over."""
    side = math.isqrt(weights.shape[-1])
    grid = weights[..., weights.shape[-1] - side**2 :]
    total = grid.sum(-1, keepdim=True)
    return (grid / total.where(total > 0, 1)).unflatten(-1, (side, side))
