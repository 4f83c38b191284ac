"""The pretrained weights that an experiment needs: what they are, which are here, and fetching them before any cell.

What libraries fetch lies in their caches, under names that only they know. After they have fetched it, a receipt in the
project lists the files, so that a graph, and a job on another machine, can tell without them whether all is here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from rsitr.errors import RsitrError, WeightsUnavailable
from rsitr.methods.catalog import schemas
from rsitr.nn.locations import resolve
from rsitr.params import load_params
from rsitr.params.ids import PRETRAINING, SCENES
from rsitr.records.artefact import ArtefactSpec
from rsitr.records.cell import Spec, TuningSpec
from rsitr.records.files import as_json, write_text
from rsitr.records.pretraining import PretrainingSpec
from rsitr.records.prior import PriorSpec
from rsitr.records.study import StudySpec
from rsitr.records.two_stage import TwoStageSpec

SETTINGS = {
    "image_weights": ("image", "image_backbone"),
    "instruction_weights": ("image", "instruction_backbone"),
    "weights": ("clip", "model"),
    "text_weights": ("text", ""),
    "word_vectors": ("vectors", ""),
}
"""Every setting that names weights: what they are of, and which setting names their model."""

TRAINED_HERE = (f"{SCENES}://", f"{PRETRAINING}://")


class Need(NamedTuple):
    """Weights that something starts from."""

    kind: str
    """``image``, ``clip``, ``text`` or ``vectors``."""
    location: str
    """As a setting has it: ``timm``, ``torchvision``, a tag of open_clip, a repository of the hub, a file."""
    model: str
    """Whose weights they are, where the location does not say so."""

    def __str__(self) -> str:
        return f"{self.location} {self.model}".strip()


def wanted(spec: ArtefactSpec) -> list[Need]:
    """The pretrained weights that the computation of an artefact loads, but for those that are trained here."""
    match spec:
        case Spec():
            return list(dict.fromkeys([*_of_settings(settings(spec)), *(wanted(spec.teacher) if spec.teacher else [])]))
        case TuningSpec():
            return wanted(spec.base)
        case PriorSpec():
            return _of_settings(spec.prior.settings.model_dump())
        case PretrainingSpec():
            return _of_settings(spec.settings.model_dump())
        case TwoStageSpec() | StudySpec():
            return list(dict.fromkeys(need for cell in spec.rests_on.values() for need in wanted(cell)))
    raise TypeError(spec)


def settings(spec: Spec) -> dict[str, Any]:
    """Every setting of a cell, but for what tuning finds, which names no weights."""
    facts = schemas()[spec.cell.method_name]
    defaults = {name: field.get("default") for name, field in facts["schema"].get("properties", {}).items()}
    return defaults | facts["variants"].get(spec.cell.variant, {}) | spec.settings


def _of_settings(given: Mapping[str, Any]) -> list[Need]:
    unused = set()
    if given.get("text_encoder", "transformer") != "transformer":
        unused.add("text_weights")
    if not given.get("spatial", True) or given.get("instruction", True) is None:
        unused.add("instruction_weights")
    named = {name: given.get(name) or "none" for name in SETTINGS if name not in unused}
    return [
        Need(kind, named[name], str(given.get(model, "")))
        for name, (kind, model) in SETTINGS.items()
        if named.get(name, "none") != "none" and not named[name].startswith(TRAINED_HERE)
    ]


class Receipt(BaseModel):
    """Which files libraries have fetched into which caches."""

    model_config = ConfigDict(extra="forbid")

    caches: dict[str, str] = {}
    files: dict[str, list[str]] = {}
    """By ``Need``, in words."""

    @staticmethod
    def path(experiment: str) -> Path:
        """Where that of an experiment is."""
        return Path(".rsitr/weights", f"{experiment}.json")

    @classmethod
    def read(cls, experiment: str) -> Receipt:
        """The receipt of an experiment; an empty one where there is none, or where it cannot be read."""
        try:
            return cls.model_validate_json(cls.path(experiment).read_bytes())
        except (OSError, ValidationError):
            return cls()

    def has(self, need: Need) -> bool:
        """Whether some weights are where this process would look for them."""
        files = self.files.get(str(need))
        return files is not None and self.caches == caches() and all(map(os.path.exists, files))


def caches() -> dict[str, str]:
    """Where the libraries of this process keep what they fetch."""
    own = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    hub = Path(os.environ.get("HF_HOME") or own / "huggingface") / "hub"
    torch = Path(os.environ.get("TORCH_HOME") or own / "torch")
    found = {"hub": Path(os.environ.get("HF_HUB_CACHE") or hub), "torch": torch}
    return {name: str(path.expanduser()) for name, path in found.items()}


def here(need: Need, receipt: Receipt) -> bool:
    """Whether some weights are here, as far as that shows without the libraries that load them."""
    return receipt.has(need) or _local(need.location)


@cache
def _local(location: str) -> bool:
    try:
        resolve(location)
    except WeightsUnavailable:
        return False
    return True


def check_weights(spec: ArtefactSpec) -> None:
    """Raise ``RsitrError`` where weights were fetched for an artefact, and this machine does not see them.

    It would be skipped for want of them, which counts as an answer.
    """
    experiment = spec.place.partition("/")[0]
    receipt = Receipt.read(experiment)
    lost = [need for need in wanted(spec) if str(need) in receipt.files and not here(need, receipt)]
    if lost and load_params()[experiment].missing_weights == "fail":
        raise RsitrError(
            f"{spec.path} needs {', '.join(map(str, lost))}, fetched into {' and '.join(receipt.caches.values())}, and "
            f"this machine looks in {' and '.join(caches().values())}: set HF_HOME and TORCH_HOME to folders that all "
            f"machines share, and run `rsitr weights {experiment}` again"
        )


class Obtained(NamedTuple):
    """What became of some weights."""

    need: Need
    fetched: bool
    files: list[str]
    problem: str


def obtain(needs: Iterable[Need]) -> Iterator[Obtained]:
    """Have the libraries that load weights fetch what is not here, in a process of its own; each as it is done."""
    command = [sys.executable, "-m", "rsitr.stages.weights"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        json.dump([*needs], process.stdin)
        process.stdin.close()
        for line in process.stdout:
            need, *rest = json.loads(line)
            yield Obtained(Need(*need), *rest)
    if process.returncode:
        raise RsitrError(f"fetching weights ended with status {process.returncode}: see the message above")


def write_receipt(experiment: str, obtained: Iterable[Obtained]) -> None:
    """Add to the receipt of an experiment what is here now; it is not touched where it says so already."""
    before = Receipt.read(experiment)
    kept = before.files if before.caches == caches() else {}
    files = kept | {str(each.need): each.files for each in obtained if not each.problem}
    after = Receipt(caches=caches(), files=dict(sorted(files.items())))
    if after != before or not Receipt.path(experiment).is_file():
        write_text(Receipt.path(experiment), as_json(after))
