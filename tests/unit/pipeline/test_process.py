"""A process that computes may die in any way; what remains is a record, or a message when none could be written."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from rsitr.errors import RecordError, RsitrError
from rsitr.params import load_params
from rsitr.params.ids import CellId
from rsitr.pipeline.process import environment, run_process
from rsitr.pipeline.run import run, write_spec
from rsitr.pipeline.specs import spec_of
from rsitr.records.cell import Record, read_report
from rsitr.records.code import PACKAGE, Sources
from rsitr.stages import __main__ as entry
from tests.helpers.made import put_trained

VSE = CellId("tiny", "scenes-b", "vse", 0)


@pytest.fixture
def interpreter(tmp_path: Path, monkeypatch):
    """``interpreter(script)`` makes every process run a shell script instead of Python."""

    def install(script: str) -> None:
        path = tmp_path / "python"
        path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        path.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(path))

    return install


def test_a_process_that_ends_well_says_nothing(interpreter, make_spec, tmp_path):
    interpreter(f'echo "$@" > {tmp_path}/arguments; echo $OMP_NUM_THREADS $OMP_WAIT_POLICY > {tmp_path}/threads')
    assert run_process(make_spec(), Path("spec.json"), ["train", "evaluate"]) is None
    arguments = (tmp_path / "arguments").read_text(encoding="utf-8")
    assert arguments == "-m rsitr.stages cells spec.json train evaluate\n"
    assert (tmp_path / "threads").read_text(encoding="utf-8") == "1 PASSIVE\n"


def test_there_are_no_more_threads_than_cores_that_this_process_may_use(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3, 5, 8})  # what a scheduler gave of a large node
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    assert environment(16)["OMP_NUM_THREADS"] == "3"


def test_training_keeps_large_blocks_of_memory(interpreter, make_spec, tmp_path, monkeypatch):
    monkeypatch.delenv("MALLOC_MMAP_THRESHOLD_", raising=False)
    interpreter(f"echo $MALLOC_MMAP_THRESHOLD_ > {tmp_path}/threshold")
    run_process(make_spec(), Path("spec.json"), ["train"])
    assert (tmp_path / "threshold").read_text(encoding="utf-8") == "4294967296\n"


@pytest.mark.parametrize(("name", "hint"), [("KILL", "out of memory?"), ("SEGV", "killed by SIGSEGV;")])
def test_a_process_that_is_killed_failed(name, hint, interpreter, make_spec):
    interpreter(f"kill -{name} $$")
    outcome = run_process(make_spec(), Path("spec.json"), ["evaluate"])
    assert outcome.status == "failed"
    assert outcome.reason.startswith(f"killed by SIG{name}")
    assert hint in outcome.reason
    assert outcome.reason.endswith("`rsitr retry --failed` continues it")


def test_a_process_without_a_record_is_an_error(interpreter, make_spec):
    interpreter("exit 1")
    with pytest.raises(RsitrError, match="tiny/scenes-b/vse/0 has no new record: see the message above"):
        run_process(make_spec(), Path("spec.json"), ["train"])


@pytest.mark.timeout(60)
def test_a_request_to_stop_ends_the_process_and_leaves_no_record(interpreter, make_spec, tmp_path):
    interpreter(f"echo $$ > {tmp_path}/pid; exec sleep 30")

    pid = tmp_path / "pid"
    before = signal.getsignal(signal.SIGTERM)

    def stop():
        while signal.getsignal(signal.SIGTERM) is before or not pid.is_file() or not pid.read_text(encoding="utf-8"):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop).start()
    with pytest.raises(SystemExit) as caught:
        run_process(make_spec(), Path("spec.json"), ["train"])
    assert caught.value.code == 128 + signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text(encoding="utf-8")), 0)


def test_the_caller_gets_its_signal_handlers_back(interpreter, make_spec):
    interpreter("exit 0")
    before = signal.getsignal(signal.SIGINT)
    run_process(make_spec(), Path("spec.json"), ["train"])
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("stage", ["train", "evaluate"])
def test_a_killed_process_becomes_a_record(stage, project, interpreter):
    spec = spec_of(load_params(), VSE)
    if stage == "evaluate":
        put_trained(spec, seconds={"train": 5.0})
    interpreter("kill -KILL $$")
    outcome = run(spec).outcome
    assert outcome.reason.startswith("killed by SIGKILL (out of memory?")
    record = Record.read(spec.record_file)
    assert record.outcome == outcome
    assert record.seconds == ({"train": 5.0} if stage == "evaluate" else {})
    assert read_report(VSE).outcome.status == ("ok" if stage == "evaluate" else "failed")


@pytest.mark.slow
def test_a_process_of_its_own_trains_and_evaluates(project):
    spec = spec_of(load_params(), VSE)
    result = run(spec)
    assert (result.outcome.status, result.ran) == ("ok", True)
    record = Record.read(spec.record_file)
    assert record.identities == spec.identities
    assert record.machine["threads"] == spec.threads == 1
    assert not run(spec).ran


def edited(spec, part):
    return spec.model_copy(update={"code": spec.code | {part: "0" * 64}})


@pytest.mark.parametrize("part", ["trained", "scored"])
def test_other_code_than_that_of_the_spec_is_refused_before_anything_is_computed(part, project):
    spec = edited(spec_of(load_params(), VSE), part)
    message = rf"tiny/scenes-b/vse/0 was not computed \({part}\): the sources have changed since this job was planned"
    with pytest.raises(RecordError, match=message):
        entry.compute(spec, ["train", "evaluate"])
    assert not any(path.exists() for path in spec.outputs)


def test_gpus_that_torch_cannot_use_stop_a_job_before_it_becomes_a_record(project, monkeypatch):
    monkeypatch.setattr(entry, "gpus", lambda: 2)
    spec = spec_of(load_params(), VSE)
    with pytest.raises(RsitrError, match=r"2 NVIDIA devices are here, but torch \S+ cannot use them: install a driver"):
        entry.compute(spec, ["train", "evaluate"])
    assert not any(path.exists() for path in spec.outputs)


def test_a_job_of_other_code_ends_with_a_message_and_status_1(project, capfd):
    spec = edited(spec_of(load_params(), VSE), "trained")
    with pytest.raises(RsitrError, match="has no new record: see the message above"):
        run_process(spec, write_spec(spec), ["train"])
    assert capfd.readouterr().err.startswith("rsitr: tiny/scenes-b/vse/0 was not computed (trained): ")


def test_other_libraries_than_the_locked_ones_are_named(project, monkeypatch):
    monkeypatch.setattr(entry, "locked", lambda lock: {"numpy": "0.0.1", "not-installed": "1.0"})
    message = r"the libraries here are not those of requirements.lock \(numpy \S+ instead of 0.0.1\). Run `make env`"
    with pytest.raises(RecordError, match=message):
        entry.CodeCheck(edited(spec_of(load_params(), VSE), "trained"))


@pytest.mark.slow
def test_an_edit_while_something_is_computed_keeps_no_record(project, tmp_path, monkeypatch):
    """The sources of a copy, of which one file that counts and one that does not are edited."""
    package = tmp_path / "rsitr"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(entry, "Sources", lambda: Sources(package))
    spec = spec_of(load_params(), VSE)
    check = entry.CodeCheck(spec)
    check.again()
    file = package / "stages" / "alarms.py"
    text = file.read_text(encoding="utf-8")
    file.write_text(text + "# A comment computes nothing.\n", encoding="utf-8")
    check.again()
    file.write_text(text.replace("COLLAPSED, COLLAPSED_EPOCHS = 0.999, 3", "COLLAPSED, COLLAPSED_EPOCHS = 0.9, 3"))
    with pytest.raises(RecordError, match=r"was not computed \(trained\)"):
        check.again()
