"""Commands of a project in forks of a process that has imported what they import: that is most of what they cost.

Nothing of the project is imported before the fork, so that each command has the sources of its own folder. Jobs and
cells are forked, too: processes of this one listen where the folder's own warm processes would (``rsitr.stages.warm``).
"""

from __future__ import annotations

import gc
import json
import logging
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).parents[2]
FILES = ("stdout", "stderr")
THREADS = 1
"""Of a job and a cell of the projects that tests make."""
PROGRAMS = ("rsitr.__main__", "rsitr.stages.__main__")
ALSO = ("numba", "pandera.pandas", "scipy.fft", "snakemake.report.html_reporter")
"""What some commands import besides what the warm processes of a folder do."""


def offline() -> dict[str, str]:
    """The environment of the tests, but that nothing is fetched and everything is compiled once."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return inherited | {"HF_HUB_OFFLINE": "1", "DVC_NO_ANALYTICS": "1"}


@cache
def server() -> subprocess.Popen[str]:
    """The process that forks. It ends with the one that started it, whose end closes its input."""
    from rsitr.pipeline.process import environment

    command, own = [sys.executable, "-m", __name__], environment(THREADS) | offline()
    return subprocess.Popen(command, cwd=ROOT, env=own, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def run(command: list[str], folder: Path, environment: dict[str, str]) -> tuple[int, str]:
    """Run a command in a folder; returns its status and what it printed."""
    process = server()
    assert process.stdin
    assert process.stdout
    with TemporaryDirectory() as out:
        request = {"command": command, "folder": str(folder.resolve()), "environment": environment, "out": out}
        print(json.dumps(request), file=process.stdin, flush=True)
        try:
            status = int(process.stdout.readline())
        except BaseException:  # the test took too long, and the next one shall not hear its answer
            process.kill()
            server.cache_clear()
            raise
        return status, "".join(Path(out, name).read_text(encoding="utf-8") for name in FILES)


def serve() -> list[str]:
    """Fork for each request and print how that ended; returns, in the forks alone, the command to run."""
    for line in sys.stdin:
        request = json.loads(line)
        listeners = []
        for program in PROGRAMS:
            if not (listener := os.fork()):
                return begin(request | {"command": ["python", "-m", "rsitr.stages.warm", program, str(THREADS)]})
            listeners.append(listener)
        if not (fork := os.fork()):
            return begin(request)
        status = os.waitstatus_to_exitcode(os.waitpid(fork, 0)[1])
        for listener in listeners:
            os.kill(listener, signal.SIGKILL)
            os.waitpid(listener, 0)
        print(status, flush=True)
    sys.exit()


def begin(request: dict[str, Any]) -> list[str]:
    """Make this process what a shell would start for a command; returns the command."""
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.path[0] = os.environ["PYTHONPATH"]  # in place of the folder that this process began in
    for number, name in enumerate((os.devnull, *(Path(request["out"], name) for name in FILES))):
        os.dup2(os.open(str(name), os.O_RDWR | os.O_CREAT | os.O_APPEND), number)
    return request["command"]


def main() -> None:
    """Serve, and in a fork run what was asked for."""
    from snakemake.cli import main as snakemake

    libraries()
    gc.freeze()  # the memory of what was imported stays shared with the forks
    match serve():
        case ["snakemake", *_] as command:
            sys.argv = command
            ended = _status(snakemake)
        case ["rsitr", *arguments]:
            ended = _status(lambda: import_module("rsitr.__main__").main(arguments))
        case ["python", "-m", module, *_] as command:
            sys.argv = command[2:]
            ended = _status(lambda: runpy.run_module(module, run_name="__main__", alter_sys=True))
        case command:
            os.execvp(command[0], command)
    logging.shutdown()
    sys.stdout.flush()
    os._exit(ended)  # to take everything down that was imported takes a second


def _status(run: Callable[[], object]) -> int:
    """How a program ended; one that ends with a message or an error prints it, as always."""
    try:
        run()
    except SystemExit as end:
        if isinstance(end.code, str):
            raise
        return end.code or 0
    return 0


def libraries() -> None:
    """Import what the warm processes of a folder do, and forget the module that says so."""
    from rsitr.stages.warm import LIBRARIES

    for name in chain(ALSO, *LIBRARIES.values()):
        __import__(name)
    for name in [name for name in sys.modules if name.partition(".")[0] == "rsitr"]:
        del sys.modules[name]


if __name__ == "__main__":
    main()
