"""Commands in forks of this process, each with a fault that begins at a chosen moment.

Everything is imported once. A moment is the number of an operation on files: this process counts them by an audit hook,
in itself and in all that it forks, so that the same number is the same moment in every try. Signals by the clock hit
what happens inside libraries as well.
"""

from __future__ import annotations

import errno
import gc
import mmap
import os
import pkgutil
import signal
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from tests.helpers import warm

OPERATIONS = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.chmod", "fsync"}
CREATING = {"open", "os.rename", "os.mkdir", "fsync"}
"""Those that a full disk refuses."""
WRITING = os.O_WRONLY | os.O_RDWR
LONGEST = 600.0
"""Seconds that a command may take."""
ENDLESS = 999
"""The status of a command that did not end."""
ENDING = 120.0
"""Seconds that processes may take to end after the one that they belong to."""
_count = mmap.mmap(-1, 8)
"""Operations on files so far, of this process and all that it forks."""


@dataclass(frozen=True)
class Armed:
    """What happens at the n-th operation on files: ``kill``, ``kill all``, ``INT``, ``TERM``, an errno."""

    action: str
    at: int


class _State:
    armed: Armed | None = None
    group: int = 0
    fired: bool = False


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    armed = _State.armed
    if armed is None or event not in OPERATIONS:
        return
    if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & WRITING):
        return
    if str(arguments[0]).startswith(("/dev/null", "/dev/tty", "/proc/")):
        return
    (count,) = struct.unpack("q", _count[:8])
    _count[:8] = struct.pack("q", count + 1)
    if count + 1 < armed.at or _State.fired:
        return
    if armed.action.startswith("kill") and event == "open" and isinstance(arguments[0], str):
        _State.armed = None  # killed right after it was opened, when it is there and empty
        os.close(os.open(arguments[0], arguments[2], 0o600))
    match armed.action:
        case "kill" if count + 1 == armed.at:
            os.kill(os.getpid(), signal.SIGKILL)
        case "kill all" if count + 1 == armed.at:
            os.killpg(_State.group, signal.SIGKILL)
        case "INT" | "TERM" if count + 1 == armed.at:
            os.killpg(_State.group, getattr(signal, f"SIG{armed.action}"))
        case "ENOSPC" | "EIO" if event in CREATING:
            _State.fired = armed.action == "EIO"  # a disk that is full stays full
            number = getattr(errno, armed.action)
            raise OSError(number, os.strerror(number), arguments[0])


def counted() -> int:
    """Operations on files since the last start."""
    return struct.unpack("q", _count[:8])[0]


def prepare() -> None:
    """Import what every command needs, and listen to operations on files."""
    warm.libraries()
    import rsitr

    for module in pkgutil.walk_packages(rsitr.__path__, "rsitr."):
        if not module.name.endswith("__main__") or module.name in warm.PROGRAMS:
            import_module(module.name)
    import_module("snakemake.cli")
    sync = os.fsync
    os.fsync = lambda file: (_hook("fsync", (file,)), sync(file))[1]
    sys.addaudithook(_hook)
    gc.collect()
    gc.freeze()


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    """Below 0 for a signal, ``ENDLESS`` for what did not end."""
    said: str
    seconds: float
    operations: int
    left: bool
    """Whether processes of it were still there when they should have ended."""


class Running:
    """A command in a fork, in a group of its own."""

    def __init__(
        self,
        command: tuple[str, ...],
        folder: Path,
        out: Path,
        environment: Mapping[str, str],
        armed: Armed | None = None,
        child: Callable[[], None] = lambda: None,
        listeners: bool = True,
    ):
        """``listeners``: the command starts processes of its own, which are forked, too."""
        self.out, self.began = out, time.monotonic()
        self.ended: Ended | None = None
        out.unlink(missing_ok=True)
        _count[:8] = bytes(8)
        self.pid = os.fork()
        if not self.pid:
            _lead(command, folder, out, environment, armed or Armed("none", 1 << 60), child, listeners)

    def signal(self, number: int, everybody: bool = True) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number) if everybody else os.kill(self.pid, number)

    def wait(self, until: float | None = None) -> Ended | None:
        """How it ended; None where it has not by ``until`` (of the monotonic clock)."""
        limit = self.began + LONGEST
        while self.ended is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            now = time.monotonic()
            if pid:
                code, left = os.waitstatus_to_exitcode(status), self._sweep()
                self.ended = Ended(code, self._said(), now - self.began, counted(), left)
            elif now > limit:
                self.signal(signal.SIGKILL)
                os.waitpid(self.pid, 0)
                self.ended = Ended(ENDLESS, self._said(), LONGEST, counted(), False)
            elif until is not None and now >= until:
                return None
            else:
                time.sleep(0.004)
        return self.ended

    def _sweep(self) -> bool:
        """Wait for the rest of the group; whether it had to be killed."""
        limit = time.monotonic() + ENDING
        while self._alive():
            if time.monotonic() > limit:
                self.signal(signal.SIGKILL)
                return True
            time.sleep(0.004)
        return False

    def _alive(self) -> bool:
        try:
            while True:  # those whose parent has ended are children of this process
                pid, _ = os.waitpid(-self.pid, os.WNOHANG)
                if not pid:
                    return True
        except ChildProcessError:
            pass
        try:
            os.killpg(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def _said(self) -> str:
        return self.out.read_text(encoding="utf-8", errors="replace") if self.out.is_file() else ""


def adopt_orphans() -> None:
    """Let processes whose parent has ended become children of this one, which waits for them."""
    import ctypes

    ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER


def _lead(
    command: tuple[str, ...],
    folder: Path,
    out: Path,
    environment: Mapping[str, str],
    armed: Armed,
    child: Callable[[], None],
    listeners: bool,
) -> NoReturn:
    """Become the process of a command, next to those from which its own processes are forked."""
    status = 97
    try:
        os.setsid()
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        tempfile.tempdir = None
        for number, name in enumerate((os.devnull, out, out)):
            os.dup2(os.open(name, os.O_RDWR | os.O_CREAT | os.O_APPEND), number)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL if number != signal.SIGINT else signal.default_int_handler)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # as Python has it
        child()
        _State.armed, _State.group = armed, os.getpid()
        if listeners:
            _listen()
        status = _status(command)
    except BaseException:
        import traceback

        traceback.print_exc()
        status = 1
    finally:
        _State.armed = None
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except OSError:
            status = status or 120  # as Python ends where it cannot flush
        os._exit(status)


def _listen() -> None:
    """Fork the processes that fork those of artefacts and, of a whole run, those of jobs."""
    from rsitr.stages import warm as listening

    for program in warm.PROGRAMS:
        if not os.fork():
            try:
                listening.listen(program, warm.THREADS)
            finally:
                os._exit(0)
    wanted = {listening.address(program, warm.THREADS).replace("\0", "@") for program in warm.PROGRAMS}
    limit = time.monotonic() + 5
    while time.monotonic() < limit:
        if all(name in Path("/proc/net/unix").read_text() for name in wanted):
            return
        time.sleep(0.002)


def _status(command: tuple[str, ...]) -> int:
    program, *arguments = command
    if program == "snakemake":
        sys.argv = [*command]
        run = import_module("snakemake.cli").main
    else:
        run = lambda: import_module("rsitr.__main__").main(arguments)  # noqa: E731
    try:
        run()
    except KeyboardInterrupt:
        return 130
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
            return 1
        return end.code or 0
    return 0
