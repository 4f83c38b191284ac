"""Filters of two-stage retrieval, taught by an expensive scorer: MTGFE's retrieval filter, and a dual encoder.

MTGFE (2023), section 3.4 and Fig. 5: the divergence from the teacher's scores, and .2 of the cross-entropy with the
truth.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from rsitr.errors import ParamsError
from rsitr.methods.base import Batch, Corpus, Method, Optimizer, Schedule, TrainingConfig, method, those
from rsitr.methods.distillation import DistillationConfig
from rsitr.methods.dual_encoder import DualEncoder, DualEncoderConfig
from rsitr.nn.losses import contrastive_loss, distillation_loss, temperature_parameter
from rsitr.nn.text import TextEncoder, mean_state


class FilterConfig(TrainingConfig, DistillationConfig):
    """The training of MTGFE's section 4.5: batches of 128, 30 epochs, the optimiser of its teacher (4.2).

    A teacher that interacts scores all pairs of a batch in every step, which takes a GPU no time; on a laptop keep the
    batch small (16), since the cost of a step grows with its square.
    """

    epochs: int = Field(30, ge=1)
    batch_size: int = Field(128, ge=2)
    optimizer: Optimizer = "adamw"
    learning_rate: float = Field(1e-4, gt=0)
    weight_decay: float = Field(0.02, ge=0)
    schedule: Schedule = "cosine"
    warmup_steps: int | None = Field(1000, ge=1)
    augment: Literal["none", "crop-flip", "randaugment", "rotate-crop"] = "none"
    """The teacher sees images as they are, and scores what it sees."""
    teacher: str = "mtgfe"
    """The expensive scorer, with its variant, of the same experiment."""
    distillation_temperature: float = Field(1.0, gt=0)
    """Divisor that turns the teacher's scores into log-odds of a match or logits: far below 1 for cosines."""
    truth: float = Field(0.2, ge=0)
    """Weight of the cross-entropy with the truth, next to the divergence: alpha of Eq. 11."""
    compare: Literal["pairs", "lists"] = "pairs"
    """``pairs``: match or no match of each pair of the batch (Eqs. 9 and 10), for teachers whose score is the log-odds
    of a match. ``lists``: which caption an image has and which image a caption has, for any teacher."""


def filter_tasks(scores: Tensor, batch: Batch, config: FilterConfig, shift: Tensor | float = 0.0) -> dict[str, Tensor]:
    """The parts of Eq. 11, weighted; ``scores`` [B, B] are logits, to which ``shift`` is added where pairs are
    compared."""
    scores = scores.float()
    pairs = config.compare == "pairs"
    if pairs:
        truth = pair_entropy(scores + shift, batch.positives)
    else:
        truth = contrastive_loss(scores, batch.positives, scores.new_ones(()))
    if not config.teacher:
        return {"truth": truth}
    assert batch.teacher is not None
    teacher = batch.teacher / config.distillation_temperature
    soft = pair_divergence(scores + shift, teacher) if pairs else distillation_loss(scores, teacher, 1.0)
    return {"distillation": config.distillation * soft, "truth": config.truth * truth}


def pair_divergence(scores: Tensor, teacher: Tensor) -> Tensor:
    """Eq. 9: KL divergence of the student's two outputs from the teacher's, a mean over pairs, in nats.

    ``scores`` and ``teacher`` are log-odds of a match, of any shape.
    """
    certain = teacher.sigmoid()
    cross, entropy = (
        F.binary_cross_entropy_with_logits(logits, certain, reduction="none") for logits in (scores, teacher)
    )
    return (cross - entropy).mean()


def pair_entropy(scores: Tensor, positives: Tensor) -> Tensor:
    """Eq. 10: cross-entropy with the truth, a mean over all pairs; ``scores`` [B, B] are log-odds of a match."""
    return F.binary_cross_entropy_with_logits(scores, positives.to(scores.dtype))


