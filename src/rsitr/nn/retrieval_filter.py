"""The network of MTGFE's retrieval filter, arranged so that a pair costs little, and how far it is from a teacher.

MTGFE (2023), section 3.4 and Fig. 5.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from rsitr.nn.losses import same_image


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


def pair_divergence(scores: Tensor, teacher: Tensor) -> Tensor:
    """Eq. 9: KL divergence of the student's two outputs from the teacher's, a mean over pairs, in nats.

    ``scores`` and ``teacher`` are log-odds of a match, of any shape.
    """
    certain = teacher.sigmoid()
    return (F.binary_cross_entropy_with_logits(scores, certain, reduction="none") - _entropy(teacher)).mean()


def _entropy(logits: Tensor) -> Tensor:
    """Of a match with the given log-odds."""
    return F.binary_cross_entropy_with_logits(logits, logits.sigmoid(), reduction="none")


def pair_entropy(scores: Tensor, image_ids: Tensor) -> Tensor:
    """Eq. 10: cross-entropy with the truth, a mean over all pairs; ``scores`` [B, B] are log-odds of a match."""
    return F.binary_cross_entropy_with_logits(scores, same_image(image_ids).to(scores.dtype))
