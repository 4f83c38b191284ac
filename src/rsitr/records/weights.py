"""Writing weights, those of every training here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rsitr.records.files import replacing
from rsitr.records.provenance import sha256_file

if TYPE_CHECKING:
    from torch import Tensor


def write_weights(path: Path, weights: Mapping[str, Tensor], what: str, of: str) -> str:
    """Write contiguous tensors on the CPU with a header that says ``of`` which ``what`` they are; returns the SHA-256.

    None of them stand for a training that failed.
    """
    with replacing(path) as partial:
        # One entry only: safetensors writes several in random order, and equal runs must give equal bytes.
        header = {what: of}
        if weights:
            from safetensors.torch import save_file

            save_file(dict(weights), partial, metadata=header)
        else:
            from safetensors.numpy import save_file as save_nothing  # which does without torch

            save_nothing({}, partial, metadata=header)
        return sha256_file(partial)
