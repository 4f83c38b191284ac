"""The GPUs that cells may run on, and how many cells share one."""

from __future__ import annotations

import pytest

from rsitr import gpus
from rsitr.errors import ParamsError


@pytest.mark.parametrize(
    ("visible", "expected"), [(None, 2), ("0", 1), ("", 0), ("0,1,2", 2), ("-1", 0), ("0,-1,1", 1), ("1, 0", 2)]
)
def test_devices_that_may_be_used(visible, expected, monkeypatch):
    monkeypatch.setattr(gpus.glob, "glob", lambda pattern: ["/dev/nvidia0", "/dev/nvidia1"])
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert gpus.gpus() == expected


def test_cells_on_a_gpu(monkeypatch):
    monkeypatch.delenv("RSITR_CELLS_PER_GPU", raising=False)
    assert gpus.cells_per_gpu() == 1
    monkeypatch.setenv("RSITR_CELLS_PER_GPU", "6")
    assert gpus.cells_per_gpu() == 6


@pytest.mark.parametrize("text", ["0", "-1", "two", ""])
def test_cells_on_a_gpu_must_be_a_number(text, monkeypatch):
    monkeypatch.setenv("RSITR_CELLS_PER_GPU", text)
    with pytest.raises(ParamsError, match=r"RSITR_CELLS_PER_GPU is .*: set it to 1 or more"):
        gpus.cells_per_gpu()
