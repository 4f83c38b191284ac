"""The faults: what is done to a command, and what may come of it."""

from __future__ import annotations

import ctypes
import os
import random
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Literal

from tests.faults.project import PRODUCTS, STAGES, WHOLE, Stage
from tests.helpers.warm import ROOT

BACK = 400 * 86400
"""Seconds."""
PAGE = 4096
NEW_NAMESPACE = 0x20000
"""CLONE_NEWNS of Linux."""
EVERY = tuple(stage.name for stage in STAGES)
Around = Callable[[Path, Stage, random.Random], AbstractContextManager[None]]


@dataclass(frozen=True)
class Fault:
    """What is done to a command. ``tries`` are of each stage; those of whole runs are in ``whole``."""

    name: str
    ends: Literal["well", "told", "anyhow"]
    """``well``: with every file; ``told``: that, or with a message and no traceback; ``anyhow``: a kill says none."""
    tries: int = 1
    whole: int = 0
    actions: tuple[str, ...] = ()
    """At a moment of the n-th operation on files: see ``forks.Armed``."""
    signals: tuple[int, ...] = ()
    """At a moment by the clock."""
    said: tuple[str, ...] = ()
    """What one of a message's words has to be, where it ends with one."""
    child: Callable[[random.Random], None] = field(default=lambda rng: None)
    """In the process, before the command."""
    around: Around = lambda folder, stage, rng: nullcontext()
    """Around the command, in the campaign."""
    folder: str = "project"
    beginning: str = "plain"
    """Which of ``BEGINNINGS`` the processes have been started with."""
    twice: bool = False
    """The command runs two times at once, in one folder or, with a shared cache, in two."""
    shared_cache: bool = False
    cores: int = 2
    lacks: Callable[[], str] = lambda: ""
    """Why it cannot be tried on this machine; empty where it can."""
    stages: Callable[[Stage], bool] = lambda stage: True
    planted: Callable[[], AbstractContextManager[None]] | None = None
    """A defect that the campaign is to find: the verdict is ``ok`` where it does."""

    @property
    def expected(self) -> str:
        """For the table."""
        if self.planted:
            return "the campaign names the defect"
        return {
            "well": "every file as without the fault",
            "told": "every file, or a message; the next run makes every file",
            "anyhow": "old files or new ones; the next run makes every file",
        }[self.ends]


BEGINNINGS: dict[str, Callable[[dict[str, str]], dict[str, str]]] = {
    "plain": lambda environment: environment,
    "no home": lambda environment: {
        name: value for name, value in environment.items() if name != "HOME" and not name.startswith("XDG_")
    },
    "LC_ALL=C": lambda environment: environment | {"LC_ALL": "C", "LANG": "C"},
}
"""Environments that a process has to be started with, since libraries read them once."""


@cache
def no_mounts() -> str:
    """Why file systems cannot be mounted here; empty where they can."""
    made = subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, text=True)
    return "" if made.returncode == 0 else f"no file system can be mounted here: {made.stderr.strip()}"


# In the process


def closed_pipe(rng: random.Random) -> None:
    """Nobody reads what it prints, as of ``| head`` that has ended."""
    read, write = os.pipe()
    os.close(read)
    for number in rng.choice([(1,), (1, 2)]):
        os.dup2(write, number)


def set_back(rng: random.Random) -> None:
    """The clock, as Python's ``time`` has it, is a year behind: all files are from the future."""
    now, now_ns = time.time, time.time_ns
    time.time = lambda: now() - BACK
    time.time_ns = lambda: now_ns() - BACK * 10**9


def little_memory(rng: random.Random) -> None:
    """Some MiB more than it has now, of address space."""
    now = int(Path("/proc/self/statm").read_text().split()[0]) * PAGE
    limit = now + rng.randrange(1, 64) * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def full_tmp(rng: random.Random) -> None:
    """A file system without a free byte is all that this process sees at /tmp."""
    _own_mounts()
    sources = os.open(ROOT, os.O_PATH)
    _mount("tmpfs", Path("/tmp"), "tmpfs", "size=1m")
    if ROOT.is_relative_to("/tmp"):  # a checkout there stays in sight
        ROOT.mkdir(parents=True)
        subprocess.run(["mount", "-c", "--bind", f"/proc/self/fd/{sources}", ROOT], check=True, pass_fds=(sources,))
    os.close(sources)
    try:
        with Path("/tmp/everything").open("wb", buffering=0) as file:
            while True:
                file.write(bytes(PAGE))
    except OSError:
        return


def _own_mounts() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(NEW_NAMESPACE):
        raise OSError(ctypes.get_errno(), "unshare")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)


def _mount(what: str, where: Path, kind: str, options: str) -> None:
    subprocess.run(["mount", "-t", kind, "-o", options, what, where], check=True)


# Around the command


@contextmanager
def small_disk(top: str, read_only: bool, folder: Path, stage: Stage, rng: random.Random) -> Iterator[None]:
    """A folder of the project is a disk of its own with room for a part of what the stage writes, or for nothing."""
    place, aside = folder / top, folder.with_name("aside")
    place.mkdir(exist_ok=True)
    shutil.rmtree(aside, ignore_errors=True)
    place.rename(aside)
    place.mkdir()
    spare = 0 if read_only else rng.randrange(max(stage_pages(folder, stage, top), 1))
    _mount("tmpfs", place, "tmpfs", f"size={max(pages(aside) + spare, 1) * PAGE}")
    try:
        shutil.copytree(aside, place, dirs_exist_ok=True)
        if read_only:
            subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
        yield
    finally:
        shutil.rmtree(aside)
        shutil.copytree(place, aside)
        for _ in range(50):  # a process that was killed may take a moment to let go
            if subprocess.run(["umount", str(place)], capture_output=True).returncode == 0:
                break
            time.sleep(0.1)
        place.rmdir()
        aside.rename(place)


