"""Tensors from a checkpoint file and nothing else: no code runs, and what does not fit the model is named."""

from __future__ import annotations

import re
from argparse import Namespace
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Literal
from zipfile import ZipFile, is_zipfile

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from rsitr.errors import UnsafeWeights, WeightsMismatch
from rsitr.nn.clip_names import as_open_clip
from rsitr.nn.efficientnet_names import as_timm

Unmatched = Literal["refuse", "skip"]
"""What to do with tensors that only the file or only the model has, or that differ in shape."""
NAMED = 8
"""How many tensors a message lists of each kind."""
NEARLY_ALL = 0.9
"""Share of a model's tensors that have to fit even where others are skipped."""
INSIDE = ("state_dict", "model_state_dict", "model")
"""Where the checkpoint of a training run has the tensors of the model."""
PREFIXES = ("module.", "model.", "_orig_mod.")
"""What distributed training, Lightning and torch.compile put before every name."""
_SCALAR = np.float64(0).__reduce__()[0]
_KINDS = (np.float16, np.float32, np.float64, np.int8, np.int16, np.int32, np.int64, np.uint8, np.bool_)
# The state of an optimiser holds its learning rate, which schedules of NumPy leave as a NumPy number; arguments of the
# command line come as a namespace.
_HARMLESS: list[Any] = [
    np.dtype,
    *(type(np.dtype(kind)) for kind in _KINDS),
    (_SCALAR, "numpy._core.multiarray.scalar"),
    (_SCALAR, "numpy.core.multiarray.scalar"),
    Namespace,
]


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors by name of a safetensors or torch file.

    From the checkpoint of a training run, those of the model, without the prefixes that tools of training put before
    all names. CLIP as transformers saves it has OpenAI's names, and a file of ``efficientnet_pytorch`` those of timm.
    Raises ``UnsafeWeights`` for a pickle with code in it,
    and ``WeightsMismatch`` for a program of TorchScript, a file that cannot be read, or one that holds no tensors by
    name.
    """
    try:
        if path.suffix == ".safetensors":
            return _renamed(load_file(path))
        if _is_program(path):
            raise WeightsMismatch(
                f"{path.name} is a program of TorchScript: get the state_dict of its model, or safetensors"
            )
        with torch.serialization.safe_globals(_HARMLESS):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        if reason := next((line for line in str(error).splitlines() if "GLOBAL" in line), ""):
            raise UnsafeWeights(
                f"{path.name} is not weights alone, it asks for code to be run ({_asked(reason)}): get it as "
                "safetensors or as a plain state_dict from its authors"
            ) from None
        raise _unreadable(path, "its pickle is damaged, or not one of torch") from None
    except (WeightsMismatch, MemoryError):
        raise
    except Exception as error:  # torch and zipfile raise errors of any kind for a damaged file
        raise _unreadable(path, str(error).splitlines()[0] if str(error) else type(error).__name__) from None
    state = _inside(content)
    if state is None:
        found = f", only {', '.join(map(repr, [*content][:NAMED]))}" if isinstance(content, dict) and content else ""
        raise WeightsMismatch(f"{path.name} holds no tensors by name{found}: it is not the checkpoint of a model")
    return _renamed(state)


def _is_program(path: Path) -> bool:
    if not is_zipfile(path):
        return False
    with ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _asked(reason: str) -> str:
    """What a pickle asks for: ``GLOBAL open_clip.model.CLIP``, without the advice of torch."""
    found = re.search(r"GLOBAL [\w.]+", reason)
    return found[0] if found else "GLOBAL"


def _inside(content: Any) -> dict[str, Tensor] | None:
    """The tensors by name of a checkpoint, or None where it has none."""
    if not isinstance(content, dict) or not content:
        return None
    if all(isinstance(value, Tensor) for value in content.values()):
        return content
    return next((found for name in INSIDE if (found := _inside(content.get(name))) is not None), None)


def _renamed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors by the names that our models have."""
    return as_timm(as_open_clip(_stripped(state)))


def _stripped(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Without prefixes that all names have."""
    for prefix in PREFIXES:
        if state and all(name.startswith(prefix) for name in state):
            return _stripped({name.removeprefix(prefix): value for name, value in state.items()})
    return state


def _unreadable(path: Path, why: str) -> WeightsMismatch:
    return WeightsMismatch(
        f"{path.name} cannot be read as weights ({why}): compare its size and checksum with those of its source"
    )


def load_state(
    model: nn.Module, path: Path, unmatched: Unmatched = "refuse", ignore: tuple[str, ...] = ()
) -> list[str]:
    """Load a file into ``model`` and return in words what was left out.

    ``ignore`` names submodules that the file may have beyond the model, such as a classifier. Raises what
    ``read_state`` does, and ``WeightsMismatch`` with the names where file and model differ; with ``skip`` only unless
    nearly all tensors of the model fit.
    """
    state, own = read_state(path), model.state_dict()
    ignored = tuple(f"{name}." for name in ignore)
    fitting = {name: value for name, value in state.items() if name in own and own[name].shape == value.shape}
    differing = {
        # Batch-norm step counters do not affect outputs and some exporters leave them out.
        "missing": [name for name in own if name not in state and not name.endswith("num_batches_tracked")],
        "unknown": [name for name in state if name not in own and not name.startswith(ignored)],
        "of another shape": [name for name in state if name in own and name not in fitting],
    }
    words = [f"{len(names)} {kind}: {_listed(names)}" for kind, names in differing.items() if names]
    if words and (unmatched == "refuse" or len(fitting) < NEARLY_ALL * len(own)):
        raise WeightsMismatch(
            f"{path.name} belongs to another architecture: {len(fitting)} of the model's {len(own)} tensors fit; "
            f"{'; '.join(words)}. Name the file or the model that matches the other"
        )
    model.load_state_dict({name: value.to(own[name].dtype) for name, value in fitting.items()}, strict=False)
    return words


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
