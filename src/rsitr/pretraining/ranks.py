"""The processes of one training, as torchrun starts them; without it, one process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, distributed, nn

from rsitr.errors import ParamsError


class Ranks(NamedTuple):
    """This process among all."""

    rank: int
    world: int
    device: str

    def gather(self, features: Tensor) -> Tensor:
        """Rows [world B, ...] of every process's rows [B, ...], by rank; gradients flow to its own rows."""
        return features if self.world == 1 else _Gather.apply(features, self.rank, self.world)  # type: ignore[no-any-return]

    def wait(self) -> None:
        """Wait until every process is here."""
        if self.world > 1:
            distributed.barrier()

    def share(self, model: nn.Module) -> nn.Module:
        """``model`` with gradients that are means over the processes; all start from the first one's weights.

        Learned batch statistics have to cover the whole batch: raises ``ParamsError`` if they cannot be shared.
        """
        if self.world == 1:
            return model
        if any(isinstance(part, nn.BatchNorm2d) and part.weight.requires_grad for part in model.modules()):
            if self.device == "cpu":
                why = "the model learns batch statistics, which processes without a GPU cannot share"
                raise ParamsError(f"{why}: train it in one process")
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        ids = None if self.device == "cpu" else [torch.device(self.device).index]
        return nn.parallel.DistributedDataParallel(model, device_ids=ids, gradient_as_bucket_view=True)


class _Gather(torch.autograd.Function):
    """Every process computes the same loss of all rows, so its gradient is known here without communication.

    Gradients of parameters are averaged over processes afterwards. A row's gradient reaches the parameters only through
    its own process, so it counts ``world`` times.
    """

    @staticmethod
    def forward(ctx: Any, features: Tensor, rank: int, world: int) -> Tensor:
        ctx.rank, ctx.world, ctx.rows = rank, world, len(features)
        gathered = [torch.empty_like(features) for _ in range(world)]
        distributed.all_gather(gathered, features.contiguous())
        return torch.cat(gathered)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return gradients[0][ctx.rank * ctx.rows : (ctx.rank + 1) * ctx.rows] * ctx.world, None, None


@contextmanager
def joined(device: str | None = None) -> Iterator[Ranks]:
    """Join the processes that torchrun has started: gloo on CPUs, nccl on GPUs, one GPU per process.

    ``device`` takes the place of the GPU of a process's own.
    """
    world, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    if device is None:
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if torch.cuda.is_available() else "cpu"
    if device != "cpu":
        torch.cuda.set_device(device)
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
    if world == 1:
        yield Ranks(rank, world, device)
        return
    distributed.init_process_group("gloo" if device == "cpu" else "nccl")
    try:
        yield Ranks(rank, world, device)
    finally:
        distributed.destroy_process_group()
