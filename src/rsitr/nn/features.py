"""Tokens of a frozen backbone, computed once per dataset and kept on disk.

The cache is keyed by what the tokens depend on: the layers, their weights, the pixel format and the bytes of the
images. A second cell that needs the same tokens waits for the first one's.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor, nn
from torch.utils.data import DataLoader

from rsitr.nn.pixels import PixelDataset, PixelFormat
from rsitr.progress import Progress
from rsitr.records.files import intact, replacing, seal
from rsitr.records.provenance import cores, sha256_file, sha256_json

BATCH = 32
_checked: set[tuple[int, ...]] = set()
"""What this process has compared with its seal already: a tuning would do so for each split of each trial."""


def cached_tokens(
    backbone: nn.Module, pixels: PixelFormat, paths: list[Path], hashes: list[str], cache: Path, device: str
) -> np.ndarray:
    """Tokens float16 [images, N, C] of ``paths``, memory-mapped; ``hashes`` are the SHA-256 of the files."""
    # The layers as printed: the same weights under another padding or stride give other tokens.
    key = sha256_json([str(backbone), state_sha(backbone), pixels, hashes])[:32]
    path = cache / "tokens" / f"{key}.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not _intact(path):
        with FileLock(path.with_suffix(".lock")):
            if not _intact(path):
                # Other cells that want these tokens wait in the meantime, so the whole machine is free.
                threads = torch.get_num_threads()
                torch.set_num_threads(cores())
                _compute(backbone, pixels, paths, path, device)
                torch.set_num_threads(threads)
    return np.load(path, mmap_mode="r")


def _intact(path: Path) -> bool:
    """``intact``, without reading what has been read before and has not been written since."""
    if not path.is_file():
        return False
    stat = path.stat()
    key = (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns)
    if key not in _checked:
        if not intact(path):
            return False
        _checked.add(key)
    return True


def frozen_tokens(backbone: nn.Module, pixels: Tensor) -> Tensor:
    """Tokens float16 [B, N, C] of pixels [B, 3, H, W], as the cache keeps them."""
    return torch.cat([backbone(part).to(torch.float16) for part in pixels.split(BATCH)])


@torch.inference_mode()
def _compute(backbone: nn.Module, pixels: PixelFormat, paths: list[Path], path: Path, device: str) -> None:
    backbone = backbone.to(device).eval()
    dataset = PixelDataset(paths, pixels)
    indices = [(0, index) for index in range(len(paths))]
    # With its own generator the loader leaves torch's alone: training is the same with a cold or a warm cache.
    loader = DataLoader(dataset, BATCH, sampler=indices, generator=torch.Generator())  # type: ignore[arg-type]
    store = None
    # A name of its own: another machine sharing the folder may hold a lock that this one cannot see.
    with replacing(path) as partial, Progress("features", len(loader)) as progress:
        for number, batch in enumerate(loader):
            tokens = frozen_tokens(backbone, batch.to(device)).cpu().numpy()
            if store is None:
                shape = (len(paths), *tokens.shape[1:])
                store = np.lib.format.open_memmap(partial, mode="w+", dtype=np.float16, shape=shape)
            store[number * BATCH : number * BATCH + len(tokens)] = tokens
            progress.advance()
        assert store is not None
        store.flush()
        seal(path, sha256_file(partial))


def state_sha(module: nn.Module) -> str:
    """SHA-256 over the names and values of a module's tensors: the identity of its weights."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(name.encode() + _bytes(value))
    return digest.hexdigest()


def _bytes(value: Tensor) -> bytes:
    return value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
