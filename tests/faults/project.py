"""The tiny project of the campaign, its stages, and what of it has to come out the same.

A stage is one command. It begins with the reference project without the stage's own products, and ends with the
reference project. What may differ between two runs is named here and nowhere else: times, memory, and tables of them.
"""

from __future__ import annotations

import base64
import copy
import gzip
import hashlib
import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from rsitr.pipeline.project import lay_out
from tests.helpers.project_copy import TINY

CELL = "tiny/scenes-b/vse/0"
PRODUCTS = ("data", "checkpoints", "results")
APART = ("results/logs/", "results/timing/")
"""What Snakemake writes of its jobs."""
STATES = ("data/similarity/",)
"""What is filled in place, with a note of how far it is whole: a killed run continues from it."""
TIMES = re.compile("second|memory")
"""In keys of JSON that say how long something took, and how much it needed."""
TIMED = re.compile(
    r"results/tables/.*/(convergence|mtgfe-table-4|peder-claims|peder-measures|two-stage|tuning)\.|results/site/.*\.(js|json|html)$"
)
"""Files with such numbers in other forms: their numbers do not count, all else does."""
PACKED = re.compile(rb'"(H4sI[A-Za-z0-9+/=]+)"')
"""JSON of the site: gzip, base64."""
BOLD = re.compile(rb"\*\*|</?b>|\\textbf|[{}]")
"""The best of several times is set bold."""
NUMBER = re.compile(rb"[-+.\d]*\d(e[-+]?\d+)?")


@dataclass(frozen=True)
class Stage:
    """A command, and the patterns of the files that it makes."""

    name: str
    command: tuple[str, ...]
    makes: tuple[str, ...]
    artefact: bool = False
    """Computed in a process of its own, with a record of how that ended."""
    rewrites: bool = False
    """The command makes its files again where they are there."""


def _artefact(name: str, command: tuple[str, ...], *makes: str) -> Stage:
    return Stage(name, ("rsitr", *command), makes, artefact=True)


def _other(name: str, command: str, *makes: str) -> Stage:
    return Stage(name, ("rsitr", *command.split()), makes, rewrites=True)


STAGES = (
    _other("fetch", "data fetch scenes-b", "data/raw/scenes-b/source.json"),
    _other("canonical", "data build scenes-b", "data/canonical/scenes-b/dataset.parquet", "data/extracted/scenes-b"),
    _other("thumbnails", "dedup thumbnails scenes-b", "data/thumbnails/scenes-b.parquet"),
    _other("near duplicates", "dedup pairs scenes-b --shard 0/1", "data/near_duplicates/scenes-b/scenes-b/*"),
    _other("gather", "dedup gather scenes-b scenes-b 1", "data/near_duplicates/scenes-b/scenes-b.parquet"),
    _other("clean", "data clean scenes-b --dedup remoteclip", "data/canonical/scenes-b/clean-official-remoteclip.*"),
    _other("keywords", "captions keywords scenes-b", "data/keywords/scenes-b.parquet"),
    _other("similarity", "captions similarity scenes-b bleu-1 --dedup remoteclip", "data/similarity"),
    _artefact("scenes", ("run", "scenes/tiny/scenes"), "results/scenes", "checkpoints/scenes"),
    _artefact("pretraining", ("run", "pretraining/tiny/first"), "results/pretraining", "checkpoints/pretraining"),
    _artefact("tuning", ("run", "tuning/tiny/scenes-b/vse"), "results/tuning"),
    _artefact("train", ("train", CELL), f"checkpoints/{CELL}"),
    _artefact("evaluate", ("evaluate", CELL), f"results/cells/{CELL}"),
    _artefact("two-stage", ("run", "two_stage/tiny/scenes-b/vse/chance/0"), "results/two_stage"),
    _artefact("study", ("run", "peder/tiny/scenes-b/clip/0"), "results/peder/tiny/scenes-b/clip"),
    _other("tables", "tables tiny --only comparison", "results/tables/tiny/comparison.*"),
    _other("figures", "tables tiny --only leakage", "results/tables/tiny/leakage.*"),
    _other("site", "site tiny", "results/site"),
)
WHOLE = Stage("whole run", ("snakemake", "--cores", "2", "all"), (*PRODUCTS,))


