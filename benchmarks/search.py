"""Search in one's own pictures: rsitr next to a plain loop over open_clip with the same model, and 100,000 pictures.

    RSITR_MIRROR=/path/to/mirror python benchmarks/search.py FOLDER    pictures of a folder: case folder
    python benchmarks/search.py                                        100,000 drawn pictures: case drawn-100k

FOLDER is for example `data/extracted/rsicd/RSICD_images`. Both sides read the same files with one thread, prepare them
as open_clip does, encode them in batches of 32 by a CLIP of three small layers (`tiny-112`, random weights), so that
most of the time is that of everything around the model, and answer the same queries. The drawn pictures are made in
memory and encoded by a fixed random projection to 512 dimensions: what is measured is the index. Each side runs in a
process of its own.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from rsitr.external.models import Encoder, ModelFacts, open_model
from rsitr.records.artefact import Pretrained
from rsitr.records.provenance import peak_memory_mib
from rsitr.search.index import BATCH, Index
from rsitr.search.pictures import Folder
from table import Row, machine, print_rows, write_rows

RESULT = Path(__file__).parents[1] / "results" / "benchmarks" / "search.csv"
PICTURES = 10_000
DRAWN, WIDTH = 100_000, 512
MODEL = "open_clip:tiny-112"
QUERIES = [f"{count} {what}" for count in ("one", "two", "many") for what in ("planes", "boats", "trees", "houses")]
TOP = 10


class Measured(NamedTuple):
    """What one side took."""

    indexing: float
    """Seconds for all pictures."""
    query: float
    """Seconds for one text, from its words on; median."""
    mib: float
    """Peak resident memory."""
    found: list[list[str]]
    """The first pictures of each query."""


class Some(Folder):
    """The first pictures of a folder."""

    def stamps(self) -> dict[str, str]:
        """Of ``PICTURES`` of them."""
        return dict([*super().stamps().items()][:PICTURES])


def timed(query: Callable[[str], list[str]]) -> tuple[float, list[list[str]]]:
    """Median seconds of a query, and what is found."""
    taken, found = [], []
    for text in QUERIES:
        begun = time.perf_counter()
        found.append(query(text))
        taken.append(time.perf_counter() - begun)
    return float(np.median(taken)), found


def ours(place: Path) -> Measured:
    """The index of ``rsitr search``, on the disk."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        model = open_model(MODEL, "none")
        begun = time.perf_counter()
        index = Index(Path(folder), Some(place), model).update()
        seconds = time.perf_counter() - begun
        query, found = timed(lambda text: [hit.name for hit in index.search(model.encode_texts([text]), TOP)[0]])
        return Measured(seconds, query, peak_memory_mib(), found)


def theirs(place: Path) -> Measured:
    """A loop, in memory."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    clip: Any = open_model(MODEL, "none")
    model, tokenizer, transform = clip.model, clip.tokenizer, clip.transform
    names = [*Some(place).stamps()]
    begun = time.perf_counter()
    parts = []
    with torch.inference_mode():
        for start in range(0, len(names), BATCH):
            pixels = torch.stack([transform(Image.open(place / name)) for name in names[start : start + BATCH]])
            parts.append(model.encode_image(pixels, normalize=True))
        images = torch.cat(parts)
        seconds = time.perf_counter() - begun

        def query(text: str) -> list[str]:
            scores = images @ model.encode_text(tokenizer([text]), normalize=True)[0]
            return [names[row] for row in scores.topk(TOP).indices.tolist()]

        return Measured(seconds, *timed(query)[:1], peak_memory_mib(), timed(query)[1])


class Drawn:
    """Pictures of 16 pixels a side, each of random colours."""

    place, seen = Path("drawn"), DRAWN

    def stamps(self) -> dict[str, str]:
        """By their numbers."""
        return {f"{number:06}": "" for number in range(DRAWN)}

    def picture(self, name: str) -> Image.Image:
        """Drawn from its number."""
        return Image.fromarray(np.random.default_rng(int(name)).integers(0, 256, (16, 16, 3), dtype=np.uint8))

    def opened(self) -> AbstractContextManager[object]:
        """Nothing to open."""
        return nullcontext()


class Projection(Encoder):
    """A fixed random projection of the pixels."""

    facts = ModelFacts("drawn", Pretrained(location="drawn", files={}), 0, None)
    scorer = SimpleNamespace(interacts=False)

    def __init__(self) -> None:
        self.weights = torch.randn(16 * 16 * 3, WIDTH, generator=torch.Generator().manual_seed(0))

    def encode_images(self, pictures: Sequence[Any]) -> Tensor:
        """[B, WIDTH]."""
        pixels = torch.tensor(np.stack([np.asarray(picture) for picture in pictures])).flatten(1)
        return (pixels.float() - 127.5) @ self.weights

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """[B, WIDTH] from the lengths of texts."""
        return torch.stack([self.weights[len(text)] for text in texts])


def drawn() -> Measured:
    """An index of many pictures."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        model = Projection()
        begun = time.perf_counter()
        index = Index(Path(folder), Drawn(), model).update()
        seconds = time.perf_counter() - begun
        query, found = timed(lambda text: [hit.name for hit in index.search(model.encode_texts([text]), TOP)[0]])
        return Measured(seconds, query, peak_memory_mib(), found)


def alone(function: Callable[..., Measured], *arguments: Any) -> Measured:
    """Run a function in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def main() -> None:
    """Measure a folder, or drawn pictures without one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    folder = parser.parse_args().folder
    if folder is None:
        found = alone(drawn)
        values = [("index", "s", found.indexing), ("query", "ms", 1e3 * found.query), ("peak memory", "MiB", found.mib)]
        rows = [Row("drawn-100k", name, unit, value, "", None, machine()) for name, unit, value in values]
    else:
        ours_, theirs_ = alone(ours, folder), alone(theirs, folder)
        same = np.mean([len({*a} & {*b}) / TOP for a, b in zip(ours_.found, theirs_.found, strict=True)])
        print(f"{100 * same:.1f} % of the first {TOP} are the same")
        peer = f"open_clip {version('open_clip_torch')} loop"
        rows = [
            Row("folder", f"index of {PICTURES:,} pictures", "s", ours_.indexing, peer, theirs_.indexing, machine()),
            Row("folder", "query", "ms", 1e3 * ours_.query, peer, 1e3 * theirs_.query, machine()),
            Row("folder", "peak memory", "MiB", ours_.mib, peer, theirs_.mib, machine()),
            Row("folder", f"first {TOP} equal to the peer's", "%", 100 * float(same), "", None, machine(), True),
        ]
    write_rows(RESULT, rows)
    print_rows("Search", rows)


if __name__ == "__main__":
    main()