class PairMLP(nn.Module):
    """Three linear layers on the class features of an image and a text, the first two with batch norm and ReLU.

    A linear layer on two concatenated vectors is the sum of a layer on each. These sums are what comes in, computed
    once for each image and each text. The output is the log-odds of a match, the difference of the two outputs of the
    paper's last layer.
    """

    def __init__(self, hidden: int):
        super().__init__()
        self.first_norm = nn.BatchNorm1d(hidden)
        self.second = nn.Linear(hidden, hidden)
        self.second_norm = nn.BatchNorm1d(hidden)
        self.last = nn.Linear(hidden, 2)

    def forward(self, images: Tensor, texts: Tensor) -> Tensor:
        """Log-odds [I, C] of the first layer's parts [I, H] and [C, H]; in training batch norms are over all pairs."""
        if self.training:
            pairs = (images[:, None] + texts[None]).flatten(0, 1)
            hidden = F.relu(self.second_norm(self.second(F.relu(self.first_norm(pairs)))))
            return self._difference(hidden).unflatten(0, (len(images), len(texts)))
        # In evaluation batch norms only scale and shift: the first is folded into the parts, the second into its layer.
        scale, shift = _affine(self.first_norm)
        hidden = F.relu((images * scale + shift)[:, None] + (texts * scale)[None])
        scale, shift = _affine(self.second_norm)
        second = F.linear(hidden, self.second.weight * scale[:, None], self.second.bias * scale + shift)
        return self._difference(F.relu(second))

    def _difference(self, hidden: Tensor) -> Tensor:
        """Of a match and no match, [..., H] -> [...]."""
        return hidden @ (self.last.weight[1] - self.last.weight[0]) + (self.last.bias[1] - self.last.bias[0])


