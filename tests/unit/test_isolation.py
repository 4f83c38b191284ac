"""A stage of a cell may die in any way; what remains is a record, or a message when none could be written."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from rsitr.errors import RsitrError
from rsitr.pipeline import cells as pipeline
from rsitr.pipeline import process as isolation
from rsitr.records.artefact import Outcome
from rsitr.records.cell import TrainReport, read_record
from rsitr.records.files import write_json
from rsitr.records.paths import Paths


@pytest.fixture
def interpreter(tmp_path: Path, monkeypatch):
    """``interpreter(script)`` makes every stage run a shell script instead of Python."""

    def install(script: str) -> None:
        path = tmp_path / "python"
        path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        path.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(path))

    return install


def test_a_stage_that_ends_well_says_nothing(interpreter, make_spec, tmp_path):
    interpreter(f'echo "$@" > {tmp_path}/arguments; echo $OMP_NUM_THREADS $OMP_WAIT_POLICY > {tmp_path}/threads')
    assert isolation.run_stage("train", make_spec(), Path("spec.json")) is None
    assert (tmp_path / "arguments").read_text(encoding="utf-8") == "-m rsitr.stages.train spec.json\n"
    assert (tmp_path / "threads").read_text(encoding="utf-8") == "1 PASSIVE\n"


@pytest.mark.parametrize(("stage", "expected"), [("train", "4294967296"), ("evaluate", "8388608")])
def test_an_evaluation_gives_large_blocks_of_memory_back_and_training_keeps_them(
    stage, expected, interpreter, make_spec, tmp_path, monkeypatch
):
    monkeypatch.delenv("MALLOC_MMAP_THRESHOLD_", raising=False)
    interpreter(f"echo $MALLOC_MMAP_THRESHOLD_ > {tmp_path}/threshold")
    isolation.run_stage(stage, make_spec(), Path("spec.json"))
    assert (tmp_path / "threshold").read_text(encoding="utf-8") == f"{expected}\n"


@pytest.mark.parametrize(("name", "hint"), [("KILL", "out of memory?"), ("SEGV", "killed by SIGSEGV;")])
def test_a_stage_that_is_killed_failed(name, hint, interpreter, make_spec):
    interpreter(f"kill -{name} $$")
    outcome = isolation.run_stage("evaluate", make_spec(), Path("spec.json"))
    assert outcome.status == "failed"
    assert outcome.reason.startswith(f"evaluate was killed by SIG{name}")
    assert hint in outcome.reason
    assert outcome.reason.endswith("`rsitr retry --failed` continues it")


def test_a_stage_without_a_record_is_an_error(interpreter, make_spec):
    interpreter("exit 1")
    with pytest.raises(RsitrError, match="train of tiny/scenes-b/vse/0 could not write its record"):
        isolation.run_stage("train", make_spec(), Path("spec.json"))


@pytest.mark.timeout(60)
def test_a_request_to_stop_ends_the_stage_and_leaves_no_record(interpreter, make_spec, tmp_path):
    interpreter(f"echo $$ > {tmp_path}/pid; exec sleep 30")

    pid = tmp_path / "pid"
    before = signal.getsignal(signal.SIGTERM)

    def stop():
        while signal.getsignal(signal.SIGTERM) is before or not pid.is_file() or not pid.read_text(encoding="utf-8"):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop).start()
    with pytest.raises(SystemExit) as caught:
        isolation.run_stage("train", make_spec(), Path("spec.json"))
    assert caught.value.code == 128 + signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text(encoding="utf-8")), 0)


def test_the_caller_gets_its_signal_handlers_back(interpreter, make_spec):
    interpreter("exit 0")
    before = signal.getsignal(signal.SIGINT)
    isolation.run_stage("train", make_spec(), Path("spec.json"))
    assert signal.getsignal(signal.SIGINT) is before


def test_a_killed_training_becomes_a_report_and_a_killed_evaluation_a_record(project, interpreter, make_spec):
    spec = make_spec()
    folder = Paths.checkpoint(spec.cell)
    resume = folder / "resume.pt"
    resume.parent.mkdir(parents=True)
    resume.write_bytes(b"state")
    real = sys.executable
    interpreter("kill -KILL $$")
    outcome = pipeline.run_cell_stage("train", spec)
    assert outcome.reason.startswith("train was killed by SIGKILL (out of memory?")
    assert pipeline.read_report(spec.cell).outcome == outcome
    assert resume.read_bytes() == b"state"  # so that the next run continues

    write_json(folder / "train.json", TrainReport(outcome=Outcome(), seconds={"train": 5.0}))
    interpreter(f'if mkdir "{project}/once" 2>/dev/null; then kill -KILL $$; fi; exec "{real}" "$@"')
    outcome = pipeline.run_cell_stage("evaluate", spec)
    record = read_record(Paths.cell(spec.cell) / "cell.json")
    assert record.outcome == outcome
    assert outcome.reason.startswith("evaluate was killed by SIGKILL")
    assert record.seconds == {"train": 5.0}
