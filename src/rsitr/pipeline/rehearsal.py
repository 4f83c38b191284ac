"""``rsitr rehearse``: run every configuration of an experiment for a few steps, before a GPU is spent on it.

One after another, each in a process of its own with a limit of time, and in a folder of its own, so that nothing that
exists is touched. What was found is kept in a file each, and a rerun continues with what is missing or failed.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from filelock import FileLock, Timeout

from rsitr.datasets.base import mirror_dir
from rsitr.errors import ParamsError, RecordError
from rsitr.params import Params
from rsitr.params.ids import JOINT
from rsitr.pipeline.process import environment
from rsitr.pipeline.run import write_spec
from rsitr.pipeline.specs import configurations
from rsitr.progress import Progress
from rsitr.records.artefact import ArtefactSpec, Outcome
from rsitr.records.cell import Spec, TuningSpec
from rsitr.records.files import read_json, write_json
from rsitr.records.identity import code_sha
from rsitr.records.pretraining import PretrainingSpec
from rsitr.records.prior import PriorSpec
from rsitr.records.provenance import sha256_json
from rsitr.records.rehearsal import Rehearsed

FOLDER = Path(".rsitr/rehearsal")
MINUTES = 10.0
"""That a configuration may take."""
TRAIN_IMAGES = {"rsitmd": 3432, "rsicd": 8734, "ucm": 1680, "sydney": 497, "aid": 10000, "resisc45": 31500}
"""Of the official split of each set."""
CAPTIONS = 5
"""Of an image, in all of them."""
LAST_LINES = 5
"""Of a process that ended without a report: how many lines of its errors are told."""


def planned(params: Params, experiment: str, only: Collection[str] = ()) -> list[ArtefactSpec]:
    """Every configuration of an experiment: first one of each method, then the variants, then the other datasets.

    ``only`` names items, as ``cells/paper/rsicd/vse/0``; raises ``ParamsError`` for one that is not among them.
    """
    found = list(configurations(params, experiment).values())
    if unknown := set(only) - {spec.item for spec in found}:
        raise ParamsError(
            f"{', '.join(sorted(unknown))} is not a configuration of {experiment}: name a cell, a prior, a "
            "pretraining, a tuning, a two-stage retrieval or a study by its kind, its place and its first seed, as "
            "`rsitr status` lists them"
        )
    times: Counter[Any] = Counter()
    rank: dict[str, tuple[int, int, bool]] = {}
    for spec in found:
        own, family = (spec.method, spec.cell.method_name) if isinstance(spec, Spec) else (spec.item, spec.kind)
        if not times[own]:
            times[family, ""] += 1
        rank[spec.item] = times[own], times[family, ""], not isinstance(spec, Spec)
        times[own] += 1
    return [spec for spec in sorted(found, key=lambda spec: rank[spec.item]) if not only or spec.item in only]


def report_file(spec: ArtefactSpec) -> Path:
    """Where the report of a rehearsal is."""
    return FOLDER / "reports" / f"{spec.item}.json"


def key_of(spec: ArtefactSpec) -> str:
    """The identity of everything that a rehearsal shows: settings, their code, and the code of the rehearsal."""
    return sha256_json([spec.identities, code_sha(("rsitr.stages.rehearse",))])


def current(spec: ArtefactSpec) -> Rehearsed | None:
    """The report on a configuration as it is now, or None."""
    with suppress(RecordError):
        path = report_file(spec)
        found = read_json(Rehearsed, path) if path.is_file() else None
        return found if found and found.key == key_of(spec) else None
    return None


def rehearse(specs: Sequence[ArtefactSpec], minutes: float = MINUTES) -> list[Rehearsed]:
    """Rehearse what has no current report, or one of a failure; returns the reports on all of ``specs``.

    Raises ``ParamsError`` while another rehearsal runs in this folder.
    """
    FOLDER.mkdir(parents=True, exist_ok=True)
    lock = FileLock(FOLDER / "lock")
    try:
        held = lock.acquire(timeout=0)
    except Timeout:
        raise ParamsError("a rehearsal is running in this folder already: wait for it, or stop it") from None
    with held:
        shared = FOLDER.resolve() / "shared"
        shutil.rmtree(shared, ignore_errors=True)  # of a rehearsal that was killed
        wanted = [spec for spec in specs if (found := current(spec)) is None or found.outcome.status == "failed"]
        try:
            with Progress("rehearse", len(wanted)) as progress:
                for spec in wanted:
                    found = _one(spec, shared, minutes)
                    progress.say(line(found))
                    progress.advance()
        finally:
            shutil.rmtree(shared, ignore_errors=True)
    return [found for spec in specs if (found := current(spec))]


def _one(spec: ArtefactSpec, shared: Path, minutes: float) -> Rehearsed:
    """Rehearse a configuration in a process of its own and write the report, whatever becomes of the process."""
    out, key = report_file(spec).resolve(), key_of(spec)
    for name in ("data", "weights"):
        (shared / name).mkdir(parents=True, exist_ok=True)
    out.unlink(missing_ok=True)
    begun = time.monotonic()
    arguments = [spec.kind, str(write_spec(spec).resolve()), str(out), str(shared)]
    with TemporaryDirectory(dir=shared, prefix="run-") as folder:
        errors = Path(folder, "errors.log")
        with errors.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "rsitr.stages.rehearse", *arguments],
                cwd=folder,
                env=surroundings(spec.threads, shared),
                stdout=log,
                stderr=log,
            )
            try:
                code: int | None = process.wait(minutes * 60)
            except subprocess.TimeoutExpired:
                code = None
            finally:
                process.kill()
                process.wait()
        if not out.is_file():
            told = errors.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-LAST_LINES:]
            outcome = Outcome(status="failed", reason=_why(code, minutes), traceback="\n".join(told))
            write_json(out, Rehearsed(item=spec.item, key="", outcome=outcome))
    # With the key comes into force what the process has written: a report without it counts as none.
    found = read_json(Rehearsed, out).model_copy(update={"key": key, "seconds": round(time.monotonic() - begun, 1)})
    write_json(out, found)
    return found


def _why(code: int | None, minutes: float) -> str:
    if code is None:
        return f"took more than {minutes:g} minutes: raise --minutes"
    if code < 0:
        hint = " (out of memory?)" if -code == signal.SIGKILL else ""
        return f"killed by {signal.Signals(-code).name}{hint}"
    return f"ended with status {code} and no report"


def surroundings(threads: int, shared: Path) -> dict[str, str]:
    """The environment of a rehearsal: no GPU, no network, caches of its own."""
    found = environment(threads)
    found |= {"PYTHONPATH": str(Path(__file__).resolve().parents[2]), "CUDA_VISIBLE_DEVICES": ""}
    found |= {"HF_HOME": str(shared / "hub"), "HF_HUB_CACHE": str(shared / "hub" / "hub"), "HF_HUB_OFFLINE": "1"}
    found |= {"TORCH_HOME": str(shared / "torch")}
    if mirror := mirror_dir():
        found["RSITR_MIRROR"] = os.fspath(mirror.resolve())
    return found


class Estimate(NamedTuple):
    """Of the real training on the processor of the rehearsal."""

    steps: int
    hours: float


def estimate(spec: ArtefactSpec, found: Rehearsed) -> Estimate | None:
    """The most steps of the real course, each as long as a rehearsed one times the ratio of their batches.

    On this CPU, without the time of reading images, choosing the epoch and evaluation. None without training, or for a
    dataset of a size that is not known here and a course that does not state its steps.
    """
    sizes: list[int | None] = []
    match spec:
        case PriorSpec():
            sizes = [TRAIN_IMAGES.get(name) for name in spec.prior.datasets]
        case Spec():
            sizes = _images(spec)
        case TuningSpec():
            sizes = _images(spec.base)
        case PretrainingSpec():
            sizes = [spec.settings.samples_per_epoch or TRAIN_IMAGES.get(spec.dataset)]
    if not found.course or not found.step_seconds or not found.batch:
        return None
    steps = found.course.max_steps
    if steps is None:
        if None in sizes:
            return None
        samples = sum(filter(None, sizes)) * (CAPTIONS if found.course.samples == "captions" else 1)
        steps = found.course.epochs * max(samples // found.course.batch_size, 1)
    if isinstance(spec, TuningSpec):
        steps = spec.trials * min(steps, spec.max_steps)
    return Estimate(steps, steps * found.step_seconds * found.course.batch_size / found.batch / 3600)


def _images(spec: Spec) -> list[int | None]:
    return [TRAIN_IMAGES.get(name) for name in JOINT.get(spec.split_protocol, (spec.dataset,))]


def figures(spec: ArtefactSpec, found: Rehearsed) -> list[str]:
    """Parameters, peak MiB, seconds, seconds a step, real steps and hours on this CPU, as a table has them."""
    real = estimate(spec, found)
    step = f"{found.step_seconds:.2f}" if found.step_seconds else ""
    counts = [str(value) if value else "" for value in (found.parameters, found.peak_memory_mib)]
    return [*counts, f"{found.seconds:.0f}", step, *((str(real.steps), f"{real.hours:.1f}") if real else ("", ""))]


def line(found: Rehearsed) -> str:
    """One line for a person."""
    facts = [f"{found.seconds:.0f} s"]
    if found.parameters:
        facts.append(f"{found.parameters / 1e6:.1f} M parameters")
    if found.peak_memory_mib:
        facts.append(f"{found.peak_memory_mib} MiB")
    why = f": {found.outcome.reason}" if found.outcome.reason else ""
    place = f" [{found.place}]" if found.place else ""
    return f"{found.item}: {found.outcome.status} ({', '.join(facts)}){why}{place}"


def summary(specs: Sequence[ArtefactSpec], found: Sequence[Rehearsed]) -> str:
    """How many ended how, and of what did not end well, why."""
    counts = Counter(each.outcome.status for each in found)
    missing = len(specs) - len(found)
    told = [f"{counts['ok']} ok, {counts['failed']} failed, {counts['skipped']} left out, {missing} not rehearsed yet"]
    told += [line(each) for status in ("failed", "skipped") for each in found if each.outcome.status == status]
    return "\n".join(told)
