"""``rsitr doctor``: whether this place can compute an experiment, and what to set where it cannot."""

from __future__ import annotations

import fcntl
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import NamedTemporaryFile, gettempdir
from typing import Any, Literal, NamedTuple

from rsitr.errors import ParamsError
from rsitr.gpus import gpus
from rsitr.params import Experiment
from rsitr.pipeline.place import Place, place
from rsitr.pipeline.snakemake import PROFILE
from rsitr.pipeline.status import machine_memory_mb
from rsitr.pipeline.weights import caches
from rsitr.records.provenance import cores

State = Literal["ok", "warning", "failure"]
SLURM_PROFILE = "workflow/profiles/slurm"
PLACEHOLDER = re.compile(r"\b(REGISTRY|COMMIT|BUCKET)\b")
"""What a profile has where names are the user's own."""
PATIENCE = 15
"""Seconds that a program of the scheduler may take to answer."""
SECONDS_APART = (2.0, 60.0)
"""Between the clock of the file server and this machine's: a warning, a failure."""
GB_FREE = (1, 20)
"""On a disk: a failure, a warning."""
FILES_OPEN = (256, 1024)
"""That a process may have: a failure, a warning."""
TRY_LOCK = """import fcntl, sys
try: fcntl.flock(open(sys.argv[1], "rb"), fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError: sys.exit(3)
"""
HELD = 3
"""Its status where another process has the lock."""
UNSHARED = ("nolock", "local_lock=all", "local_lock=flock", "localflock")
"""Options of mounts under which a lock is seen on one machine alone."""


class Check(NamedTuple):
    """Something that was looked at."""

    name: str
    state: State
    found: str
    advice: str = ""
    """What to do, where not all is well."""


def examine(name: str, experiment: Experiment) -> Iterator[Check]:
    """Every check of this place for an experiment, the quick ones first."""
    try:
        here = place()
    except ParamsError as error:
        here = Place("", {})
        yield Check("executor", "failure", str(error), "name a profile, or none")
    else:
        yield executor(here)
    if here.executor == "slurm" and shutil.which("sbatch"):
        yield accounting(here)
    folder = Path.cwd()
    yield locks(folder, mount_of(folder), here)
    yield clocks(folder)
    yield from disks({"project": folder, "temporary files": Path(gettempdir()), "weights": Path(caches()["hub"])})
    yield memory(experiment, here)
    yield processors(experiment, here)
    yield open_files()
    yield mask(folder)
    yield devices(name, experiment, here)
    yield torch_and_driver(gpus())


def executor(here: Place) -> Check:
    """Where jobs run, and whether what sends them there is installed."""
    scheduler = shutil.which("sbatch")
    if here.plugins:
        absent = " and ".join(here.plugins)
        return Check("executor", "failure", f"{absent} not installed", f"pip install {' '.join(here.plugins)}")
    if placeholders := [f"{name}: {text}" for name, text in here.settings.items() if PLACEHOLDER.search(str(text))]:
        found = f"{here.executor}, and {here.profile} says {', '.join(placeholders)}"
        return Check("executor", "failure", found, "put the names of your own there")
    if here.executor == "slurm" and not scheduler:
        return Check("executor", "failure", "slurm, and no sbatch on the path", "run this on a login node")
    if not here.elsewhere and scheduler and "SLURM_JOB_ID" not in os.environ:
        advice = f"export {PROFILE}={SLURM_PROFILE}"
        return Check("executor", "warning", "local, and there is a Slurm: jobs run on this login node", advice)
    return Check("executor", "ok", here.executor + (f", by {here.profile}" if here.profile else ""))


def accounting(here: Place) -> Check:
    """Whether the plug-in can learn from Slurm how jobs ended."""
    if here.settings.get("slurm-status-command") == "squeue":
        return Check("accounting", "ok", "not asked: slurm-status-command is squeue")
    answer = _answer("sacct", "--noheader", "--allocations", "--starttime=now-1minutes")
    if answer.returncode:
        why = (answer.stderr.strip().splitlines() or ["sacct does not answer"])[-1]
        return Check("accounting", "failure", why, f"set slurm-status-command: squeue in {here.profile}")
    return Check("accounting", "ok", "sacct answers")


def _answer(*command: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, 1, "", str(error))


class Mount(NamedTuple):
    """The file system that a folder is on."""

    kind: str
    options: tuple[str, ...]


def mount_of(folder: Path, table: Path = Path("/proc/self/mounts")) -> Mount:
    """The mount with the longest matching path; of no kind where the system has no table of them."""
    best, found = -1, Mount("", ())
    for line in table.read_text(encoding="utf-8").splitlines() if table.is_file() else ():
        _, point, kind, options, *_ = line.split(" ")
        point = point.replace("\\040", " ")
        if folder.is_relative_to(point) and len(point) > best:
            best, found = len(point), Mount(kind, tuple(options.split(",")))
    return found


def locks(folder: Path, mount: Mount, here: Place) -> Check:
    """Whether a lock that one process holds keeps another one out, on other machines, too."""
    advice = "ask for a file system with locks (flock), or move the project to one: two jobs would write one file"
    kind = f" ({mount.kind})" if mount.kind else ""
    with NamedTemporaryFile(dir=folder, prefix=".rsitr-lock-") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return Check("locks", "failure", f"none in this folder{kind}: {error.strerror}", advice)
        other = subprocess.run([sys.executable, "-c", TRY_LOCK, file.name], capture_output=True)
    if other.returncode != HELD:
        return Check("locks", "failure", f"in this folder{kind} they keep nobody out", advice)
    if alone := [option for option in mount.options if option in UNSHARED]:
        state: State = "failure" if here.elsewhere else "warning"
        return Check("locks", state, f"in this folder{kind} of this machine alone: {alone[0]}", advice)
    return Check("locks", "ok", f"held{kind}")


