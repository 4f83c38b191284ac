"""How commands call Snakemake: on a few cores of this machine, or where a profile says."""

from __future__ import annotations

import subprocess

import pytest

from rsitr import cli
from rsitr.pipeline.snakemake import snakemake
from tests.helpers.commands import run


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({}, ["--cores", "2"]),
        ({"cores": 5}, ["--cores", "5"]),
        ({"profile": "slurm"}, ["--profile", "slurm"]),
        ({"profile": "slurm", "cores": 5}, ["--profile", "slurm", "--cores", "5"]),
    ],
)
def test_a_profile_says_where_jobs_run(options, where, monkeypatch: pytest.MonkeyPatch) -> None:
    called = []

    def status(command: list[str]) -> subprocess.CompletedProcess[bytes]:
        called.append(command)
        return subprocess.CompletedProcess(command, 3)

    monkeypatch.setattr(subprocess, "run", status)
    assert snakemake(["a", "b"], "demo", **options) == 3
    assert called[0][1:] == ["-m", "snakemake", *where, "--config", "experiment=demo", "--", "a", "b"]


def test_retry_takes_the_profile_of_snakemake(project, make_spec, monkeypatch: pytest.MonkeyPatch) -> None:
    called = []
    monkeypatch.setattr(cli, "forget", lambda *_: [make_spec()])
    monkeypatch.setattr(cli, "snakemake", lambda *arguments: called.append(arguments[1:]) or 0)
    monkeypatch.setenv("SNAKEMAKE_PROFILE", "slurm")
    assert run("retry", "--failed").exit_code == 0
    assert run("retry", "--failed", "--profile", "other", "--cores", "4").exit_code == 0
    monkeypatch.delenv("SNAKEMAKE_PROFILE")
    assert run("retry", "--failed").exit_code == 0
    assert called == [("tiny", None, "slurm"), ("tiny", 4, "other"), ("tiny", None, "")]
