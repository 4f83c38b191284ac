"""Losses against values worked out by hand and against torch's own."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from rsitr.nn.losses import (
    LEAST_TEMPERATURE,
    Temperature,
    collapse,
    contrastive_loss,
    distillation_loss,
    matching_loss,
    temperature_parameter,
    triplet_loss,
)
from tests.helpers.batches import same

# Row: image, column: caption. With a margin of .2 the violations are
#   image -> text   (0,1) .2+.8-.9 = .1   (1,2) .2+.7-.6 = .3   all others at most 0
#   text -> image   (0,1) .2+.8-.6 = .4   (0,2) .2+.5-.4 = .3   (1,2) .2+.7-.4 = .5   all others at most 0
SCORES = torch.tensor([[0.9, 0.8, 0.5], [0.3, 0.6, 0.7], [0.2, 0.1, 0.4]])
DIFFERENT = same(torch.tensor([4, 7, 8]))
FIRST_TWO_SAME = same(torch.tensor([7, 7, 8]))
TWO_DIFFERENT = same(torch.tensor([4, 7]))
# Samples 0 and 1 show one image, and the caption of sample 2 repeats that of sample 0.
REPEATED = torch.tensor([[True, True, True], [True, True, False], [True, False, True]])


@pytest.mark.parametrize(
    ("positives", "negatives", "expected"),
    [
        (DIFFERENT, "hardest", (0.1 + 0.3 + 0.4 + 0.5) / 3),
        (DIFFERENT, "all", (0.1 + 0.3 + 0.4 + 0.3 + 0.5) / 3),
        # (0,1) is no negative now: both captions belong to image 7.
        (FIRST_TWO_SAME, "hardest", (0.3 + 0.5) / 3),
        (FIRST_TWO_SAME, "all", (0.3 + 0.3 + 0.5) / 3),
        # Only (1,2) and (2,1) are negatives; sample 0 has none.
        (REPEATED, "hardest", (0.3 + 0.5) / 3),
        (REPEATED, "most-similar", (0.3 + 0.5) / 3),
        (REPEATED, "all", (0.3 + 0.5) / 3),
        (same(torch.tensor([7, 7, 7])), "all", 0.0),
    ],
)
def test_triplet_by_hand(positives, negatives, expected):
    assert triplet_loss(SCORES, positives, 0.2, negatives).item() == pytest.approx(expected)


def test_triplet_margin_may_be_a_matrix():
    # Only (0,1) has a margin: .2 image -> text leaves .1, text -> image .4.
    margin = torch.zeros(3, 3)
    margin[0, 1] = 0.2
    # Without margin remain (1,2): .7-.6 = .1 and .7-.4 = .3, and (0,2): .5-.4 = .1.
    assert triplet_loss(SCORES, DIFFERENT, margin, "all").item() == pytest.approx((0.1 + 0.4 + 0.1 + 0.3 + 0.1) / 3)


def test_the_most_similar_negative_is_not_the_hardest_where_margins_differ():
    margin = torch.full((3, 3), 0.2)
    margin[0, 1] = 0.0  # leaves image 0 no violation of caption 1, though that is its most similar negative
    margin[0, 2] = 0.7  # and one of .3 by caption 2: .7 + .5 - .9
    # image -> text: (0,1) 0, (1,2) .3, (2,0) 0; text -> image: (2,0) 0, (0,1) 0 + .8 - .6 = .2, (1,2) .5.
    assert triplet_loss(SCORES, DIFFERENT, margin, "most-similar").item() == pytest.approx((0.3 + 0.2 + 0.5) / 3)
    # The largest violation: .3 of caption 2 for image 0, and .7 + .5 - .4 = .8 of image 0 for caption 2.
    assert triplet_loss(SCORES, DIFFERENT, margin, "hardest").item() == pytest.approx((0.3 + 0.3 + 0.2 + 0.8) / 3)


@pytest.mark.parametrize("positives", [DIFFERENT, FIRST_TWO_SAME, same(torch.tensor([7, 7, 7]))])
def test_with_a_fixed_margin_the_most_similar_negative_is_the_hardest(positives):
    loss = [triplet_loss(SCORES, positives, 0.2, negatives) for negatives in ("hardest", "most-similar")]
    assert loss[0] == loss[1]


def test_hardest_negative_moves_one_negative_of_each_query():
    scores = SCORES.clone().requires_grad_()
    triplet_loss(scores, DIFFERENT, 0.2, "hardest").backward()
    third = 1 / 3
    # Violations of (0,1) count in both directions, as do those of (1,2); (0,2) is not the hardest of caption 2.
    expected = [[-third, 2 * third, 0], [0, -2 * third, 2 * third], [0, 0, -third]]
    torch.testing.assert_close(scores.grad, torch.tensor(expected))


MATCHES = torch.tensor([[0.8, 0.3], [0.6, 0.9]])


@pytest.mark.parametrize("negatives", ["hardest", "all"])
def test_matching_of_two_pairs_by_hand(negatives):
    """Each positive counts in both directions, each negative in one for its image and in one for its caption."""
    log = math.log
    positives = 2 * (log(0.8) + log(0.9))
    loss = matching_loss(MATCHES, TWO_DIFFERENT, negatives).item()
    assert loss == pytest.approx(-(positives + 2 * (log(0.7) + log(0.4))) / 2)
    # Both captions belong to one image: none is a negative.
    assert matching_loss(MATCHES, same(torch.tensor([4, 4])), negatives).item() == pytest.approx(-positives / 2)


@pytest.mark.parametrize(
    ("positives", "negatives", "complements"),
    [
        # Rows: .8, .7, .2; columns: .3, .8, .7.
        (DIFFERENT, "hardest", [0.2, 0.3, 0.8, 0.7, 0.2, 0.3]),
        # (0,1) and (1,0) are none. Rows: .5, .7, .2; columns: .2, .1, .7.
        (FIRST_TWO_SAME, "hardest", [0.5, 0.3, 0.8, 0.8, 0.9, 0.3]),
        # Sample 0 has no negative. Rows: .7, .1; columns: .1, .7.
        (REPEATED, "hardest", [0.3, 0.9, 0.9, 0.3]),
        (REPEATED, "all", [0.3, 0.9, 0.9, 0.3]),
    ],
)
def test_matching_takes_the_negative_that_looks_most_like_a_match(positives, negatives, complements):
    expected = -sum(2 * math.log(s) for s in (0.9, 0.6, 0.4)) - sum(math.log(c) for c in complements)
    assert matching_loss(SCORES, positives, negatives).item() == pytest.approx(expected / 3)


def test_matching_may_take_the_mean_of_the_negatives():
    log = math.log
    positives = 2 * (log(0.9) + log(0.6) + log(0.4))
    # Images 0 and 1 have one negative each, caption 2; image 2 has both. The other way round likewise.
    rows = log(0.5) + log(0.3) + (log(0.8) + log(0.9)) / 2
    columns = log(0.8) + log(0.9) + (log(0.5) + log(0.3)) / 2
    loss = matching_loss(SCORES, FIRST_TWO_SAME, "all").item()
    assert loss == pytest.approx(-(positives + rows + columns) / 3)


def test_matching_is_finite_where_it_is_surely_wrong():
    loss = matching_loss(torch.tensor([[0.0, 1.0], [1.0, 0.0]]), TWO_DIFFERENT, "hardest")
    assert loss.item() == pytest.approx(-4 * math.log(1e-6), rel=1e-2)


def test_contrastive_is_cross_entropy_when_all_images_differ():
    temperature = torch.tensor(0.07)
    target = torch.arange(3)
    logits = SCORES / 0.07
    expected = (F.cross_entropy(logits, target) + F.cross_entropy(logits.t(), target)) / 2
    torch.testing.assert_close(contrastive_loss(SCORES, DIFFERENT, temperature), expected)


def test_contrastive_shares_the_target_between_captions_of_one_image():
    target = torch.tensor([[0.5, 0.5, 0], [0.5, 0.5, 0], [0, 0, 1]])
    expected = (F.cross_entropy(SCORES, target) + F.cross_entropy(SCORES.t(), target)) / 2
    torch.testing.assert_close(contrastive_loss(SCORES, FIRST_TWO_SAME, torch.tensor(1.0)), expected)


def test_contrastive_shares_the_target_with_a_repeated_caption():
    third = 1 / 3
    target = torch.tensor([[third, third, third], [0.5, 0.5, 0], [0.5, 0, 0.5]])
    expected = (F.cross_entropy(SCORES, target) + F.cross_entropy(SCORES.t(), target)) / 2
    torch.testing.assert_close(contrastive_loss(SCORES, REPEATED, torch.tensor(1.0)), expected)


def test_contrastive_of_equal_scores_is_the_logarithm_of_the_batch():
    loss = contrastive_loss(torch.zeros(8, 8), same(torch.arange(8)), torch.tensor(0.5))
    assert loss.item() == pytest.approx(math.log(8))


@pytest.mark.parametrize(
    ("embeddings", "expected"),
    [
        ([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]], 1.0),
        ([[1.0, 0.0], [0.0, 1.0]], 0.0),
        ([[1.0, 0.0], [-1.0, 0.0]], -1.0),
        # cos: 0.6 between the first and the second, 0 and 0.8 with the third.
        ([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]], (0.6 + 0.0 + 0.8) / 3),
        ([[1.0, 0.0]], 0.0),
    ],
)
def test_collapse_is_the_mean_cosine_of_different_rows(embeddings, expected):
    assert collapse(torch.tensor(embeddings)) == pytest.approx(expected, abs=1e-6)


def test_temperature_is_kept_as_logarithm():
    assert temperature_parameter(0.07).item() == pytest.approx(math.log(0.07))


@pytest.mark.parametrize(("form", "after"), [("raw", 0.06), ("logarithm", 0.07 * math.exp(-0.01))])
def test_a_step_of_a_hundredth_moves_a_temperature_by_its_form(form, after):
    temperature = Temperature(0.07, form)
    optimizer = torch.optim.SGD(temperature.parameters(), lr=0.01)
    temperature.value.grad = torch.tensor(1.0)
    assert temperature().item() == pytest.approx(0.07)
    optimizer.step()
    assert temperature().item() == pytest.approx(after)


def test_a_raw_temperature_stays_positive():
    temperature = Temperature(0.07, "raw")
    with torch.no_grad():
        temperature.value.fill_(-1)
    assert temperature().item() == pytest.approx(LEAST_TEMPERATURE)
    temperature().backward()
    assert temperature.value.grad.item() == 1


def test_distillation_by_hand():
    """Temperature 1/ln 3: a score of 1 is worth a factor of 3."""
    temperature = 1 / math.log(3)
    teacher, student = torch.eye(2), torch.zeros(2, 2)
    # Every row and column of the teacher is 3/4 to 1/4, of the student 1/2 to 1/2.
    expected = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert distillation_loss(student, teacher, temperature).item() == pytest.approx(expected)
    # The student's first row is 1/4 to 3/4 and its second column 3/4 to 1/4.
    student = torch.tensor([[0.0, 1.0], [0.0, 0.0]])
    rows = (0.75 * math.log(3) + 0.25 * math.log(1 / 3), expected)
    first, second = expected, 0.25 * math.log(0.25 / 0.75) + 0.75 * math.log(0.75 / 0.25)
    found = distillation_loss(student, teacher, temperature).item()
    assert found == pytest.approx((sum(rows) + first + second) / 4)


def test_distillation_is_zero_at_the_teacher_and_moves_the_student_towards_it():
    torch.manual_seed(0)
    teacher, student = torch.randn(4, 4), torch.randn(4, 4, requires_grad=True)
    assert distillation_loss(teacher + 3, teacher, 0.5).item() == pytest.approx(0, abs=1e-6)
    before = distillation_loss(student, teacher, 0.5)
    before.backward()
    assert 0 < distillation_loss(student.detach() - 0.1 * student.grad, teacher, 0.5) < before