def clocks(folder: Path) -> Check:
    """How far the clock that file times come from is from this machine's: Snakemake compares them."""
    with NamedTemporaryFile(dir=folder, prefix=".rsitr-clock-") as file:
        file.write(b"now")
        file.flush()
        os.fsync(file.fileno())
        apart = Path(file.name).stat().st_mtime - time.time()
    few, many = SECONDS_APART
    state: State = "failure" if abs(apart) >= many else "warning" if abs(apart) >= few else "ok"
    if state == "ok":
        return Check("clocks", state, f"that of the file server agrees within {few:g} s")
    found = f"that of the file server is {abs(apart):.0f} s {'ahead' if apart > 0 else 'behind'}"
    return Check("clocks", state, found, "have both set by NTP: jobs would run again, or be taken for done")


def disks(folders: dict[str, Path]) -> Iterator[Check]:
    """Room on the disk of each folder, and whether it can be written."""
    for name, wanted in folders.items():
        folder = next(path for path in (wanted, *wanted.parents) if path.is_dir())
        free = shutil.disk_usage(folder).free / 1e9
        few, enough = GB_FREE
        if not os.access(folder, os.W_OK | os.X_OK):
            yield Check(f"disk of {name}", "failure", f"{folder} cannot be written", "choose another folder")
        elif free < enough:
            state: State = "failure" if free < few else "warning"
            yield Check(f"disk of {name}", state, f"{free:.1f} GB free in {folder}", "make room, or move it")
        else:
            yield Check(f"disk of {name}", "ok", f"{free:.0f} GB free in {folder}")


def memory(experiment: Experiment, here: Place) -> Check:
    """Whether a cell has the memory that its experiment states; a cluster's scheduler knows its nodes."""
    has = machine_memory_mb()
    found = f"{has} MB for cells, of which one asks for {experiment.mem_mb}"
    if here.elsewhere:
        return Check("memory", "ok", f"a cell asks its node for {experiment.mem_mb} MB")
    if has < experiment.mem_mb:
        return Check("memory", "warning", found, "a cell may be killed: lower batch sizes, or use another machine")
    return Check("memory", "ok", found)


def processors(experiment: Experiment, here: Place) -> Check:
    """Whether a cell has the threads that its numbers depend on."""
    if here.elsewhere:
        return Check("cores", "ok", f"a cell asks its node for {experiment.threads}")
    found = f"{cores()}, of which a cell uses {experiment.threads}"
    if cores() < experiment.threads:
        return Check("cores", "warning", found, "numbers depend on the threads: they will differ in their last digits")
    return Check("cores", "ok", found)


def open_files() -> Check:
    """How many files a process may have open: readers of shards and of images have many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    few, enough = FILES_OPEN
    if 0 <= soft < enough:
        state: State = "failure" if soft < few else "warning"
        return Check("open files", state, f"{soft} at a time", f"ulimit -n {min(hard, 4096) if hard > 0 else 4096}")
    return Check("open files", "ok", "no limit" if soft < 0 else f"{soft} at a time")


def mask(folder: Path) -> Check:
    """Whether what is written can be read again, by a group that shares the folder, too."""
    value = os.umask(0o022)
    os.umask(value)
    if value & 0o700:
        return Check("umask", "failure", f"{value:03o}: files are closed to their owner", "umask 022")
    if folder.stat().st_mode & 0o020 and value & 0o070:
        found = f"{value:03o}: a group shares this folder, and cannot continue what you begin"
        return Check("umask", "warning", found, "umask 002")
    return Check("umask", "ok", f"{value:03o}")


def devices(name: str, experiment: Experiment, here: Place) -> Check:
    """Whether there are GPUs where the experiment needs them."""
    count, visible = gpus(), os.environ.get("CUDA_VISIBLE_DEVICES")
    limited = f", CUDA_VISIBLE_DEVICES={visible}" if visible is not None else ""
    if here.elsewhere:
        asked = "one each" if experiment.needs_gpu else "none"
        return Check("GPUs", "ok", f"jobs ask for {asked}; {count} here{limited}")
    if experiment.needs_gpu and not count:
        advice = f"ask for one, or set experiments.{name}.needs_gpu to false in params.yaml to compute on the CPU"
        return Check("GPUs", "failure", f"none, and {name} needs one{limited}", advice)
    return Check("GPUs", "ok", f"{count}{limited}")


def torch_and_driver(count: int) -> Check:
    """Whether torch can compute on the GPUs here; its process tells what it sees."""
    answer = subprocess.run([sys.executable, "-m", "rsitr.stages.accelerators"], capture_output=True, text=True)
    if answer.returncode:
        last = (answer.stderr.strip().splitlines() or ["no message"])[-1]
        return Check("torch", "failure", f"cannot be imported: {last}", "make env, or pip install 'rsitr[workflow]'")
    return judged(json.loads(answer.stdout), count)


def judged(torch: dict[str, Any], count: int) -> Check:
    """What the facts about torch (``rsitr.stages.accelerators``) mean where there are so many GPUs."""
    built = f"CUDA {torch['cuda']}" if torch["cuda"] else "CPUs"
    found = f"{torch['version']}, built for {built}"
    if not count:
        return Check("torch", "ok", f"{found}; no GPU to try it on")
    if not torch["cuda"]:
        return Check("torch", "failure", f"{found}, and there are GPUs", "install a torch that is built for CUDA")
    if torch["error"]:
        advice = f"update the driver, or install a torch that is built for an older CUDA than {torch['cuda']}"
        return Check("torch", "failure", f"{found}: {torch['error']}", advice)
    return Check("torch", "ok", f"{found}, computes on {', '.join(torch['gpus'])}")
