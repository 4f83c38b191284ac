"""Filters of two-stage retrieval, taught by an expensive scorer: MTGFE's retrieval filter, and a dual encoder.

MTGFE (2023), section 3.4 and Fig. 5: the divergence from the teacher's scores, and .2 of the cross-entropy with the
truth.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from rsitr.methods.base import Batch, method
from rsitr.methods.distillation import DistillationConfig
from rsitr.methods.dual_encoder import DualEncoder, DualEncoderConfig
from rsitr.nn.losses import contrastive_loss, distillation_loss, same_image, temperature_parameter
from rsitr.nn.text import TextEncoder


class FilterConfig(DualEncoderConfig, DistillationConfig):
    """MTGFE's encoders, and the training of its section 4.5: batches of 128, 30 epochs.

    A teacher that interacts scores all pairs of a batch in every step, which takes a GPU no time; on a laptop keep the
    batch small (16), since the cost of a step grows with its square.
    """

    epochs: int = Field(30, ge=1)
    batch_size: int = Field(128, ge=2)
    optimizer: Literal["adam", "adamw"] = "adamw"
    learning_rate: float = Field(1e-4, gt=0)
    weight_decay: float = Field(0.02, ge=0)
    schedule: Literal["step", "linear", "cosine"] = "cosine"
    augment: Literal["none", "crop-flip", "randaugment", "rotate-crop"] = "none"
    """The teacher sees images as they are, and scores what it sees."""
    image_backbone: str = "vit_base_patch16_224"
    image_pool: Literal["mean", "first"] = "first"
    text_encoder: Literal["gru", "bigru", "transformer"] = "transformer"
    text_weights: str = "google-bert/bert-base-uncased"
    teacher: str = "mtgfe"
    """The expensive scorer, with its variant, of the same experiment. Empty for learning from the truth alone."""
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
        truth = pair_entropy(scores + shift, batch.image_ids)
    else:
        truth = contrastive_loss(scores, batch.image_ids, scores.new_ones(()))
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


def pair_entropy(scores: Tensor, image_ids: Tensor) -> Tensor:
    """Eq. 10: cross-entropy with the truth, a mean over all pairs; ``scores`` [B, B] are log-odds of a match."""
    return F.binary_cross_entropy_with_logits(scores, same_image(image_ids).to(scores.dtype))


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

    width: int = Field(256, ge=1)
    """Of both hidden layers."""


@method("retrieval-filter")
class RetrievalFilter(DualEncoder):
    """Retrieval filter of MTGFE ("A Fusion Encoder with Multi-Task Guided for Cross-Modal Text-Image Retrieval in
    Remote Sensing", 2023): section 3.4, Eqs. 9-11, Fig. 5; section 4.5 and Table 4 for its use (``two_stage``).

    Input: v_cls, the class token of the image encoder, and w_cls, that of the text encoder, side by side; a mean-pooled
    backbone or a GRU gives its pooled vector. Three linear layers, the first two with batch norm and ReLU, two outputs;
    the score is the log-odds of a match. The first layer is the sum of an image part and a text part; these are the
    encodings of the two sides, so a pair costs an addition and two small products.

    In the paper the student has the unimodal encoders of its teacher. Here they are its own, of the same kind: the same
    image encoder where both keep a pretrained one frozen, and a whole text encoder where the teacher has half of one.
    """

    Config: ClassVar[type[RetrievalFilterConfig]] = RetrievalFilterConfig
    config: RetrievalFilterConfig

    def __init__(self, config: RetrievalFilterConfig, text: TextEncoder):
        super().__init__(config, text)
        self.text_head = nn.Linear(text.width, config.width, bias=False)
        self.pair = PairMLP(config.width)

    @property
    def departures(self) -> list[str]:
        """What it looks at."""
        own = ["encoders of its own instead of its teacher's features (section 3.4)"]
        pooled = ["mean over the tokens of a frozen text encoder instead of w_cls (section 3.4)"]
        return own + (pooled if self.config.freeze_text else [])

    def encode_images(self, images: Tensor) -> Tensor:
        """The image's part of the first layer [B, width]."""
        return self.image_head(self.pool_image(images))

    def encode_texts(self, tokens: Tensor) -> Tensor:
        """The text's part of the first layer [B, width]."""
        return self.text_head(self.text.pool(self.text(tokens), tokens))

    def score(self, images: Tensor, texts: Tensor) -> Tensor:
        """Log-odds of a match [I, C]."""
        return self.pair(images, texts).float()

    def pair_numbers(self, fragments: int, words: int, width: int) -> int:
        """Both hidden layers."""
        return 2 * width

    def loss(self, batch: Batch) -> Tensor:
        """Eq. 11 over all pairs of the batch."""
        return self.total(**filter_tasks(self.batch_scores(batch), batch, self.config))


class DistilledDualConfig(FilterConfig):
    """Like the retrieval filter, but comparing lists instead of pairs: a cosine is not the log-odds of a match."""

    compare: Literal["pairs", "lists"] = "lists"
    width: int = Field(512, ge=1)
    """Of the embedding."""
    temperature: float = Field(0.07, gt=0)
    """Initial; it is learned."""


@method("distilled-dual")
class DistilledDual(DualEncoder):
    """Our alternative to the retrieval filter of MTGFE (2023), section 3.4: same teacher, same losses (Eqs. 9-11), no
    pass over pairs at all.

    Each tower is a backbone and one linear layer, L2, as in VSE (PIR, 2024, section V-A); the cosine, divided by a
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