def pages(folder: Path) -> int:
    """Blocks that the files of a folder take."""
    return sum(-(-path.stat().st_size // PAGE) for path in folder.rglob("*") if path.is_file())


def stage_pages(folder: Path, stage: Stage, top: str) -> int:
    """Blocks that a stage fills below a folder, as the reference has them."""
    reference = folder.with_name("reference")
    made = [path for pattern in stage.makes for path in reference.glob(pattern)]
    files = {file for path in made for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file()}
    return sum(-(-file.stat().st_size // PAGE) for file in files if file.is_relative_to(reference / top))


@contextmanager
def shuffled_times(folder: Path, stage: Stage, rng: random.Random) -> Iterator[None]:
    """Every file gets a time of the last years at random. Snakemake itself refuses those of years to come."""
    for path in sorted(folder.rglob("*")):
        if ".snakemake" not in path.parts:
            moment = time.time() - rng.uniform(0, 1e8)
            os.utime(path, (moment, moment), follow_symlinks=False)
    yield


def writes(top: str) -> Callable[[Stage], bool]:
    """Whether a stage writes below a folder."""
    return lambda stage: stage is WHOLE or any(pattern.startswith(top) for pattern in stage.makes)


# Defects that the campaign is to find


@contextmanager
def in_place() -> Iterator[None]:
    """Files are written under their own names, wherever the one way to write them is known."""
    from rsitr.records import files

    @contextmanager
    def careless(path: Path) -> Iterator[Path]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.open("wb").close()
        yield path

    with _replaced("replacing", files.replacing, careless):
        yield


@contextmanager
def unswept() -> Iterator[None]:
    """Nobody removes what killed runs were writing."""
    from rsitr.pipeline import run

    with _replaced("sweep", run.sweep, lambda folders: None):
        yield


@contextmanager
def _replaced(name: str, old: object, new: object) -> Iterator[None]:
    owners = [
        module
        for place, module in [*sys.modules.items()]
        if place.startswith("rsitr.") and getattr(module, name, None) is old
    ]
    for module in owners:
        setattr(module, name, new)
    try:
        yield
    finally:
        for module in owners:
            setattr(module, name, old)


FULL = ("No space left", "no room", "free some space", "bytes left")
DISKS = (*PRODUCTS, ".rsitr")
FAULTS = (
    Fault("none", "well", whole=1),
    Fault("kill at a file operation", "anyhow", tries=3, actions=("kill", "kill all")),
    Fault("kill by the clock", "anyhow", tries=3, whole=100, signals=(9,)),
    Fault("SIGINT", "anyhow", whole=2, actions=("INT",)),
    Fault("SIGTERM", "anyhow", whole=2, actions=("TERM",)),
    Fault("closed pipe", "anyhow", child=closed_pipe),
    Fault("disk full from a file operation on", "told", tries=2, actions=("ENOSPC",), said=FULL),
    Fault("a file operation fails", "told", actions=("EIO",), said=("Input/output error",)),
    *(
        Fault(
            f"{top} has too little room",
            "told",
            around=partial(small_disk, top, False),
            said=FULL,
            lacks=no_mounts,
            stages=(lambda stage: stage.artefact) if top == ".rsitr" else writes(top),
        )
        for top in DISKS
    ),
    *(
        Fault(
            f"{top} is read-only",
            "told",
            around=partial(small_disk, top, True),
            said=("Read-only",),
            lacks=no_mounts,
            stages=(lambda stage: stage.artefact) if top == ".rsitr" else writes(top),
        )
        for top in DISKS
    ),
    Fault("memory too small", "anyhow", whole=1, child=little_memory),
    Fault("/tmp is full", "told", whole=1, child=full_tmp, said=FULL, lacks=no_mounts),
    Fault("umask 077", "well", whole=1, child=lambda rng: os.umask(0o077) and None),
    Fault("spaces and quotes in the path", "well", whole=1, folder='o\'neil "data" $HOME ü'),
    Fault("shuffled times of files", "well", whole=1, around=shuffled_times),
    Fault("two runs at once", "well", twice=True),
    Fault("two runs at once, one cache", "well", whole=1, twice=True, shared_cache=True),
    *(
        Fault(f"--cores {cores}", "well", tries=0, whole=1, cores=cores, stages=lambda stage: stage is WHOLE)
        for cores in (1, 8)
    ),
    Fault("no HOME", "well", whole=1, beginning="no home"),
    Fault("LC_ALL=C", "well", whole=1, beginning="LC_ALL=C"),
    Fault(
        "planted: files are written in place",
        "anyhow",
        tries=8,
        actions=("kill",),
        planted=in_place,
        stages=lambda stage: stage.name in ("clean", "tables"),
    ),
    Fault(
        "planted: unfinished files stay",
        "anyhow",
        tries=12,
        actions=("kill all",),
        planted=unswept,
        stages=lambda stage: stage.name == "evaluate",
    ),
    Fault("clock set back", "well", whole=1, child=set_back),
)
