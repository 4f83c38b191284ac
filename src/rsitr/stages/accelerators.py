"""``python -m rsitr.stages.accelerators``: what torch says of itself and of the GPUs here, as JSON."""

from __future__ import annotations

import json
from typing import Any

import torch


def facts() -> dict[str, Any]:
    """Version, the version of CUDA it was built for or None, names of GPUs, and why it does not compute on them."""
    found: dict[str, Any] = {"version": torch.__version__, "cuda": torch.version.cuda, "gpus": [], "error": ""}
    try:
        torch.cuda.init()
        for index in range(torch.cuda.device_count()):
            found["gpus"].append(torch.cuda.get_device_name(index))
            torch.zeros(1, device=f"cuda:{index}").add(1).item()
    except (RuntimeError, AssertionError) as error:
        found["error"] = str(error).partition("\n")[0]
    return found


if __name__ == "__main__":
    print(json.dumps(facts()))
