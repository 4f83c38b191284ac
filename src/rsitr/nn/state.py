"""Tensors from a checkpoint file and nothing else: no code runs, and what does not fit the model is named."""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Literal

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from rsitr.errors import UnsafeWeights, WeightsMismatch

Unmatched = Literal["refuse", "skip"]
"""What to do with tensors that only the file or only the model has, or that differ in shape."""
NAMED = 8
"""How many tensors a message lists of each kind."""
_SCALAR = np.float64(0).__reduce__()[0]
# The state of an optimiser holds its learning rate, which schedules of NumPy leave as a NumPy number.
_NUMBERS: list[Any] = [
    np.dtype,
    np.dtypes.Float64DType,
    (_SCALAR, "numpy._core.multiarray.scalar"),
    (_SCALAR, "numpy.core.multiarray.scalar"),
]


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors by name of a safetensors or torch file.

    From the checkpoint of a training run, those of the model (``state_dict``), without the prefix ``module.`` of
    distributed training. Raises ``UnsafeWeights`` for a pickle with code in it, and ``WeightsMismatch`` for a file that
    cannot be read or holds no tensors by name.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with torch.serialization.safe_globals(_NUMBERS):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        if reason := next((line for line in str(error).splitlines() if "GLOBAL" in line), ""):
            raise UnsafeWeights(
                f"{path.name} is not weights alone, it asks for code to be run ({reason.strip()}): get it as "
                "safetensors or as a plain state_dict from its authors"
            ) from None
        raise _unreadable(path, error) from None
    except (SafetensorError, OSError, RuntimeError, EOFError) as error:
        raise _unreadable(path, error) from None
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsMismatch(f"{path.name} holds no tensors by name: it is not the checkpoint of a model")
    return {name.removeprefix("module."): value for name, value in state.items()}


def _unreadable(path: Path, error: Exception) -> WeightsMismatch:
    return WeightsMismatch(f"{path.name} cannot be read as weights ({error}): fetch it again")


def load_state(model: nn.Module, path: Path, unmatched: Unmatched = "refuse") -> list[str]:
    """Load a file into ``model`` and return in words what was left out.

    Raises what ``read_state`` does, and ``WeightsMismatch`` with the names where file and model differ; with ``skip``
    only if no tensor fits.
    """
    state, own = read_state(path), model.state_dict()
    fitting = {name: value for name, value in state.items() if name in own and own[name].shape == value.shape}
    differing = {
        # Batch-norm step counters do not affect outputs and some exporters leave them out.
        "missing": [name for name in own if name not in state and not name.endswith("num_batches_tracked")],
        "unknown": [name for name in state if name not in own],
        "of another shape": [name for name in state if name in own and name not in fitting],
    }
    words = [f"{len(names)} {kind}: {_listed(names)}" for kind, names in differing.items() if names]
    if words and (unmatched == "refuse" or not fitting):
        raise WeightsMismatch(
            f"{path.name} belongs to another architecture: tensors {'; '.join(words)}. Name the matching `model`, or "
            "set `unmatched: skip` to load the others"
        )
    model.load_state_dict({name: value.to(own[name].dtype) for name, value in fitting.items()}, strict=False)
    return words


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
