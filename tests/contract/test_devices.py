"""No method names a device of its own: every one computes on a GPU that is not here, with tensors that hold no numbers.

torch's fake tensors have shapes, types and devices, and operations on them fail where those do not go together, as they
do on a real GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple
from unittest.mock import patch

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, FakeTensorMode
from torch.nn import functional as F

from rsitr.methods import get_method, registry
from rsitr.methods.base import Batch, Method
from rsitr.methods.triplet import TripletLoss
from tests.contract.test_methods import CAPTIONS, CORPUS, build  # noqa: F401 - a fixture

READS = {
    "camp-bce": "a buffer that a checkpoint holds says by which phase's score to evaluate",
    "camp-triplet": "a buffer that a checkpoint holds says by which phase's score to evaluate",
    "envlf": "negatives are drawn for the images that have any, and words are guessed where they are masked",
    "mtgfe": "negatives are drawn for the images that have any, and words are guessed where they are masked",
    "swan": "the groups of words that are real are computed, and no others",
}
"""Methods that wait for a GPU on the way, to learn numbers that a fake tensor does not have, and what for."""
# Whatever reads no pixels draws its numbers on the CPU, so that every machine has the same.
NAMES = sorted(name for name in registry() if name not in READS and get_method(name).reads_pixels)


class Packed(NamedTuple):
    """Stands for packed sequences, whose length depends on numbers that a fake tensor does not have: nothing is left
    out."""

    data: Tensor
    """[B L, ...]"""
    places: tuple[int, int]
    """B and L."""


def pack(sequences: Tensor, lengths: Tensor, **_: Any) -> Packed:
    assert lengths.device.type == "cpu", "torch wants the lengths on the CPU"
    count, length = sequences.shape[:2]
    return Packed(sequences.flatten(0, 1), (count, length))


def unpacked(packed: Packed, **_: Any) -> tuple[Tensor, None]:
    return packed.data.unflatten(0, packed.places), None


def unsorted(fragments: Tensor) -> tuple[Tensor, Tensor]:
    return fragments, torch.arange(len(fragments), device=fragments.device)


class StandInGRU(nn.Module):
    """Stands for a GRU, which asks the driver of the GPU what it can compute: the same weights, shapes and types."""

    def __init__(self, gru: nn.GRU):
        super().__init__()
        self.gru, self.bidirectional = gru, gru.bidirectional
        self.width = gru.hidden_size * (2 if gru.bidirectional else 1)

    def forward(self, packed: Packed) -> Packed:
        states = F.linear(packed.data, self.gru.weight_ih_l0, self.gru.bias_ih_l0)[..., : self.width]
        return packed._replace(data=states)


def parts(module: nn.Module) -> Iterator[nn.Module]:
    """A module and all inside it, also those that are hidden from optimiser and checkpoint."""
    for part in module.modules():
        yield part
        for value in vars(part).values():
            for hidden in value if isinstance(value, tuple | list) else ():
                if isinstance(hidden, nn.Module):
                    yield from parts(hidden)


def fake(tensor: Tensor) -> Tensor:
    return torch.empty(tensor.shape, dtype=tensor.dtype, device="cuda")


def move(method: nn.Module) -> None:
    """Put a method on the fake GPU, as ``to`` does; its numbers are lost."""
    moved: dict[int, nn.Parameter] = {}
    kept = []  # so that no two parameters have one id
    for part in parts(method):
        for name, parameter in part._parameters.items():
            if parameter is not None and id(parameter) not in {id(each) for each in moved.values()}:
                kept.append(parameter)
                part._parameters[name] = moved.setdefault(
                    id(parameter), nn.Parameter(fake(parameter), requires_grad=parameter.requires_grad)
                )
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = fake(buffer)
        for name, child in part._modules.items():
            if isinstance(child, nn.GRU) and not isinstance(part, StandInGRU):
                part._modules[name] = StandInGRU(child)


class Guessing(FakeTensorMode):
    """Fake tensors that answer when they are asked for numbers: all are 1, but of a mask every second one is false."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            return 1
        if func is torch.ops.aten.nonzero.default:
            [mask] = args
            with self:
                return torch.empty(mask.numel() // 2, mask.ndim, dtype=torch.int64, device=mask.device)
        if func is torch.ops.aten._unique2.default:
            with self:
                return tuple(args[0].new_empty(size) for size in (1, 0, 0))
        if func is torch.ops.aten.index.Tensor:
            with self:
                places = [
                    each
                    for index in args[1]
                    for each in (
                        index.nonzero().unbind(1) if index is not None and index.dtype == torch.bool else [index]
                    )
                ]
            args = (args[0], places)
        return super().__torch_dispatch__(func, types, args, kwargs)


@contextmanager
def fake_gpu(mode: type[FakeTensorMode]) -> Iterator[None]:
    """Every tensor that is made is a fake one, and no other may take part."""
    # Autograd starts a thread for each device with the first gradient of a process, and after that no fork can compute
    # gradients: it must not find this one.
    torch.ones((), requires_grad=True).backward()
    with ExitStack() as stack:
        for name, stand_in in (("pack_padded_sequence", pack), ("pad_packed_sequence", unpacked)):
            stack.enter_context(patch(f"rsitr.nn.text.{name}", stand_in))
        # Margins come from a matrix in memory, and sequences are sorted by their lengths.
        stack.enter_context(patch.object(TripletLoss, "margins", lambda self, batch: torch.empty(4, 4)))
        stack.enter_context(patch("rsitr.methods.scan._by_length", unsorted))
        stack.enter_context(patch("rsitr.methods.scan._trimmed", lambda fragments: fragments))
        # Or autocast would do nothing.
        stack.enter_context(patch("torch.cuda.amp.common.amp_definitely_not_available", lambda: False))
        stack.enter_context(patch("torch.cuda.is_bf16_supported", lambda including_emulation=True: True))
        stack.enter_context(mode(allow_non_fake_inputs=False))
        yield


Build = Callable[[str], Method]


@pytest.fixture
def fresh(build: Any) -> Build:  # noqa: F811
    """Methods of one's own: what was on the fake GPU has lost its numbers."""
    return lambda name: build.__wrapped__(name, "")


def compute(method: Method, tokens: Tensor, mode: type[FakeTensorMode] = FakeTensorMode) -> None:
    """Loss, encodings and scores of a method on the fake GPU."""
    size, count = method.pixels.size, len(tokens)
    with fake_gpu(mode):
        move(method)
        places = torch.empty(count, dtype=torch.int64, device="cuda")
        images = torch.empty(count, 3, size, size, device="cuda")
        positives, teacher = (torch.empty(count, count, dtype=kind, device="cuda") for kind in (torch.bool, None))
        batch = Batch(images, fake(tokens), places, places, positives, 0, teacher)
        if method.trainable:
            with torch.autocast("cuda", torch.bfloat16):
                loss = method.train().loss(batch)
            assert (loss.device.type, loss.dtype) == ("cuda", torch.float32)
        method.eval()
        with torch.no_grad():
            scores = method.score(method.encode_images(images), method.encode_texts(batch.tokens))
        assert scores.device.type == "cuda"


@pytest.mark.parametrize("name", NAMES)
def test_a_method_computes_on_the_device_of_its_tensors(name: str, fresh: Build) -> None:
    method = fresh(name)
    compute(method, method.tokenize(CAPTIONS))


@pytest.mark.parametrize("name", READS)
def test_a_method_that_reads_numbers_computes_on_the_device_of_its_tensors(name: str, fresh: Build) -> None:
    method = fresh(name)
    compute(method, method.tokenize(CAPTIONS), Guessing)


@pytest.mark.parametrize("name", READS)
def test_a_method_that_reads_numbers_does_so(name: str, fresh: Build) -> None:
    """One that no longer does belongs among the others."""
    method = fresh(name)
    with pytest.raises((DynamicOutputShapeException, DataDependentOutputException)):
        compute(method, method.tokenize(CAPTIONS))


class Planted(nn.Module):
    """A part of a method with a fault."""

    def __init__(self, inner: nn.Module, fault: str):
        super().__init__()
        self.inner, self.fault = inner, fault
        self.plain = torch.ones(1)

    def forward(self, images: Tensor) -> Tensor:
        found = self.inner(images)
        match self.fault:
            case "a constant made on the CPU":
                return found + torch.arange(found.shape[-1])
            case "a tensor that is not a buffer":
                return found * self.plain
            case "a way over the CPU":
                return found.cpu()
        return found


@pytest.mark.parametrize("fault", ["a constant made on the CPU", "a tensor that is not a buffer", "a way over the CPU"])
@pytest.mark.parametrize(("name", "mode"), [("vse", FakeTensorMode), ("mtgfe", Guessing)])
def test_a_fault_is_found(name: str, mode: type[FakeTensorMode], fault: str, fresh: Build) -> None:
    method = fresh(name)
    method.backbone = Planted(method.backbone, fault)
    with pytest.raises((RuntimeError, AssertionError), match=r"device|FakeTensor"):
        compute(method, method.tokenize(CAPTIONS), mode)


def test_a_target_on_the_cpu_is_found(fresh: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    method = fresh("clip-ft")
    monkeypatch.setattr(method, "loss", lambda batch: F.cross_entropy(method.batch_scores(batch), torch.arange(4)))
    with pytest.raises(RuntimeError, match="device"):
        compute(method, method.tokenize(CAPTIONS))
