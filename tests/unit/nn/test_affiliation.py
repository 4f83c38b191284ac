"""Classes by name, their centres, and the affiliation loss against Fig. 6 written as loops in float64."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from rsitr.nn.affiliation import affiliation_loss, class_centres, class_numbers, prefix


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("airport_12.jpg", "airport"),
        ("baseball_field_3.tif", "baseball_field"),
        ("00919.jpg", "00919"),
        ("1.tif", "1"),
        ("port.jpg", "port"),
    ],
)
def test_the_class_in_the_name_of_a_file(name: str, expected: str) -> None:
    assert prefix(name) == expected


def test_equal_classes_have_equal_numbers_and_images_without_one_have_their_own() -> None:
    assert class_numbers(("port", "", "farm", "port", "")).tolist() == [0, 1, 2, 0, 3]


def test_centres_are_means_that_are_not_normalised_again() -> None:
    embeddings = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    found = class_centres(embeddings, torch.tensor([4, 7, 4]))
    assert found.tolist() == [[0.5, -0.5], [0.0, 1.0], [0.5, -0.5]]


def slowly(images: list[list[float]], texts: list[list[float]], classes: list[int], temperature: float) -> float:
    count, places = len(classes), range(len(classes))

    def centre(of: list[list[float]], sample: int) -> list[float]:
        members = [of[k] for k in places if classes[k] == classes[sample]]
        return [sum(column) / len(members) for column in zip(*members, strict=True)]

    def product(a: list[float], b: list[float]) -> float:
        return sum(x * y for x, y in zip(a, b, strict=True)) / temperature

    def missed(logits: list[float], own: int) -> float:
        return math.log(sum(map(math.exp, logits))) - logits[own]

    total = 0.0
    for i in places:
        total += missed([product(images[i], centre(texts, j)) for j in places], i)
        total += missed([product(centre(images, i), texts[j]) for j in places], i)
    return total / count / 2


def embeddings(count: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(count)
    images, texts = torch.randn(2, count, 4, generator=generator, dtype=torch.float64)
    return F.normalize(images, dim=1), F.normalize(texts, dim=1)


@pytest.mark.parametrize("classes", [[0, 1, 2, 3, 4], [0, 1, 0, 1, 2], [3, 3, 3, 3, 3], [1]])
def test_the_loss_is_its_equation(classes: list[int]) -> None:
    images, texts = embeddings(len(classes))
    found = affiliation_loss(images, texts, torch.tensor(classes), torch.tensor(0.2))
    expected = slowly(images.tolist(), texts.tolist(), classes, 0.2)
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_a_batch_of_one_class_pulls_its_captions_together() -> None:
    images, texts = embeddings(4)
    images.requires_grad_()
    texts.requires_grad_()
    loss = affiliation_loss(images, texts, torch.zeros(4, dtype=torch.long), torch.tensor(0.5))
    assert loss.item() >= math.log(4) - 1e-6
    loss.backward()
    assert torch.isfinite(texts.grad).all()
    assert texts.grad.any()
    one = texts.detach()[:1].expand(4, -1)
    found = affiliation_loss(images.detach(), one, torch.zeros(4, dtype=torch.long), torch.tensor(0.5))
    assert float(found) == pytest.approx(math.log(4))


def test_tighter_classes_have_a_lower_loss() -> None:
    classes = torch.tensor([0, 0, 1, 1])
    corners = torch.eye(4, dtype=torch.float64)
    tight, loose = corners[classes], corners
    low, high = (affiliation_loss(x, x, classes, torch.tensor(0.1)) for x in (tight, loose))
    assert float(low) < float(high)
