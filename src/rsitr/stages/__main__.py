"""``python -m rsitr.stages KIND SPEC [train|evaluate ...]``: compute an artefact in this process, and nothing else.

The code that runs has to be the code that the spec was made for: a job may have waited in a queue while somebody edited
the sources or pulled newer ones. This is checked before anything is computed, and again before the record is kept.
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

from rsitr.errors import RecordError, RsitrError
from rsitr.gpus import gpus
from rsitr.records.artefact import ArtefactSpec
from rsitr.records.cell import Spec, TuningSpec
from rsitr.records.code import Sources
from rsitr.records.files import read_json
from rsitr.records.identity import LOCK, PACKAGES, installed, locked
from rsitr.records.pretraining import PretrainingSpec
from rsitr.records.prior import PriorSpec
from rsitr.records.study import StudySpec
from rsitr.records.two_stage import TwoStageSpec
from rsitr.stages.entries import code_of
from rsitr.stages.warm import die_with_parent

KINDS: tuple[type[ArtefactSpec], ...] = (Spec, PriorSpec, PretrainingSpec, TuningSpec, TwoStageSpec, StudySpec)
SPECS = {kind.kind: kind for kind in KINDS}
MMAP_THRESHOLD, THRIFTY = -3, 8 * 2**20
"""Of mallopt: blocks above this size go back to the system at once. Blocks of scores have 16 MiB, and the C library of
Linux keeps such blocks in a heap full of holes (2.5 GiB at 100,000 images and 500,000 captions, measured)."""


def give_memory_back() -> None:
    """Let large blocks go back to the system, as far as the C library knows how."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt:
        mallopt(MMAP_THRESHOLD, THRIFTY)


class CodeCheck:
    """That the code and the libraries here are those of a spec, and stay so."""

    def __init__(self, spec: ArtefactSpec):
        """Raises ``RecordError`` where they are not."""
        self.spec, self.code = spec, Sources()
        found = code_of(spec, self.code, None)
        if differing := [part for part, sha in spec.code.items() if found[part] != sha]:
            raise RecordError(f"{spec.path} was not computed ({', '.join(differing)}): {_because()}")
        self.stamps = self._stamps()

    def _stamps(self) -> dict[Path, tuple[int, int]]:
        files = (path.stat() for path in self.code.files)
        return dict(zip(self.code.files, ((file.st_mtime_ns, file.st_size) for file in files), strict=True))

    def again(self) -> None:
        """Before a record is kept: raise ``RecordError`` if a source file has changed in the meantime."""
        if self._stamps() != self.stamps:
            CodeCheck(self.spec)


def _because() -> str:
    other = [
        f"{package} {installed(package) or 'not installed'} instead of {version}"
        for package in PACKAGES
        if (version := locked(LOCK).get(package)) and installed(package) != version
    ]
    if other:
        return f"the libraries here are not those of {LOCK} ({', '.join(other)}). Run `make env`"
    return "the sources have changed since this job was planned. Run the same command again"


def check_devices() -> None:
    """Raise ``RsitrError`` where there are GPUs that torch cannot use: nobody waits for days on a CPU unawares."""
    import torch

    if gpus() and not torch.cuda.is_available():
        raise RsitrError(
            f"{gpus()} NVIDIA devices are here, but torch {torch.__version__} cannot use them: install a driver that "
            "is new enough for it, or set CUDA_VISIBLE_DEVICES=-1 to compute on the CPU"
        )


def compute(spec: ArtefactSpec, stages: list[str]) -> None:
    """Compute an artefact; ``stages`` are those of a cell."""
    check = CodeCheck(spec)
    check_devices()
    match spec:
        case Spec():
            if "train" in stages:
                from rsitr.stages.train import train

                train(spec, check.again)
            if "evaluate" in stages:
                from rsitr.stages.evaluate import evaluate

                give_memory_back()
                evaluate(spec, check.again)
        case PriorSpec():
            from rsitr.stages.prior import train as train_prior

            train_prior(spec, check.again)
        case PretrainingSpec():
            from rsitr.pretraining.run import run as pretrain

            pretrain(spec, check.again)
        case TuningSpec():
            from rsitr.stages.tune import tune

            tune(spec, check.again)
        case TwoStageSpec():
            from rsitr.stages.two_stage import run

            give_memory_back()
            run(spec, check.again)
        case StudySpec():
            from rsitr.stages.clip_study import measure

            measure(spec, check.again)


def main(arguments: list[str]) -> None:
    """End with status 1 and a message where no record could be written."""
    die_with_parent()
    kind, path, *stages = arguments
    try:
        compute(read_json(SPECS[kind], Path(path)), stages)
    except RsitrError as error:
        sys.exit(f"rsitr: {error}")
    except OSError as error:
        sys.exit(f"rsitr: {error}: check that the folder exists, is writable and has free space")


if __name__ == "__main__":
    main(sys.argv[1:])
