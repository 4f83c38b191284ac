"""Embeddings as people have them, checked: lists, arrays and tensors, of any precision, of unit length or not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rsitr.errors import DatasetError
from rsitr.retrieval.tiles import BLOCK, Embeddings, rows

Matrix = Embeddings
UNIT = 5e-3
"""How far from 1 a length may be. bfloat16 keeps 8 bits of each number, so a row of it is off by up to 4e-3."""


def checked(values: Sequence[Any] | Matrix, name: str) -> Matrix:
    """A matrix of finite numbers with at least one row; raises ``DatasetError`` for anything else."""
    matrix = _matrix(values, name)
    if matrix.ndim != 2 or 0 in matrix.shape:
        raise DatasetError(f"{name} have the shape {tuple(matrix.shape)}: give one row of numbers for each")
    if not _is_real(matrix):
        raise DatasetError(f"{name} are of type {matrix.dtype}: give real numbers")
    with np.errstate(over="ignore"):  # a number too large for float32 is named below
        for start, part in _parts(matrix):
            if len(wrong := torch.nonzero(~part.isfinite().all(1))):
                row = f"row {start + int(wrong[0])} of {name}"
                raise DatasetError(f"{row} is not finite in float32: look for what the model divides by zero")
    return matrix


def _is_real(matrix: Matrix) -> bool:
    if isinstance(matrix, Tensor):
        return matrix.dtype != torch.bool and not matrix.is_complex()
    return matrix.dtype.kind in "fiu"


def _matrix(values: Sequence[Any] | Matrix, name: str) -> Matrix:
    try:
        if isinstance(values, Tensor | np.ndarray):
            return values
        if len(values) and isinstance(values[0], Tensor):
            return torch.stack([*values])
        return np.asarray(values)
    except (RuntimeError, TypeError, ValueError) as error:
        raise DatasetError(f"{name} are not a matrix ({error}): give rows of one length") from None


def normalised(matrix: Matrix, name: str, normalise: bool | None) -> Matrix:
    """Rows of unit length in float32 where ``normalise``, the matrix itself otherwise.

    Raises ``DatasetError`` for a row of zeros that is to be normalised, and for rows of another length than 1 where
    ``normalise`` is None: whether their cosine or their dot product is meant, nobody but the caller knows.
    """
    if normalise is False:
        return matrix
    lengths = torch.cat([_lengths(part).cpu() for _, part in _parts(matrix)])
    if normalise is None:
        if ((lengths - 1).abs() > UNIT).any():
            raise DatasetError(
                f"{name} have rows of length {lengths.min():.4g} to {lengths.max():.4g}, not 1: pass normalise=True to "
                "rank by cosine, or normalise=False to rank by the dot product of the rows as they are"
            )
        return matrix
    if len(zero := torch.nonzero(lengths == 0)):
        raise DatasetError(
            f"row {int(zero[0])} of {name} is zero and cannot be normalised: look for what is not embedded"
        )
    return torch.cat([(part.double() / _lengths(part)[:, None]).float() for _, part in _parts(matrix)])


def _lengths(part: Tensor) -> Tensor:
    return torch.linalg.vector_norm(part.double(), dim=1)


def _parts(matrix: Matrix) -> Iterator[tuple[int, Tensor]]:
    """Blocks of rows in float32, where they are, with the position of the first."""
    device = matrix.device if isinstance(matrix, Tensor) else "cpu"
    for start in range(0, len(matrix), BLOCK):
        yield start, rows(matrix, slice(start, start + BLOCK), device)


def array_of(values: Sequence[Any] | Matrix, name: str) -> npt.NDArray[Any]:
    """Whatever holds them as an array; raises ``DatasetError`` for lists of unequal length."""
    try:
        return values.cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    except ValueError as error:
        raise DatasetError(f"{name} is not a list of numbers ({error})") from None


def whole_numbers(values: Sequence[Any] | Matrix, name: str) -> npt.NDArray[np.int64]:
    """Whole numbers [N] of a list, an array or a tensor; raises ``DatasetError`` for anything else."""
    numbers = array_of(values, name)
    if numbers.ndim != 1 or (len(numbers) and numbers.dtype.kind not in "iu"):
        raise DatasetError(f"{name} must be a list of whole numbers, not {numbers.dtype} of shape {numbers.shape}")
    return numbers.astype(np.int64)
