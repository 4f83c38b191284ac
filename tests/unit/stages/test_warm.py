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

from rsitr import __main__ as commands
from rsitr.__main__ import command
from rsitr.pipeline.process import run_process
from rsitr.stages import __main__ as stages
from rsitr.stages import warm
from rsitr.stages.warm import COMMANDS, STAGES, Forked, address

PROGRAMS = {COMMANDS: commands, STAGES: stages}

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks end with their clients on Linux")


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """``serve(main)`` listens for this folder, with ``main`` in place of a program."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(warm, "LIBRARIES", dict.fromkeys(PROGRAMS, ()))
    servers = []

    def begin(main: Callable[[list[str]], None], program: str = STAGES) -> None:
        monkeypatch.setattr(PROGRAMS[program], "main", main)
        server = os.fork()
        if not server:
            try:
                warm.listen(program, 1)
            finally:
                os._exit(1)
        servers.append(server)

    yield begin
    for server in servers:
        os.kill(server, signal.SIGKILL)
        os.waitpid(server, 0)


def forked(*arguments: str, program: str = STAGES) -> Forked:
    """A fork, once the process that it comes from listens."""
    while True:
        with suppress(ConnectionRefusedError):
            return Forked(program, 1, arguments, os.environ)
        time.sleep(0.01)


def wait_for(path: Path) -> str:
    while not path.is_file() or not path.read_text(encoding="utf-8"):
        time.sleep(0.01)
    return path.read_text(encoding="utf-8")


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # gone, or gone while it was read
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
        Forked(STAGES, 1, [], {})
    with socket.socket(socket.AF_UNIX) as entrance:
        entrance.bind(address(STAGES, 1))
        entrance.listen()
        threading.Thread(target=lambda: entrance.accept()[0].close()).start()
        with pytest.raises(ConnectionError):
            Forked(STAGES, 1, [], {})


def test_a_line_to_another_user_is_not_used(serve, monkeypatch, capfd):
    serve(print)
    forked().wait()
    monkeypatch.setattr(warm, "_is_own", lambda line: False)
    with pytest.raises(ConnectionError, match="another user listens"):
        Forked(STAGES, 1, ["cells"], {})
    assert capfd.readouterr().out == "[]\n"


def test_addresses_differ_by_program_folder_and_threads(tmp_path, monkeypatch):
    here = address(STAGES, 1), address(STAGES, 2), address(COMMANDS, 1)
    monkeypatch.chdir(tmp_path)
    assert len({*here, address(STAGES, 1)}) == 4


def test_a_fork_has_the_environment_of_its_client_however_large(serve, capfd):
    serve(lambda arguments: print(len(os.environ), len(os.environ["LARGE"])))
    forked().wait()
    capfd.readouterr()
    assert Forked(STAGES, 1, [], {"LARGE": "x" * 100_000}).wait() == 0
    assert capfd.readouterr().out == "1 100000\n"


@pytest.mark.parametrize(("end", "status"), [(lambda: sys.exit(3), 3), (lambda: os.kill(os.getpid(), 9), 137)])
def test_a_job_of_snakemake_runs_its_command_in_a_fork(end, status, serve, monkeypatch, capfd):
    def main(arguments: list[str]) -> None:
        print("forked", arguments, os.environ["OMP_NUM_THREADS"], flush=True)
        end()

    serve(main, COMMANDS)
    forked("wait", program=COMMANDS).wait()
    capfd.readouterr()
    monkeypatch.setattr(sys, "argv", ["rsitr", "data", "build", "ucm"])
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with pytest.raises(SystemExit) as ended:
        command()
    assert ended.value.code == status
    assert capfd.readouterr().out == "forked ['data', 'build', 'ucm'] 1\n"


@pytest.mark.parametrize(
    ("listening", "words", "expected"),
    [
        ((COMMANDS, STAGES), "dedup pairs a b", STAGES),
        ((COMMANDS, STAGES), "dedup joint a", COMMANDS),
        ((COMMANDS,), "dedup pairs a b", COMMANDS),
    ],
)
def test_a_command_with_torch_is_forked_from_what_has_imported_torch(
    listening, words, expected, serve, monkeypatch, capfd
):
    for program in listening:
        monkeypatch.setattr(commands, "main", lambda arguments, program=program: print(program, arguments))
        serve(PROGRAMS[program].main, program)
        forked(program=program).wait()
    capfd.readouterr()
    monkeypatch.setattr(sys, "argv", ["rsitr", *words.split()])
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with pytest.raises(SystemExit):
        command()
    assert capfd.readouterr().out == f"{expected} {words.split()}\n"


@pytest.mark.parametrize("threads", [None, "2"])
def test_any_other_command_runs_in_its_own_process(threads, serve, monkeypatch):
    serve(lambda arguments: None, COMMANDS)
    forked(program=COMMANDS).wait()
    own: list[list[str]] = []
    monkeypatch.setattr(commands, "main", own.append)
    monkeypatch.setattr(sys, "argv", ["rsitr", "status"])
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if threads:
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
    command()
    assert own == [["status"]]


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
        process = warm.start(STAGES, 1, os.environ)
        forked().wait()  # fails for want of arguments
        Path("process").write_text(str(process.pid if process else 0), encoding="utf-8")
        os._exit(0)
    os.waitpid(starter, 0)
    process = int(wait_for(Path("process")))
    while is_alive(process):
        time.sleep(0.01)
    with pytest.raises(ConnectionError):
        Forked(STAGES, 1, [], {})
