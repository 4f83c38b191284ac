"""Batches of images: the same pixels decoded once or every time, augmented ones anew in every epoch."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from PIL import Image

from rsitr.nn import inputs
from rsitr.nn.inputs import ChosenInputs, PixelInputs, RowInputs, TokenInputs
from rsitr.nn.pixels import PixelFormat

PIXELS = PixelFormat(16, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bilinear")
BATCHES = [np.array([2, 0]), np.array([1, 2])]


@pytest.fixture
def paths(tmp_path):
    random = np.random.default_rng(0)
    files = [tmp_path / f"{number}.png" for number in range(3)]
    for path in files:
        Image.fromarray(random.integers(0, 256, (24, 24, 3), dtype=np.uint8)).save(path)
    return files


def test_unaugmented_images_are_decoded_once(paths):
    images = PixelInputs(paths, PIXELS)
    first = list(images.batches(BATCHES))
    for path in paths:
        path.unlink()
    again = list(images.batches(BATCHES, epoch=1))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert torch.equal(first[0][0], first[1][1])
    assert not torch.equal(first[0][0], first[0][1])


def test_what_does_not_fit_is_decoded_every_time_and_is_the_same(paths, monkeypatch):
    kept = list(PixelInputs(paths, PIXELS).batches(BATCHES))
    monkeypatch.setattr(inputs, "KEPT_BYTES", 3 * 3 * 16 * 16 * 4 - 1)
    images = PixelInputs(paths, PIXELS)
    decoded = list(images.batches(BATCHES))
    assert images.kept == {}
    assert all(torch.equal(a, b) for a, b in zip(kept, decoded, strict=True))


def test_augmented_images_differ_between_epochs_and_not_between_runs(paths):
    images = PixelInputs(paths, PIXELS, "crop-flip", seed=3)
    first, second = (torch.cat(list(images.batches(BATCHES, epoch))) for epoch in (0, 1))
    assert not torch.equal(first, second)
    assert torch.equal(torch.cat(list(PixelInputs(paths, PIXELS, "crop-flip", seed=3).batches(BATCHES))), first)


def test_tokens_are_rows_of_the_cache():
    stored = np.arange(24, dtype=np.float16).reshape(4, 2, 3)
    batch = next(TokenInputs(stored, np.array([1, 3, 2])).batches([np.array([2, 0])]))
    assert torch.equal(batch, torch.from_numpy(stored[[2, 1]]))


def test_tokens_of_a_file_are_announced_a_batch_ahead(tmp_path, monkeypatch):
    stored = np.arange(24, dtype=np.float16).reshape(4, 2, 3)
    np.save(tmp_path / "tokens.npy", stored)
    mapped = np.load(tmp_path / "tokens.npy", mmap_mode="r")
    events, advise = [], os.posix_fadvise

    def announced(file, start, size, advice):
        advise(file, start, size, advice)
        events.append(np.frombuffer(os.pread(file, size, start), np.float16).reshape(2, 3).tolist())

    monkeypatch.setattr(os, "posix_fadvise", announced)
    batches = TokenInputs(mapped, np.array([1, 3, 2])).batches([np.array([2, 0, 2]), np.array([1])])
    assert torch.equal(next(batches), torch.from_numpy(stored[[2, 1, 2]]))
    assert events == stored[[1, 2, 3]].tolist()
    assert torch.equal(next(batches), torch.from_numpy(stored[[3]]))
    assert next(batches, None) is None
    assert len(events) == 3
    assert list(TokenInputs(mapped, np.array([1])).batches([])) == []


def test_chosen_images_are_those_at_their_places():
    chosen = ChosenInputs(RowInputs(), np.array([4, 7, 9]))
    assert [batch.tolist() for batch in chosen.batches(BATCHES)] == [[9, 4], [7, 9]]
