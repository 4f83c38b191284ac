"""Embeddings in whatever holds them, and what is wrong with them in words."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from rsitr.errors import DatasetError
from rsitr.retrieval import embeddings as module
from rsitr.retrieval.embeddings import checked, normalised, whole_numbers


@pytest.mark.parametrize(
    "values",
    [
        [[1, 2], [3, 4]],
        ((1.0, 2.0), (3.0, 4.0)),
        [np.array([1.0, 2]), np.array([3.0, 4])],
        [torch.tensor([1.0, 2]), torch.tensor([3.0, 4])],
        np.array([[1, 2], [3, 4]], dtype=np.uint8),
        torch.tensor([[1, 2], [3, 4]], dtype=torch.bfloat16),
        torch.tensor([[1.0, 2], [3, 4]], requires_grad=True),
    ],
    ids=["lists", "tuples", "arrays", "tensors", "integers", "bfloat16", "gradient"],
)
def test_any_container_is_a_matrix(values) -> None:
    found = checked(values, "images")
    assert torch.as_tensor(found).detach().tolist() == [[1, 2], [3, 4]]


def test_an_array_on_disk_stays_there(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", np.eye(3))
    images = np.load(tmp_path / "images.npy", mmap_mode="r")
    assert normalised(checked(images, "images"), "images", None) is images


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([[1, 2], [3]], "images are not a matrix ("),
        ([torch.zeros(2), torch.zeros(3)], "images are not a matrix ("),
        ([], "images have the shape (0,): give one row of numbers for each"),
        (np.zeros((0, 4)), "images have the shape (0, 4)"),
        (np.zeros((4, 0)), "images have the shape (4, 0)"),
        (np.zeros(4), "images have the shape (4,)"),
        (np.zeros((2, 3, 4)), "images have the shape (2, 3, 4)"),
        ([["a", "b"]], "images are of type <U1: give real numbers"),
        (np.eye(2) * 1j, "images are of type complex128"),
        (torch.eye(2) * 1j, "images are of type torch.complex64"),
        (torch.eye(2) > 0, "images are of type torch.bool"),
        ([[0, 1], [float("nan"), 1], [0, float("inf")]], "row 1 of images is not finite in float32"),
        (np.array([[1.0, 0], [1e39, 0]]), "row 1 of images is not finite in float32"),
        (torch.tensor([[1, float("-inf")]], dtype=torch.float16), "row 0 of images is not finite"),
    ],
)
def test_what_is_not_a_matrix_is_named(values, message: str) -> None:
    with pytest.raises(DatasetError, match=re.escape(message)):
        checked(values, "images")


def test_a_broken_row_is_named_by_its_place_in_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", 4)
    values = np.ones((10, 2))
    values[7, 1] = np.nan
    with pytest.raises(DatasetError, match="row 7 of texts"):
        checked(values, "texts")


def test_lengths_that_are_not_one_need_a_word() -> None:
    rows = np.array([[3.0, 4.0], [0.6, 0.8]])
    message = "images have rows of length 1 to 5, not 1: pass normalise=True to rank by cosine, or normalise=False"
    with pytest.raises(DatasetError, match=re.escape(message)):
        normalised(rows, "images", None)
    assert normalised(rows, "images", False) is rows
    found = normalised(rows, "images", True)
    assert isinstance(found, torch.Tensor)
    assert found.dtype == torch.float32
    assert_array_equal(found.numpy(), np.array([[0.6, 0.8], [0.6, 0.8]], dtype=np.float32))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_rounding_to_any_precision_leaves_the_length_one(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.nn.functional.normalize(torch.randn(500, 512, generator=generator, dtype=torch.float64), dim=1)
    rounded = rows.to(dtype)
    assert normalised(rounded, "images", None) is rounded
    with pytest.raises(DatasetError, match="not 1"):
        normalised((rows * 1.01).to(dtype), "images", None)


def test_a_row_of_zeros_has_no_direction() -> None:
    rows = torch.tensor([[1.0, 0], [0, 0]])
    with pytest.raises(DatasetError, match="row 1 of texts is zero and cannot be normalised"):
        normalised(rows, "texts", True)
    with pytest.raises(DatasetError, match="texts have rows of length 0 to 1"):
        normalised(rows, "texts", None)
    assert normalised(rows, "texts", False) is rows


@pytest.mark.parametrize("values", [[2, 0], (2, 0), np.array([2, 0], np.uint8), torch.tensor([2, 0]), range(2, -1, -2)])
def test_whole_numbers_of_any_container(values) -> None:
    found = whole_numbers(values, "image_of")
    assert found.dtype == np.int64
    assert_array_equal(found, [2, 0])


@pytest.mark.parametrize("values", [[0.0, 1.0], [True, False], ["0"], [[0], [1]], [[0], [1, 2]], 3])
def test_what_is_no_list_of_whole_numbers_is_refused(values) -> None:
    with pytest.raises(DatasetError, match="image_of"):
        whole_numbers(values, "image_of")