def _affine(norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """Scale and shift [H] of a batch norm in evaluation."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
    return scale, norm.bias - norm.running_mean * scale


class RetrievalFilterConfig(FilterConfig):
    """Defaults of section 4.5; the paper does not say how wide the hidden layers are."""

    image_pool: Literal["mean", "first"] = "first"
    """What stands for an image: v_cls, the first of the teacher's tokens, or their mean where none is a class token."""
    text_pool: Literal["mean", "first"] = "first"
    """What stands for a caption: w_cls, or the mean of the tokens where the teacher's [CLS] has not learned to."""
    width: int = Field(256, ge=1)
    """Of both hidden layers."""


@method("retrieval-filter")
class RetrievalFilter(Method):
    """Retrieval filter of MTGFE ("A Fusion Encoder with Multi-Task Guided for Cross-Modal Text-Image Retrieval in
    Remote Sensing", 2023): section 3.4, Eqs. 9-11, Fig. 5; section 4.5 and Table 4 for its use (``two_stage``).

    Input: v_cls and w_cls, the class features of the teacher's image encoder and text encoder, side by side. The
    encoders are the teacher's own, a part of this method that does not learn. Three linear layers, the first two with
    batch norm and ReLU, two outputs; the score is the log-odds of a match. The first layer is the sum of an image part
    and a text part; these are the encodings of the two sides, so a pair costs an addition and two small products.
    """

    Config: ClassVar[type[RetrievalFilterConfig]] = RetrievalFilterConfig
    holds_teacher: ClassVar[bool] = True
    config: RetrievalFilterConfig

    def __init__(self, config: RetrievalFilterConfig, teacher: Method, width: int):
        """``teacher`` encodes images and captions with ``width`` numbers each; what else it has is taken off."""
        super().__init__()
        self.config, self.pixels = config, teacher.pixels
        for part in teacher.scores_by:
            teacher._modules.pop(part, None)
        self.teacher = teacher.eval().requires_grad_(False)
        self.image_head = nn.Linear(width, config.width)
        self.text_head = nn.Linear(width, config.width, bias=False)
        self.pair = PairMLP(config.width)

    @classmethod
    def build(cls, config: Any, corpus: Corpus) -> Self:
        """Raises ``ParamsError`` without a teacher."""
        teacher = corpus.teacher
        if teacher is None:
            raise ParamsError(f"{cls.name} looks at the features of its teacher: set teacher to a method of the matrix")
        with torch.no_grad():
            encoded = teacher.eval().encode_texts(teacher.tokenize(["any"]))
        return cls(config, teacher, encoded.shape[-1])

    @property
    def departures(self) -> list[str]:
        """What it looks at and learns from."""
        config = self.config
        found = {
            "mean of the image tokens instead of v_cls (section 3.4)": config.image_pool == "mean",
            "mean of the caption's tokens instead of w_cls (section 3.4)": config.text_pool == "mean",
            "all pairs of a batch; section 3.4 says only that teacher and filter see the same": True,
            "gradients clipped, of which the paper says nothing": config.clip_norm,
        }
        return [*super().departures, *those(found)]

    @property
    def backbone(self) -> nn.Module:  # type: ignore[override]
        """The teacher's."""
        return self.teacher.backbone

    @property
    def fixed(self) -> tuple[str, ...]:
        """All of the teacher."""
        return ("teacher.",)

    def adopt(self, teacher: Method) -> None:
        """The weights of its encoders."""
        own = self.teacher.state_dict()
        self.teacher.load_state_dict({name: value for name, value in teacher.state_dict().items() if name in own})

    def learned_state(self) -> dict[str, Tensor]:
        """Its layers, and what the teacher's encoders have learned."""
        taught = {f"teacher.{name}": value for name, value in self.teacher.learned_state().items()}
        return super().learned_state() | taught

    def encode_images(self, images: Tensor) -> Tensor:
        """The image's part of the first layer [B, width], a linear layer of v_cls."""
        with torch.no_grad():
            seen = pooled(self.teacher.encode_images(images), self.config.image_pool)
        return self.image_head(seen)

    def tokenize(self, captions: list[str]) -> Tensor:
        """As its teacher."""
        return self.teacher.tokenize(captions)

    def encode_texts(self, tokens: Tensor) -> Tensor:
        """The text's part of the first layer [B, width], a linear layer of w_cls."""
        with torch.no_grad():
            read = pooled(self.teacher.encode_texts(tokens), self.config.text_pool)
        return self.text_head(read)

    def score(self, images: Tensor, texts: Tensor) -> Tensor:
        """Log-odds of a match [I, C]."""
        return self.pair(images, texts).float()

    def pair_numbers(self, fragments: int, words: int, width: int) -> int:
        """Both hidden layers."""
        return 2 * width

    def loss(self, batch: Batch) -> Tensor:
        """Eq. 11 over all pairs of the batch."""
        return self.total(**filter_tasks(self.batch_scores(batch), batch, self.config))


def pooled(encoded: Tensor, how: Literal["mean", "first"]) -> Tensor:
    """One vector [B, D] of fragments [B, N, D], zero where one only pads; of vectors themselves."""
    if encoded.ndim == 2:
        return encoded
    return encoded[:, 0] if how == "first" else mean_state(encoded, encoded.any(2))


class DistilledDualConfig(FilterConfig, DualEncoderConfig):
    """Towers of MTGFE's kind, trained like its filter but by comparing lists: a cosine is not the log-odds of a
    match. Without a teacher it learns from the truth alone."""

    image_backbone: str = "vit_base_patch16_224"
    image_pool: Literal["mean", "first"] = "first"
    text_encoder: Literal["gru", "bigru", "transformer"] = "transformer"
    text_weights: str = "google-bert/bert-base-uncased"
    compare: Literal["pairs", "lists"] = "lists"
    width: int = Field(512, ge=1)
    """Of the embedding."""
    temperature: float = Field(0.07, gt=0)
    """Initial; it is learned."""


@method("distilled-dual")
class DistilledDual(DualEncoder):
    """Our alternative to the retrieval filter of MTGFE (2023), section 3.4: same teacher, same losses (Eqs. 9-11), no
    pass over pairs at all.

    Each tower is a backbone and one linear layer, L2, as in VSE (PIR, 2024, section V-D1); the cosine, divided by a
    learned temperature, is the student's logit. Where pairs are compared (``compare: pairs``), a learned number is
    added to make it the log-odds of a match. A shortlist is then a search for the nearest embeddings, which any index
    can do.
    """

    Config: ClassVar[type[DistilledDualConfig]] = DistilledDualConfig
    config: DistilledDualConfig

    def __init__(self, config: DistilledDualConfig, text: TextEncoder):
        super().__init__(config, text)
        self.text_head = nn.Linear(text.width, config.width)
        self.log_temperature = temperature_parameter(config.temperature)
        if config.compare == "pairs":
            # In a batch one caption per image matches: a student that knows nothing starts with these odds.
            self.shift = nn.Parameter(torch.tensor(-math.log(config.batch_size)))

    def encode_texts(self, tokens: Tensor) -> Tensor:
        """Embeddings [B, width] of unit length."""
        return F.normalize(self.text_head(self.text.pool(self.text(tokens), tokens)), dim=1)

    def loss(self, batch: Batch) -> Tensor:
        """Eq. 11 over the batch, of lists or of pairs."""
        cosines = self.batch_scores(batch).float()
        shift = self.shift if self.config.compare == "pairs" else 0.0
        return self.total(**filter_tasks(cosines / self.log_temperature.exp(), batch, self.config, shift))
