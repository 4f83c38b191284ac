"""What the steps of every training have in common: arithmetic, optimiser, losses, time, and how they are continued."""

from __future__ import annotations

import math
import time
from functools import reduce
from operator import add
from typing import Any

import torch
from torch import Tensor, nn

from rsitr.errors import ParamsError, TrainingDiverged
from rsitr.nn.seeds import generators

SAVE_SECONDS = 60
"""Between two saves of the state within an epoch."""
READ_SECONDS = 1.0
"""Between two looks at the losses: to read one, the CPU waits for the GPU."""


class Steps:
    """The optimiser steps of a model on a device, on a GPU under autocast to bfloat16, and their losses.

    ``advice`` is for a training that diverges. Raises ``ParamsError`` for a GPU without bfloat16.
    """

    def __init__(self, model: nn.Module, device: str, advice: str, *, autocast: bool = True):
        kind = torch.device(device).type
        bf16 = autocast and kind != "cpu"
        if bf16 and not torch.cuda.is_bf16_supported(including_emulation=False):
            raise ParamsError(
                f"{torch.cuda.get_device_name(device)} does not compute in bfloat16: train in float32 (`autocast: "
                "false`, or `bf16: false` for pre-training), or hide the GPU (CUDA_VISIBLE_DEVICES=-1)"
            )
        self.model, self.device, self.advice = model, device, advice
        self.autocast = torch.autocast(kind, torch.bfloat16, enabled=bf16)
        self.arithmetic = f"{'bfloat16' if bf16 else 'float32'} on {kind}"
        """Part of a state's identity: continued in another, training ends with other weights."""
        self.losses: list[float] = []
        """Of all steps that have been read."""
        self._unread: list[Tensor] = []
        self._looked = -math.inf
        self._begun = self._saved = time.monotonic()

    def take(
        self, loss: Tensor, optimizer: torch.optim.Optimizer, factor: float, clip_norm: float | None = None
    ) -> Tensor:
        """One step down the gradient of a scalar loss, at ``factor`` times the base rates; returns the loss."""
        for group in optimizer.param_groups:
            group["lr"] = group["base"] * factor
        self.model.zero_grad()  # of all: what no longer learns must not count in the norm that is clipped
        loss.backward()
        if clip_norm is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), clip_norm)
        optimizer.step()
        self._unread.append(loss.detach())
        if time.monotonic() - self._looked > READ_SECONDS:
            self.read()
        return loss.detach()

    def read(self) -> list[float]:
        """The losses of all steps; raises ``TrainingDiverged`` at the first that is not finite."""
        unread, self._unread = self._unread, []
        for value in torch.stack(unread).tolist() if unread else ():
            if not math.isfinite(value):
                raise TrainingDiverged(f"the loss became {value} at step {len(self.losses)}: {self.advice}")
            self.losses.append(value)
        self._looked = time.monotonic()
        return self.losses

    @property
    def seconds(self) -> float:
        """How long the training has taken, earlier runs included."""
        return time.monotonic() - self._begun

    @property
    def unsaved(self) -> bool:
        """Whether it is time to save the state within an epoch."""
        return time.monotonic() - self._saved > SAVE_SECONDS

    def state(self) -> dict[str, Any]:
        """What to save of it: losses, seconds, and torch's random generators."""
        self._saved = time.monotonic()
        random = [generator.get_state() for generator in generators(self.device)]
        return {"losses": self.read(), "seconds": self.seconds, "random": random}

    def load(self, state: dict[str, Any]) -> None:
        """Continue from what ``state`` returned."""
        self.losses[:] = state["losses"]
        self._begun -= state["seconds"]
        for generator, drawn in zip(generators(self.device), state["random"], strict=True):
            generator.set_state(drawn)

    def mean(self, steps: int) -> float:
        """The mean loss of the last steps, summed in order, as ``sum`` of later versions of Python does not."""
        return reduce(add, self.read()[-steps:]) / steps
