"""The loss in blocks against a case worked out by hand, torch's cross entropy, and open_clip's loss."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from open_clip import ClipLoss
from torch import Tensor
from torch.nn import functional as F

from rsitr.pretraining.loss import contrastive


def drawn(rows: int = 37, width: int = 8, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """Images, texts and scale, all with gradients."""
    draw = torch.Generator().manual_seed(0)
    images, texts = (F.normalize(torch.randn(rows, width, generator=draw, dtype=dtype), dim=1) for _ in range(2))
    return [part.requires_grad_() for part in (images, texts, torch.tensor(14.0, dtype=dtype))]


def plain(images: Tensor, texts: Tensor, scale: Tensor) -> Tensor:
    """With the whole matrix."""
    scores, right = scale * images @ texts.t(), torch.arange(len(images))
    return (F.cross_entropy(scores, right) + F.cross_entropy(scores.t(), right)) / 2


def test_by_hand():
    """Scores [[ln 3, 0], [0, 0]]: rows and columns cost ln(4/3) and ln 2 each."""
    images, texts = torch.tensor([[1.0, 0.0], [0.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    scale = torch.tensor(math.log(3), requires_grad=True)
    images.requires_grad_()
    loss = contrastive(images, texts, scale, slice(0, 2))
    assert loss.item() == pytest.approx((math.log(4 / 3) + math.log(2)) / 2, abs=1e-7)
    loss.backward()
    # The gradient of the scores on the diagonal is (softmax of its row + softmax of its column - 2) / 4.
    assert scale.grad.item() == pytest.approx((0.75 + 0.75 - 2) / 4, abs=1e-7)
    expected = torch.tensor([[-0.5, 0.25 + 0.5], [0.25 + 0.5, -1.0]]) / 4 * math.log(3)
    assert torch.allclose(images.grad, expected, atol=1e-7)


@pytest.mark.parametrize("block", [1, 5, 36, 37, 1000])
@pytest.mark.parametrize("parts", [[37], [12, 25], [0, 1, 36], [9, 9, 9, 10]])
def test_it_is_the_cross_entropy_of_the_whole_matrix(block, parts):
    """In double precision, for blocks that divide the rows or do not, and rows divided over processes."""
    expected, whole = drawn(), plain(*drawn())
    plain(*expected).backward()
    found, ends = drawn(), torch.tensor([0, *parts]).cumsum(0).tolist()
    slices = [slice(start, stop) for start, stop in pairwise(ends)]
    columns = torch.cat([(found[2] * found[0][own] @ found[1].t()).logsumexp(0)[None] for own in slices]).detach()
    loss = sum(contrastive(*found, own, lambda part: columns, block) for own in slices)
    loss.backward()
    assert loss.item() == pytest.approx(whole.item(), abs=1e-12)
    assert all(torch.allclose(a.grad, b.grad, atol=1e-13) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("block", [64, 1024])
def test_it_is_open_clips_in_single_precision(block):
    expected, found = drawn(600, 64, torch.float32), drawn(600, 64, torch.float32)
    theirs, ours = ClipLoss()(*expected), contrastive(*found, slice(0, 600), block=block)
    theirs.backward()
    ours.backward()
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-6)
    assert all(torch.allclose(a.grad, b.grad, atol=1e-7) for a, b in zip(found, expected, strict=True))


def test_scores_that_no_exponential_can_hold():
    images = torch.eye(3) * 1000
    assert contrastive(images, images, torch.tensor(100.0), slice(0, 3)).item() == 0
    assert contrastive(images, images.flip(0), torch.tensor(1.0), slice(0, 3)).isfinite()


def test_no_block_is_larger_than_stated(monkeypatch):
    """Memory grows with the block and not with the square of the batch."""
    largest: list[int] = []

    class Watched(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, operation, types, arguments=(), options=None):
            found = operation(*arguments, **(options or {}))
            largest.append(found.numel() if isinstance(found, Tensor) else 0)
            return found

    parts = drawn(256)
    with Watched():
        contrastive(*parts, slice(0, 256), block=16).backward()
    assert max(largest) == 16 * 256
