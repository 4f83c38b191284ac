"""Image-text matching: which pairs are drawn, and the head."""

from __future__ import annotations

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from rsitr.nn.fusion_tasks import MatchingHead, draw_pairs
from rsitr.nn.seeds import seeded
from tests.helpers.batches import same
from tests.helpers.examples import examples


@examples(60)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=9), st.integers(0, 2**20))
def test_pairs(ids, seed) -> None:
    image_ids = torch.tensor(ids)
    with seeded(seed):
        pairs = draw_pairs(same(image_ids))
    count = len(ids)
    assert pairs.images[:count].tolist() == pairs.texts[:count].tolist() == list(range(count))
    assert pairs.match.tolist() == [1] * count + [0] * (len(pairs.match) - count)
    having = [place for place in range(count) if any(other != ids[place] for other in ids)]
    images, texts = pairs.images[count:], pairs.texts[count:]
    assert images[: len(having)].tolist() == texts[len(having) :].tolist() == having
    assert (image_ids[images] != image_ids[texts]).all()


def test_every_negative_is_drawn_equally_often() -> None:
    image_ids = torch.tensor([7, 7, 8, 9])
    with seeded(0):
        drawn = torch.cat([draw_pairs(same(image_ids)).texts[4:5] for _ in range(400)])
    counts = torch.bincount(drawn, minlength=4).tolist()
    assert counts[:2] == [0, 0]
    # 200 +- 4 standard deviations of 10.
    assert 160 <= counts[2] <= 240


def test_of_scores_that_are_not_numbers_negatives_are_drawn_all_the_same() -> None:
    """Training ends when it reads the loss, which is then NaN, too."""
    drawn = draw_pairs(same(torch.tensor([7, 7, 8, 9])), torch.full((4, 4), math.nan))
    assert drawn.match.tolist() == [1] * 4 + [0] * 8


def test_negatives_in_proportion_to_what_is_taken_for_alike() -> None:
    """Image 0 and caption 2 with odds of three to one against caption 3; the columns say the same of image 0."""
    image_ids, scores = torch.tensor([7, 7, 8, 9]), torch.zeros(4, 4)
    scores[0, :2] = 50.0
    scores[0, 2] = math.log(3)
    with seeded(0):
        drawn = [draw_pairs(same(image_ids), scores) for _ in range(400)]
    texts = torch.bincount(torch.stack([pairs.texts[4] for pairs in drawn]), minlength=4).tolist()
    images = torch.bincount(torch.stack([pairs.images[10] for pairs in drawn]), minlength=4).tolist()
    # 300 +- 4 standard deviations of 8.7; of the images for caption 2 the first has odds of 3 : 1 : 1.
    assert texts[:2] == [0, 0]
    assert 265 <= texts[2] <= 335
    assert 201 <= images[0] <= 279
    assert images[2] == 0


def test_positives_are_not_drawn_as_negatives() -> None:
    """Samples 0 and 2 say the same of different images: only sample 1 is a negative of either, and both are of it."""
    with seeded(0):
        drawn = [draw_pairs(same(torch.tensor([0, 1, 0]))) for _ in range(30)]
        plain = [draw_pairs(same(torch.tensor([0, 1, 2]))) for _ in range(30)]
    for pairs in drawn:
        assert [pairs.texts[3].item(), pairs.texts[5].item()] == [1, 1]
        assert [pairs.images[6].item(), pairs.images[8].item()] == [1, 1]
    assert {pairs.texts[4].item() for pairs in drawn} == {0, 2}
    # Sample 0 shows the image of sample 1 and has the caption of sample 2: it has no negative.
    pairs = draw_pairs(torch.tensor([[1, 1, 1], [1, 1, 0], [1, 0, 1]]).bool())
    assert (pairs.images.tolist(), pairs.texts.tolist()) == ([0, 1, 2, 1, 2, 2, 1], [0, 1, 2, 2, 1, 1, 2])
    assert {pairs.texts[3].item() for pairs in plain} == {1, 2}
    assert draw_pairs(torch.ones(2, 2, dtype=torch.bool)).match.tolist() == [1, 1]


def test_a_batch_of_one_image_has_matching_pairs_alone() -> None:
    pairs = draw_pairs(same(torch.tensor([3, 3, 3])))
    assert pairs.images.tolist() == pairs.texts.tolist() == [0, 1, 2]
    assert pairs.match.tolist() == [1, 1, 1]
    assert draw_pairs(same(torch.tensor([5]))).match.tolist() == [1]


def test_score_and_loss_by_hand() -> None:
    head = MatchingHead(2)
    head.classes.weight.data = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    head.classes.bias.data = torch.tensor([0.5, 0.0])
    fused = torch.tensor([[1.0, 2.0], [3.0, 0.0]])
    # Logits (1.5, 4) and (3.5, 0).
    assert head(fused).tolist() == [2.5, -3.5]
    expected = (math.log1p(math.exp(-2.5)) + math.log1p(math.exp(-3.5))) / 2
    assert math.isclose(head.loss(fused, torch.tensor([1, 0])).item(), expected, rel_tol=1e-6)
    torch.testing.assert_close(head(fused).sigmoid(), head.classes(fused).softmax(1)[:, 1])
