"""Float32 matrix products of a CPU by oneDNN, where the library that torch asks by default leaves half of it unused.

Torch multiplies matrices by MKL and convolves by oneDNN. MKL asks who made a CPU, and uses the 512-bit instructions of
Intel's alone; oneDNN uses those of all.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

LEAST = 2**21
"""Multiplications of a product below which the call of oneDNN costs more than it saves."""
NARROWEST = 16
"""Rows or columns below which MKL is as fast."""
_registered: list[torch.library.Library] = []


def use_onednn() -> None:
    """Let oneDNN multiply the float32 matrices of this process, forward and backward, where MKL is the slower one.

    Both compute in float32 and add in another order.
    """
    if _registered or not mkl_holds_back():
        return
    library = torch.library.Library("aten", "IMPL")
    library.impl("mm", _mm, "CPU", allow_override=True)
    library.impl("addmm", _addmm, "CPU", allow_override=True)
    library.impl("bmm", _bmm, "CPU", allow_override=True)
    _registered.append(library)


def mkl_holds_back() -> bool:
    """Whether this CPU has 512-bit instructions that MKL does not use."""
    cpus = Path("/proc/cpuinfo")
    if not (torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available() and cpus.is_file()):
        return False
    return torch.backends.cpu.get_cpu_capability() == "AVX512" and "GenuineIntel" not in cpus.read_text()


def product(first: Tensor, second: Tensor, bias: Tensor | None = None) -> Tensor:
    """[M, N] of float32 matrices [M, K] and [K, N], with ``bias`` [N] added, by oneDNN."""
    return torch.ops.mkldnn._linear_pointwise(_dense(first), _dense(second.t()), bias, "none", [], "")


def _dense(matrix: Tensor) -> Tensor:
    return matrix if matrix.is_contiguous() or matrix.t().is_contiguous() else matrix.contiguous()


def _gains(first: Tensor, second: Tensor) -> bool:
    sides = first.shape[-2], first.shape[-1], second.shape[-1]
    return (
        first.dtype == second.dtype == torch.float32
        and first.shape[-1] == second.shape[-2]
        and min(sides) >= NARROWEST
        and sides[0] * sides[1] * sides[2] >= LEAST
    )


# Another overload of an operator is still torch's own.


def _mm(first: Tensor, second: Tensor) -> Tensor:
    if _gains(first, second):
        return product(first, second)
    return torch.ops.aten.mm.out(first, second, out=first.new_empty(first.shape[0], second.shape[1]))


def _addmm(bias: Tensor, first: Tensor, second: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    if alpha == beta == 1 and bias.dtype == torch.float32 and _gains(first, second):
        plain = bias.ndim == 1 and len(bias) == second.shape[1] and bias.is_contiguous()
        return product(first, second, bias) if plain else product(first, second).add_(bias)
    out = first.new_empty(first.shape[0], second.shape[1])
    return torch.ops.aten.addmm.out(bias, first, second, beta=beta, alpha=alpha, out=out)


def _bmm(first: Tensor, second: Tensor) -> Tensor:
    if len(first) == 1 == len(second) and _gains(first, second):
        return product(first[0], second[0])[None]
    return torch.ops.aten.bmm.out(first, second, out=first.new_empty(*first.shape[:2], second.shape[2]))
