"""Two views of an image, and the loss that brings them together."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F
from torchvision.transforms import v2

from rsitr.methods.mtgfe import MildRandAugment, ViewHeads, Views
from rsitr.nn.pixels import PixelFormat
from rsitr.nn.seeds import seeded

PIXELS = PixelFormat(16, (0.5, 0.4, 0.3), (0.2, 0.25, 0.3), "bicubic")


def test_nine_operations_on_the_scale_of_albef(monkeypatch) -> None:
    """Magnitude 7 of 10: 1.36 times the brightness, .21 of shear, 7 pixels and 21 degrees, either way."""
    seen: set[tuple[str, float]] = set()
    augment = MildRandAugment()

    def apply(image, name, magnitude, **how):
        assert how == {"interpolation": v2.InterpolationMode.BILINEAR, "fill": augment._fill}
        seen.add((name, round(magnitude, 6)))
        return image

    monkeypatch.setattr(augment, "_apply_image_or_video_transform", apply)
    with seeded(0):
        for _ in range(300):
            augment(torch.rand(3, 8, 8))
    plain = {(name, 0.0) for name in ("Identity", "AutoContrast", "Equalize")}
    levels = {("Brightness", 0.36), ("Sharpness", 0.36)}
    moved = {"ShearY": 0.21, "TranslateX": 7.0, "TranslateY": 7.0, "Rotate": 21.0}
    assert seen == plain | levels | {(name, sign * size) for name, size in moved.items() for sign in (1, -1)}


def test_two_operations_each_half_of_the_time(monkeypatch) -> None:
    applied: list[str] = []
    augment = MildRandAugment()
    monkeypatch.setattr(
        augment, "_apply_image_or_video_transform", lambda image, name, *_, **__: applied.append(name) or image
    )
    with seeded(0):
        for _ in range(1000):
            augment(torch.rand(3, 8, 8))
    assert len(applied) == 2000
    # Half of all, and a ninth of the other half: 1,111 +- 4 standard deviations of 22.
    assert 1022 <= applied.count("Identity") <= 1200
    assert 67 <= applied.count("Rotate") <= 155


def test_views_of_pixels() -> None:
    plain = torch.rand(12, 3, 16, 16)
    mean, std = (torch.tensor(values)[:, None, None] for values in (PIXELS.mean, PIXELS.std))
    images = (plain - mean) / std
    views = Views(PIXELS, 0.2)
    with seeded(0):
        found = views(images)
    with seeded(0):
        again = views(images)
        other = views(images)
    with seeded(0):
        expected = torch.stack([views.augment(image) for image in plain])
    assert found.equal(again)
    assert not found.equal(other)
    torch.testing.assert_close(found * std + mean, expected, atol=0.02, rtol=0)
    back = found * std + mean
    assert -1e-6 <= back.min() <= back.max() <= 1 + 1e-6


def test_low_precision_leaves_the_views_alone() -> None:
    images = torch.rand(6, 3, 16, 16)
    views = Views(PIXELS, 0.2)
    with seeded(0):
        expected = views(images)
    with seeded(0), torch.autocast("cpu", torch.bfloat16):
        found = views(images)
    assert found.equal(expected)


@pytest.mark.parametrize(("dropped", "kept"), [(0.0, 10), (0.2, 8), (0.99, 1)])
def test_views_of_tokens_are_some_of_them(dropped, kept) -> None:
    tokens = torch.arange(20.0).reshape(2, 10, 1).expand(-1, -1, 3)
    with seeded(0):
        found = Views(PIXELS, dropped)(tokens)
    assert found.shape == (2, kept, 3)
    for row, before in zip(found, tokens, strict=True):
        values = row[:, 0].tolist()
        assert values == sorted(set(values))
        assert set(values) <= set(before[:, 0].tolist())


def test_loss_by_its_definition() -> None:
    with seeded(0):
        heads = ViewHeads(8).double()
        first, second = torch.randn(2, 5, 8, dtype=torch.float64, requires_grad=True)
    loss = heads.loss(first, second)
    with torch.no_grad():
        project = [heads.project(view) for view in (first, second)]
        predict = [heads.predict(view) for view in project]
    cosine = [
        sum(float(p @ z / p.norm() / z.norm()) for p, z in zip(predict[i], project[1 - i], strict=True)) / 5
        for i in (0, 1)
    ]
    assert loss.item() == pytest.approx(-(cosine[0] + cosine[1]) / 2, abs=1e-6)
    assert -1 <= loss.item() <= 1


def test_the_target_gets_no_gradient() -> None:
    with seeded(0):
        heads = ViewHeads(8)
        first, second = torch.randn(4, 8, requires_grad=True), torch.randn(4, 8, requires_grad=True)
    heads.predict.requires_grad_(False)
    (heads.loss(first, second) * 2).backward()
    with torch.no_grad():
        targets = [heads.project(view) for view in (first, second)]
    mine = first.detach().clone().requires_grad_()
    (-F.cosine_similarity(heads.predict(heads.project(mine)), targets[1], dim=1).mean()).backward()
    torch.testing.assert_close(first.grad, mine.grad)


def test_a_single_sample_has_nothing_to_agree_with() -> None:
    assert ViewHeads(8).loss(torch.rand(1, 8), torch.rand(1, 8)).item() == 0
