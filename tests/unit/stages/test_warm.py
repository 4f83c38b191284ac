"""Processes that are forked from one that has imported everything."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from rsitr.pipeline.process import run_process
from rsitr.stages import __main__ as entry
from rsitr.stages import warm
from rsitr.stages.warm import Forked, address

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks end with their clients on Linux")


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """``serve(main)`` listens for this folder, with ``main`` in place of the computation."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(warm, "LIBRARIES", ())
    servers = []

    def begin(main: Callable[[list[str]], None]) -> None:
        monkeypatch.setattr(entry, "main", main)
        server = os.fork()
        if not server:
            try:
                warm.listen(1)
            finally:
                os._exit(1)
        servers.append(server)

    yield begin
    for server in servers:
        os.kill(server, signal.SIGKILL)
        os.waitpid(server, 0)


def forked(*arguments: str) -> Forked:
    """A fork, once the process that it comes from listens."""
    while True:
        with suppress(ConnectionRefusedError):
            return Forked(arguments, 1)
        time.sleep(0.01)


def wait_for(path: Path) -> str:
    while not path.is_file() or not path.read_text(encoding="utf-8"):
        time.sleep(0.01)
    return path.read_text(encoding="utf-8")


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_fork_has_arguments_and_output_of_its_client(serve, capfd):
    serve(print)
    assert forked("cells", "spec.json").wait() == 0
    assert capfd.readouterr().out == "['cells', 'spec.json']\n"


def raises(error: BaseException) -> Callable[[list[str]], None]:
    def main(arguments: list[str]) -> None:
        raise error

    return main


@pytest.mark.parametrize(
    ("main", "status", "message"),
    [
        (raises(SystemExit("rsitr: the disk is full")), 1, "rsitr: the disk is full\n"),
        (raises(SystemExit(3)), 3, ""),
        (raises(SystemExit()), 0, ""),
        (raises(ValueError("no such luck")), 1, "ValueError: no such luck\n"),
        (lambda arguments: os.kill(os.getpid(), signal.SIGKILL), -signal.SIGKILL, ""),
    ],
    ids=["message", "status", "exit", "error", "killed"],
)
def test_a_client_learns_how_its_fork_ended(main, status, message, serve, capfd):
    serve(main)
    assert forked().wait() == status
    assert capfd.readouterr().err.endswith(message)


def announces_itself_and_sleeps(arguments: list[str]) -> None:
    Path("process").write_text(str(os.getpid()), encoding="utf-8")
    time.sleep(60)


@pytest.mark.timeout(50)
def test_a_client_may_end_its_fork(serve):
    serve(announces_itself_and_sleeps)
    fork = forked()
    process = int(wait_for(Path("process")))
    fork.terminate()
    assert fork.wait() == -signal.SIGTERM
    assert not is_alive(process)


@pytest.mark.timeout(50)
def test_a_fork_ends_with_its_client_and_not_with_the_process_it_is_forked_from(serve):
    serve(announces_itself_and_sleeps)
    client = os.fork()
    if not client:
        forked().wait()
        os._exit(0)
    process = int(wait_for(Path("process")))
    os.kill(client, signal.SIGKILL)
    os.waitpid(client, 0)
    while is_alive(process):
        time.sleep(0.01)
    fork = forked()
    fork.terminate()
    assert fork.wait() == -signal.SIGTERM


def test_where_nobody_forks_is_an_error_at_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConnectionError):
        Forked([], 1)
    with socket.socket(socket.AF_UNIX) as entrance:
        entrance.bind(address(1))
        entrance.listen()
        threading.Thread(target=lambda: entrance.accept()[0].close()).start()
        with pytest.raises(ConnectionError):
            Forked([], 1)


def test_a_line_to_another_user_is_not_used(serve, monkeypatch, capfd):
    serve(print)
    forked().wait()
    monkeypatch.setattr(warm, "_is_own", lambda line: False)
    with pytest.raises(ConnectionError, match="another user listens"):
        Forked(["cells"], 1)
    assert capfd.readouterr().out == "[]\n"


def test_addresses_differ_by_folder_and_threads(tmp_path, monkeypatch):
    here = address(1), address(2)
    monkeypatch.chdir(tmp_path)
    assert len({*here, address(1)}) == 3


def test_a_process_is_forked_where_one_listens_and_begins_by_itself_elsewhere(serve, make_spec, monkeypatch, capfd):
    serve(lambda arguments: print("forked", arguments))
    forked().wait()
    capfd.readouterr()
    assert run_process(make_spec(), Path("spec.json"), ["train"]) is None
    assert capfd.readouterr().out == "forked ['cells', 'spec.json', 'train']\n"
    monkeypatch.setattr(sys, "executable", "/bin/echo")
    assert run_process(make_spec().model_copy(update={"threads": 2}), Path("spec.json"), ["train"]) is None
    assert capfd.readouterr().out == "-m rsitr.stages cells spec.json train\n"


@pytest.mark.slow
@pytest.mark.timeout(100)
def test_a_warm_process_ends_with_the_one_that_started_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    starter = os.fork()
    if not starter:
        process = warm.start(1, dict(os.environ))
        forked().wait()  # fails for want of arguments
        Path("process").write_text(str(process.pid if process else 0), encoding="utf-8")
        os._exit(0)
    os.waitpid(starter, 0)
    process = int(wait_for(Path("process")))
    while is_alive(process):
        time.sleep(0.01)
    with pytest.raises(ConnectionError):
        Forked([], 1)
