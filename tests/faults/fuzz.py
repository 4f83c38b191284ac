"""Fuzzing of every parser of files from strangers: ``python -m tests.faults.fuzz [TARGET ...] --seconds 60``.

A target takes any bytes as a file of its kind. It has to read them or to raise a ``RsitrError``; anything else is a
defect, and so is a file outside the folder that it works in. With atheris (``pip install atheris``) the search is led
by the code that it reaches. Without, and in the tests, examples are changed at random by hypothesis.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from pkgutil import resolve_name
from typing import NamedTuple

from rsitr.errors import RsitrError

ROWS = [{"image": "a.jpg", "caption": ["a dot", "=1+1"], "split": "train"}, {"image": "b.jpg", "caption": "é"}]


class Target(NamedTuple):
    """A parser of files."""

    name: str
    """Of the file, whose ending chooses the parser."""
    read: Callable[[Path], object]
    examples: Callable[[], list[bytes]]
    """Whole files to begin with."""


def _by(name: str, **options: bool) -> Callable[[Path], object]:
    """The parser ``module:name``, which is imported when it is asked."""
    return lambda path: resolve_name(name)(path, **options)


_annotation = _by("rsitr.datasets.layouts:read_annotation")
_weights = _by("rsitr.nn.state:read_state")
_params = _by("rsitr.params:load_params")
_pretraining = _by("rsitr.pretraining.spec:load_spec")
_record = _by("rsitr.records.cell:Record.read")
_ranks = _by("rsitr.retrieval.rank_files:read_ranks")
_top = _by("rsitr.retrieval.top_files:read_top")
_table = _by("rsitr.datasets.table:read_table")
_sealed = _by("rsitr.records.files:read_csv", sealed=True)


def _archive(path: Path) -> None:
    from rsitr.datasets.archives import extract

    inside = path.parent / "in" / "out"
    inside.parent.mkdir()
    extract(path, inside)


def _scene(path: Path) -> None:
    import numpy as np

    from rsitr.localisation.scene import Scene

    with Scene(path) as scene:
        if scene.width * scene.height > 1 << 20:
            return  # what is large is read in pieces, by who asks for them
        scene.piece(0, 0, scene.height, scene.width)
        if not scene.georeference.missing:
            scene.georeference.lonlat(np.zeros(1), np.zeros(1))
        assert scene.notes


# Examples


def _json_lines() -> list[bytes]:
    return ["".join(json.dumps(row) + "\n" for row in ROWS).encode()]


def _jsons() -> list[bytes]:
    images = [{"filename": "a.jpg", "split": "train", "sentences": [{"raw": "a dot"}], "classname": "dot"}]
    coco = {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"image_id": 1, "caption": "a dot"}]}
    return [json.dumps(content).encode() for content in ({"images": images}, coco, ROWS)]


def _parquet() -> list[bytes]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = io.BytesIO()
    pq.write_table(pa.table({"image": ["a.jpg", "b.jpg"], "caption": [["a dot"], ["a bar", "b"]]}), sink)
    return [sink.getvalue()]


def _tar(mode: str = "w") -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode=mode) as pack:
        for name, content in {"0.jpg": b"\xff\xd8", "0.json": b'{"caption": "a dot"}', "1.txt": b"a bar"}.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            pack.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "0.jpg"
        if mode != "w":
            pack.addfile(link)
    return sink.getvalue()


def _zip() -> list[bytes]:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as pack:
        pack.writestr("a/b.txt", "a dot " * 9)
        pack.writestr("c.txt", "")
    return [sink.getvalue()]


def _safetensors() -> list[bytes]:
    import torch
    from safetensors.torch import save

    return [save({"a.weight": torch.zeros(2, 3), "b": torch.ones(1)}, {"format": "pt"})]


def _torch() -> list[bytes]:
    import torch

    sink = io.BytesIO()
    torch.save({"state_dict": {"a": torch.zeros(2, 3)}}, sink)
    return [sink.getvalue()]


def _yaml() -> list[bytes]:
    import yaml

    from tests.faults.project import params

    first = {"model": "tiny-64", "out": "x", "train_data": "x.tar"}
    return [
        yaml.safe_dump(params()).encode(),
        yaml.safe_dump(first).encode(),
        b"a: &a [*a]\nb: !!python/name:os.system",
    ]


def _records() -> list[bytes]:
    return [json.dumps({"version": 2, "dataset": "scenes-b", "outcome": {"status": "ok"}, "metrics": {}}).encode()]


def _written(write: Callable[[Path], object]) -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "file")
        write(path)
        return [path.read_bytes()]


def _no_ranks() -> list[bytes]:
    from rsitr.retrieval.rank_files import write_ranks

    return _written(lambda path: write_ranks(path, None, None))


def _no_top() -> list[bytes]:
    from rsitr.retrieval.top_files import write_top

    return _written(lambda path: write_top(path, None, None))


def _rows() -> list[bytes]:
    from rsitr.datasets.table import DATASET_SCHEMA, DatasetFacts
    from rsitr.records.parquet import write_table

    facts = DatasetFacts("a", "A", "generated", "", True, "data", "0")
    return _written(lambda path: write_table(DATASET_SCHEMA.empty_table(), facts, path))


def _seal() -> list[bytes]:
    from rsitr.records.files import seal_text

    return [seal_text("file,sha256\na,b\n").encode()]


def _geotiff() -> list[bytes]:
    import numpy as np
    import rasterio
    from rasterio.control import GroundControlPoint
    from rasterio.transform import from_origin

    pixels = np.arange(48, dtype=np.uint8).reshape(3, 4, 4)
    shape = {"driver": "GTiff", "width": 4, "height": 4, "count": 3, "dtype": "uint8", "photometric": "RGB"}
    points = [GroundControlPoint(row, column, column, row) for row, column in ((0, 0), (0, 3), (3, 0), (3, 3))]
    found = []
    for place in ({"crs": "EPSG:32633", "transform": from_origin(5e5, 5e6, 10, 10)}, {"gcps": points}):
        with rasterio.MemoryFile() as memory:
            with memory.open(**shape, **({"crs": "EPSG:4326"} | place)) as file:
                file.write(pixels)
            found.append(memory.read())
    return found


TARGETS = {
    "annotation-json": Target("a.json", _annotation, _jsons),
    "annotation-jsonl": Target("a.jsonl", _annotation, _json_lines),
    "annotation-csv": Target("a.csv", _annotation, lambda: [b"filepath,title\na.jpg,a dot\nb.jpg,\"a, 'bar'\"\n"]),
    "annotation-txt": Target("a.txt", _annotation, lambda: [b"image|caption\na.jpg|a dot\n", b"a dot\na bar\n"]),
    "annotation-parquet": Target("a.parquet", _annotation, _parquet),
    "shards": Target("0.tar", _annotation, lambda: [_tar()]),
    "archive-tar": Target("a.tar", _archive, lambda: [_tar()]),
    "archive-tgz": Target("a.tgz", _archive, lambda: [_tar("w:gz")]),
    "archive-zip": Target("a.zip", _archive, _zip),
    "archive-rar": Target(
        "a.rar", _archive, lambda: [b"Rar!\x1a\x07\x01\x00" + bytes(40), b"Rar!\x1a\x07\x00" + bytes(40)]
    ),
    "safetensors": Target("a.safetensors", _weights, _safetensors),
    "torch": Target("a.pt", _weights, _torch),
    "params": Target("params.yaml", _params, _yaml),
    "pretraining": Target("spec.yaml", _pretraining, _yaml),
    "record": Target("cell.json", _record, _records),
    "ranks": Target("ranks.parquet", _ranks, _no_ranks),
    "top": Target("top.parquet", _top, _no_top),
    "table": Target("dataset.parquet", _table, _rows),
    "sealed": Target("a.csv", _sealed, _seal),
    "geotiff": Target("a.tif", _scene, _geotiff),
}


@cache
def examples(name: str) -> tuple[bytes, ...]:
    """Whole files of a target."""
    return (*TARGETS[name].examples(),)


def check(name: str, content: bytes) -> None:
    """Let a target read bytes; raises what is a defect."""
    target = TARGETS[name]
    with tempfile.TemporaryDirectory(prefix="rsitr-fuzz-") as folder:
        path = Path(folder, target.name)
        path.write_bytes(content)
        with suppress(RsitrError):
            target.read(path)
        if outside := {each.name for each in Path(folder).iterdir()} - {target.name, "in"}:
            raise AssertionError(f"{outside} are outside the folder of the target")


def changed(content: bytes, edits: list[tuple[str, float, bytes]]) -> bytes:
    """Bytes after some edits: what is done, how far into them, and with which bytes."""
    for kind, part, new in edits:
        place = int(part * len(content))
        match kind:
            case "replace":
                content = content[:place] + new + content[place + len(new) :]
            case "insert":
                content = content[:place] + new + content[place:]
            case "cut":
                content = content[:place]
            case "repeat":
                content = content[:place] + content[place : place + 64] * 8 + content[place:]
    return content


# The search


def by_atheris(name: str, seconds: int) -> int:
    """In this process, which atheris ends."""
    import atheris

    with atheris.instrument_imports(include=["rsitr"]):
        first = examples(name)
        for content in first:
            check(name, content)
    corpus = tempfile.mkdtemp(prefix="rsitr-fuzz-corpus-")
    for number, content in enumerate(first):
        Path(corpus, str(number)).write_bytes(content)
    arguments = [f"-max_total_time={seconds}", "-rss_limit_mb=4096", "-timeout=60", "-print_final_stats=1"]
    arguments += [f"-artifact_prefix={corpus}/", corpus]
    atheris.Setup([name, *arguments], lambda content: check(name, content))
    atheris.Fuzz()
    return 0


def by_hypothesis(name: str, seconds: int) -> int:
    """Returns how many examples were tried; raises what is a defect."""
    from tests.faults.test_fuzz import property_of

    limit, tried = time.monotonic() + seconds, 0
    while time.monotonic() < limit:
        property_of(name, 200)()
        tried += 200
    return tried


def main(arguments: list[str]) -> int:
    """Every target for some seconds, each in a process of its own; returns how many have a defect."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.fuzz")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"Default: all: {', '.join(TARGETS)}")
    parser.add_argument("--seconds", type=int, default=60, help="Of each target.")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    led = importlib.util.find_spec("atheris") is not None
    if options.here:
        (name,) = options.targets
        tried = (by_atheris if led else by_hypothesis)(name, options.seconds)
        print(f"{tried} examples")
        return 0
    wrong = 0
    for name in options.targets or TARGETS:
        command = [sys.executable, "-m", "tests.faults.fuzz", name, "--seconds", str(options.seconds), "--here"]
        with tempfile.TemporaryDirectory(prefix="rsitr-fuzz-") as folder:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                errors="replace",
                env=os.environ | {"TMPDIR": folder},
                check=False,
            )
        said = done.stdout + done.stderr
        tried = next((line.split()[-1] for line in said.splitlines() if "number_of_executed_units" in line), "")
        tried = tried or next((line.split()[0] for line in said.splitlines() if line.endswith(" examples")), "?")
        verdict = "\n".join(line for line in said.splitlines() if not line.startswith(("#", "INFO:", "WARNING:")))
        verdict = verdict[:4000] if done.returncode else "ok"
        print(f"{name}: {tried} tries by {'atheris' if led else 'hypothesis'}: {verdict}", flush=True)
        wrong += bool(done.returncode)
    return wrong


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
