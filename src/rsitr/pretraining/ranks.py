"""The processes of one training, as torchrun starts them on one node or several; without it, one process.

Nodes need not share a disk: what one process reads, the others are told. A process that fails or is lost ends the
others, at the latest when they have waited for it for as long as they were told to.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NamedTuple

import torch
from torch import Tensor, distributed, nn

from rsitr.errors import ParamsError, ProcessFailed
from rsitr.records.artefact import Outcome


class Ranks(NamedTuple):
    """This process among all."""

    rank: int
    world: int
    device: str
    local: int = 0
    """Its number on this node."""

    @property
    def name(self) -> str:
        """What messages call this process; torchrun numbers the nodes."""
        return f"process {self.rank} (node {os.environ.get('GROUP_RANK', '0')})"

    def gather(self, features: Tensor) -> Tensor:
        """Rows [world B, ...] of every process's rows [B, ...], by rank; gradients come back from all processes."""
        return features if self.world == 1 else _Gather.apply(features, self.rank, self.world)  # type: ignore[no-any-return]

    def total(self, part: Tensor) -> Tensor:
        """The sum of a scalar over the processes, for gradients of parameters that are then averaged over them."""
        return part if self.world == 1 else _Total.apply(part, self.world)  # type: ignore[no-any-return]

    def told(self, value: Any) -> list[Any]:
        """What every process says, by rank."""
        found = [value] * self.world
        if self.world > 1:
            distributed.all_gather_object(found, value)
        return found

    def spread(self, state: Any, source: int) -> Any:
        """Nested dictionaries and lists of the process ``source``, on all; tensors one by one, onto the CPU."""
        if self.world == 1:
            return state
        own = self.rank == source
        plan = [_mapped(state, lambda tensor: tensor.to("meta")) if own else None]
        distributed.broadcast_object_list(plan, source)
        state = state if own else _mapped(plan[0], lambda tensor: torch.empty_like(tensor, device="cpu"))

        def send(tensor: Tensor) -> None:
            moved = tensor.to(self.device)
            distributed.broadcast(moved, source)
            if not own:
                tensor.copy_(moved)

        _mapped(state, send)
        return state

    def wait(self) -> None:
        """Wait until every process is here."""
        if self.world > 1:
            distributed.barrier()

    @contextmanager
    def together(self) -> Iterator[None]:
        """A block that all processes leave, or none: raises the error of the first that failed, on every process."""
        failed: Exception | None = None
        try:
            yield
        except Exception as error:
            failed = error
        reasons = self.told(failed and f"{self.name}: {Outcome.of(failed).reason}")
        if failed:
            raise failed
        if others := [said for said in reasons if said]:
            raise ProcessFailed(others[0])

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Raise ``ProcessFailed`` where an error within only says that another process has gone."""
        try:
            yield
        except RuntimeError as error:
            about_others = isinstance(error, distributed.DistError) or "gloo" in str(error) or "NCCL" in str(error)
            if self.world == 1 or not about_others:
                raise
            said = str(error).strip().splitlines()[0]
            raise ProcessFailed(
                f"another process has ended or does not answer any more ({said}): its own output says why. Run the "
                "same command on every node again to continue"
            ) from error

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


def _mapped(value: Any, change: Callable[[Tensor], Any]) -> Any:
    """``value`` with its tensors changed, in the order of its dictionaries and lists."""
    if isinstance(value, dict):
        return {key: _mapped(each, change) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_mapped(each, change) for each in value)
    return change(value) if isinstance(value, Tensor) else value


class _Gather(torch.autograd.Function):
    """Each process computes the loss of some rows against all rows, so the gradient of a row is the sum of all."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, rank: int, world: int) -> Tensor:
        ctx.rank, ctx.rows = rank, len(features)
        gathered = [torch.empty_like(features) for _ in range(world)]
        distributed.all_gather(gathered, features.contiguous())
        return torch.cat(gathered)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        total = gradients[0].contiguous()
        distributed.all_reduce(total)
        return total[ctx.rank * ctx.rows : (ctx.rank + 1) * ctx.rows], None, None


class _Total(torch.autograd.Function):
    """A part of the loss reaches the parameters through its own process alone, whose gradient is then divided by
    ``world``, so it counts ``world`` times."""

    @staticmethod
    def forward(ctx: Any, part: Tensor, world: int) -> Tensor:
        ctx.world = world
        total = part.detach().clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0] * ctx.world, None


@contextmanager
def joined(device: str | None = None, patience: float = 600) -> Iterator[Ranks]:
    """Join the processes that torchrun has started: gloo on CPUs, nccl on GPUs, one GPU per process.

    ``device`` takes the place of the GPU of a process's own. For ``patience`` seconds one waits for another.
    """
    world, rank, local = (int(os.environ.get(name, "0")) for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK"))
    if device is None:
        device = f"cuda:{local}" if torch.cuda.is_available() else "cpu"
    if device != "cpu":
        torch.cuda.set_device(device)
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
    if world <= 1:
        yield Ranks(0, 1, device)
        return
    distributed.init_process_group("gloo" if device == "cpu" else "nccl", timeout=timedelta(seconds=patience))
    try:
        yield Ranks(rank, world, device, local)
    finally:
        distributed.destroy_process_group()
