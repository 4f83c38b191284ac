"""The GPUs of this machine, seen without importing torch, and how many cells share one."""

from __future__ import annotations

import glob
import os
from itertools import takewhile

from rsitr.errors import ParamsError

PER_GPU = "RSITR_CELLS_PER_GPU"


def gpus() -> int:
    """Number of NVIDIA devices that this process may use."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    found = len(glob.glob("/dev/nvidia[0-9]*"))  # noqa: PTH207 - a device needs no path object
    if visible is None:
        return found
    # CUDA reads the list up to the first entry that is no device, such as -1.
    named = takewhile(lambda entry: entry and not entry.startswith("-"), map(str.strip, visible.split(",")))
    return min(found, len([*named]))


def cells_per_gpu() -> int:
    """How many cells may share a GPU at a time: ``RSITR_CELLS_PER_GPU``, or one.

    Small models leave most of a large GPU idle. Numbers do not depend on this setting, times do.
    """
    text = os.environ.get(PER_GPU, "1")
    if not text.isdecimal() or int(text) < 1:
        raise ParamsError(f"{PER_GPU} is {text!r}: set it to 1 or more")
    return int(text)
