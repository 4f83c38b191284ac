"""Processes that have imported the libraries of a program, and fork for each run of it.

To import torch and what belongs to it takes five seconds, in which a small cell is trained; to import pandas and the
like takes most of the time of a small command. Snakemake starts these processes for its jobs, and they end with it.
Nothing of this package is imported before the fork, so that each artefact is computed by the code of its own time.
"""

from __future__ import annotations

import ctypes
import gc
import hashlib
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import FrameType

COMMANDS, STAGES = "rsitr.__main__", "rsitr.stages.__main__"
LIBRARIES = {
    COMMANDS: (
        *("jinja2", "jsonschema", "matplotlib.figure", "pandas", "PIL.Image", "pyarrow.parquet", "pydantic.root_model"),
        *("rarfile", "rasterio", "requests", "rich.progress", "rich.table", "scipy.cluster.hierarchy"),
        *("typer.rich_utils", "yaml"),
    ),
    STAGES: (
        *("pandas", "pyarrow.parquet", "pydantic.root_model", "requests", "safetensors.torch", "scipy.sparse"),
        *("torch._dynamo", "torchvision.transforms.v2", "timm", "open_clip", "transformers"),
    ),
}
"""Program, a module with a ``main`` for its arguments -> what it imports."""
READY = b"+"
"""What a client hears once its process runs."""
PARENT_DIED = 1
"""PR_SET_PDEATHSIG of Linux."""


def die_with_parent() -> None:
    """End this process when the one that started it ends, however that ends. On Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PARENT_DIED, signal.SIGTERM)
        if os.getppid() == 1:
            sys.exit(1)


def address(program: str, threads: int | str) -> str:
    """Where the warm process of this folder and interpreter listens for a program with so many threads: no file."""
    of = f"{os.getuid()} {Path.cwd()} {sys.prefix} {program} {threads}"
    return f"\0rsitr-{hashlib.sha256(of.encode()).hexdigest()[:32]}"


def _is_own(line: socket.socket) -> bool:
    """Whether the other end of a line belongs to this user. Anybody may take an address, or write to one."""
    return struct.unpack("3i", line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1] == os.getuid()


class Forked:
    """A process that the warm one has forked, as far as it is used like a ``subprocess.Popen``."""

    def __init__(
        self,
        program: str,
        threads: int | str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        libraries: str = "",
    ):
        """``python -m program`` with some arguments; raises ``OSError`` where no warm process forks it.

        ``libraries`` is the program whose libraries it needs, if they are not its own.
        """
        self.line = socket.socket(socket.AF_UNIX)
        self.line.connect(address(libraries or program, threads))
        if not _is_own(self.line):
            raise ConnectionError("another user listens at the address of the warm process")
        socket.send_fds(self.line, [READY], [0, 1, 2])
        self.line.sendall(json.dumps([program, list(arguments), dict(environment)]).encode() + b"\n")
        if not self.line.recv(len(READY)):
            raise ConnectionError("the warm process could not start")

    def terminate(self) -> None:
        """Ask it to end."""
        with suppress(OSError):
            self.line.shutdown(socket.SHUT_WR)

    def wait(self) -> int:
        """Its exit status once it has ended, below 0 for a signal."""
        return int(self.line.recv(16) or -signal.SIGTERM)


def wait(process: subprocess.Popen[bytes] | Forked) -> int:
    """Wait for a process; returns its exit status, below 0 for a signal.

    A signal sent to this process is passed on, and ``SystemExit`` is raised: the user wanted to stop.
    """
    stopped: list[int] = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        # Waiting here would wait for a lock that the interrupted wait below holds.
        stopped.append(number)
        process.terminate()

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        status = process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if stopped:
        raise SystemExit(128 + stopped[0])
    return status


def listen(program: str, threads: int | str) -> None:
    """Fork for each connection, until the process that started this one ends."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal: each client passes it on
    with socket.socket(socket.AF_UNIX) as entrance:
        try:
            entrance.bind(address(program, threads))
        except OSError:  # another one listens already
            return
        entrance.listen(socket.SOMAXCONN)  # who connects already waits no longer than it would import
        for name in LIBRARIES[program]:
            import_module(name)
        gc.freeze()  # the memory of what was imported stays shared with the forks
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        while True:
            line, _ = entrance.accept()
            if _is_own(line) and not os.fork():
                entrance.close()
                os._exit(_attend(line))
            line.close()


def _attend(line: socket.socket) -> int:
    """Run what a client asks for in a fork, end that when the client is gone or wants it, and tell how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _, files, *_ = socket.recv_fds(line, len(READY), 3)
    with line.makefile("rb") as message:
        program, arguments, environment = json.loads(message.readline())
    child = os.fork()
    if not child:
        os.environ.clear()
        os.environ.update(environment)
        os._exit(_run(program, arguments, files))
    with suppress(OSError):
        line.sendall(READY)
    ended = os.pidfd_open(child)
    if ended not in select.select((line.fileno(), ended), (), ())[0]:
        os.kill(child, signal.SIGTERM)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with suppress(OSError):
        line.sendall(str(status).encode())
    return 0


def _run(program: str, arguments: list[str], files: list[int]) -> int:
    """``python -m program`` in this process; returns its exit status."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    for standard, file in enumerate(files):
        os.dup2(file, standard)
    try:
        import_module(program).main(arguments)
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    return 0


def start(program: str, threads: int, environment: Mapping[str, str]) -> subprocess.Popen[bytes] | None:
    """Start the warm process of a folder and a program; None where the system cannot."""
    if sys.platform != "linux":
        return None
    command = [sys.executable, "-m", __name__, program, str(threads)]
    return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL)


if __name__ == "__main__":
    listen(*sys.argv[1:])