def params() -> dict[str, Any]:
    """An experiment with every kind of artefact, each as small as can be."""
    found = copy.deepcopy(TINY)
    tiny = found["experiments"]["tiny"]
    image = {"image_backbone": "test_resnet", "image_weights": "none", "image_size": 32, "epochs": 2}
    tiny["priors"] = {"scenes": {"datasets": ["scenes-b"], "settings": image}}
    first = {"model": "tiny-64", "epochs": 1, "batch_size": 8, "workers": 0}
    tiny["pretrained"] = {"first": {"dataset": "scenes-b", "settings": first}}
    tiny["matrix"] = [
        {"datasets": ["scenes-b"], "methods": ["chance", "vse", "clip"], "seeds": [0]},
        {"datasets": ["scenes-b"], "methods": ["vse@tuned"], "seeds": [0], "settings": "tuned"},
    ]
    tiny["settings"]["all"]["batch_size"] = 8
    clip = {"model": "tiny-64", "weights": "pretraining://tiny/first"}
    tiny["settings"]["methods"] = {"clip": clip, "vse@tuned": {}, "vse": {"epochs": 2}}
    space = {"learning_rate": {"low": 1e-3, "high": 1e-2, "log": True}}
    tiny["tuning"] = {"trials": 2, "max_steps": 4, "space": {"all": space}}
    tiny["two_stage"] = [
        {"datasets": ["scenes-b"], "scorer": "vse", "filter": "chance", "shortlists": [2], "seeds": [0]}
    ]
    return found


def lay_out_tiny(folder: Path) -> None:
    """A project with nothing computed."""
    lay_out(folder)
    (folder / "params.yaml").write_text(yaml.safe_dump(params(), sort_keys=False))


def copy_without(reference: Path, folder: Path, stage: Stage, keep: bool = False) -> None:
    """Make a folder the reference project as it was before a stage, or ``keep`` what the stage is to replace."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(reference, folder, ignore=shutil.ignore_patterns("locks", "log"))
    if keep:
        return
    for pattern in stage.makes:
        for path in folder.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def products(folder: Path, known: dict[tuple[str, int, int], str]) -> dict[str, str]:
    """Every file that was computed -> a digest of what has to be the same in it.

    ``known`` has the digests of files by name, size and time in nanoseconds: a copy keeps the time.
    """
    found = {}
    for top in PRODUCTS:
        for path in (folder / top).rglob("*"):
            name = path.relative_to(folder).as_posix()
            if path.is_file() and not name.startswith(APART):
                facts = path.stat()
                key = name, facts.st_size, facts.st_mtime_ns
                found[name] = known[key] if key in known else known.setdefault(key, digest(name, path))
    return found


def digest(name: str, path: Path) -> str:
    """Of the bytes of a file without what may differ."""
    content = path.read_bytes()
    if name.startswith("results/site/"):
        content = PACKED.sub(lambda found: gzip.decompress(base64.b64decode(found[1])), content)
    if TIMED.match(name):
        drawn = name.endswith(".png") and content.startswith(b"\x89PNG")
        content = b"" if drawn else NUMBER.sub(b"0", BOLD.sub(b"", content))
    elif name.endswith(".json"):
        try:
            content = json.dumps(_timeless(json.loads(content)), sort_keys=True).encode()
        except ValueError:
            content = b"no JSON: " + content
    return hashlib.sha256(content).hexdigest()


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(each) for key, each in value.items() if not TIMES.search(key)}
    return [*map(_timeless, value)] if isinstance(value, list) else value


def failed(folder: Path) -> set[str]:
    """Folders of results and checkpoints of artefacts whose record says that they failed."""
    found = set()
    kept = [path for name in ("train.json", "pretrain.json") for path in (folder / "checkpoints").rglob(name)]
    for path in [*(folder / "results").rglob("*.json"), *kept]:
        try:
            record = json.loads(path.read_bytes())
        except (OSError, ValueError):
            continue
        if isinstance(record, dict) and (record.get("outcome") or {}).get("status") == "failed":
            place = path.parent.relative_to(folder).as_posix()
            found |= {place, place.replace("results/cells", "checkpoints").replace("results", "checkpoints")}
    return found
