"""Products by oneDNN are those of torch, whatever the layout of the matrices, forward and backward."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from rsitr.nn import matrix_products
from rsitr.nn.matrix_products import mkl_holds_back, use_onednn

M, K, N = 130, 200, 90
"""A product large enough for oneDNN."""


@pytest.fixture
def counted(monkeypatch):
    """Products by oneDNN from here on, as on a CPU that MKL holds back; the shapes of those that it gets."""
    if not torch.backends.mkldnn.is_available():
        pytest.skip("this torch has no oneDNN")
    shapes, registered = [], []
    plain = matrix_products.product

    def product(first, second, bias=None):
        shapes.append((*first.shape, second.shape[1]))
        return plain(first, second, bias)

    monkeypatch.setattr(matrix_products, "_registered", registered)
    monkeypatch.setattr(matrix_products, "mkl_holds_back", lambda: True)
    monkeypatch.setattr(matrix_products, "product", product)
    use_onednn()
    yield shapes
    registered.pop()._destroy()


def matrices(layout, rows, columns):
    """A matrix [rows, columns] of some layout in memory."""
    random = torch.Generator().manual_seed(rows)
    wide = torch.randn(rows, 3 * columns, generator=random)
    return {
        "rows": wide[:, :columns].contiguous(),
        "columns": wide[:, :columns].t().contiguous().t(),
        "cut": wide[:, columns : 2 * columns],
        "strided": wide[:, ::3],
        "repeated": wide[:1, :columns].expand(rows, columns),
    }[layout]


LAYOUTS = ["rows", "columns", "cut", "strided", "repeated"]


@pytest.mark.parametrize("first", LAYOUTS)
@pytest.mark.parametrize("second", LAYOUTS)
def test_products_of_every_layout_are_those_of_float64(counted, first, second):
    a, b = matrices(first, M, K), matrices(second, K, N)
    torch.testing.assert_close(a @ b, (a.double() @ b.double()).float(), atol=1e-4, rtol=1e-5)
    assert counted == [(M, K, N)]


@pytest.mark.parametrize("shape", [(N,), (1, N), (M, 1), (M, N)])
def test_a_bias_of_every_shape_is_added(counted, shape):
    a, b, bias = matrices("rows", M, K), matrices("rows", K, N), torch.randn(shape)
    expected = (bias.double() + a.double() @ b.double()).float()
    torch.testing.assert_close(torch.addmm(bias, a, b), expected, atol=1e-4, rtol=1e-5)
    assert counted == [(M, K, N)]
    scaled = torch.addmm(bias, a, b, beta=2, alpha=0.5)  # not a case of oneDNN's
    torch.testing.assert_close(scaled, (2 * bias + 0.5 * (a @ b)).float(), atol=1e-4, rtol=1e-5)


def test_a_linear_layer_has_the_gradients_of_float64(counted):
    layer, inputs = torch.nn.Linear(K, N), torch.randn(2, M, K, requires_grad=True)
    F.linear(inputs, layer.weight, layer.bias).square().sum().backward()
    # Of the outputs, the inputs and the weight.
    assert sorted(counted) == sorted([(2 * M, K, N), (2 * M, N, K), (N, 2 * M, K)])
    found = [inputs.grad, layer.weight.grad, layer.bias.grad]
    exact = [part.detach().double().requires_grad_() for part in (inputs, layer.weight, layer.bias)]
    F.linear(*exact).square().sum().backward()
    for one, other in zip(found, exact, strict=True):
        torch.testing.assert_close(one, other.grad.float(), atol=1e-3, rtol=1e-4)


def test_what_gains_nothing_and_what_is_wrong_stays_torchs(counted):
    small, wide = torch.randn(20, 20), torch.randn(M, K)
    torch.testing.assert_close(small @ small, (small.double() @ small.double()).float())
    assert (wide.double() @ wide.double().t()).dtype == torch.float64
    assert (wide.long() @ wide.long().t()).dtype == torch.int64
    assert (torch.zeros(0, K) @ torch.zeros(K, M)).shape == (0, M)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        wide @ wide
    assert counted == []


def test_a_batch_of_one_is_a_matrix(counted):
    a, b = matrices("rows", M, K)[None], matrices("columns", K, N)[None]
    torch.testing.assert_close(torch.einsum("bij,bjk->bik", a, b), a @ b)
    assert counted == [(M, K, N), (M, K, N)]
    assert torch.bmm(a.expand(2, -1, -1), b.expand(2, -1, -1)).shape == (2, M, N)


def test_intels_own_cpus_are_left_to_mkl(monkeypatch, tmp_path):
    def of(text, capability="AVX512"):
        path = tmp_path / "cpuinfo"
        path.write_text(text)
        monkeypatch.setattr(matrix_products, "Path", lambda _: path)
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
        return mkl_holds_back()

    available = torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()
    assert of("vendor_id\t: AuthenticAMD\n") == available
    assert not of("vendor_id\t: GenuineIntel\n")
    assert not of("vendor_id\t: AuthenticAMD\n", "AVX2")
