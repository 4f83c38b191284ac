"""Each check of a place, where all is well and where it is not."""

from __future__ import annotations

import fcntl
import os
import resource
import shutil
import subprocess
import time
from collections import namedtuple
from pathlib import Path

import pytest

from rsitr.cli import place as cli_place
from rsitr.params import load_params
from rsitr.pipeline import doctor
from rsitr.pipeline.doctor import Check, Mount, mount_of
from rsitr.pipeline.place import Place, place
from tests.helpers.commands import run

HERE, CLUSTER = Place("", {}), Place("slurm", {"executor": "slurm"})


@pytest.fixture
def experiment(project: Path):
    return load_params()["tiny"]


def on_path(monkeypatch: pytest.MonkeyPatch, *programs: str) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}" if name in programs else None)


class TestExecutor:
    def test_local(self, monkeypatch) -> None:
        on_path(monkeypatch)
        assert doctor.executor(HERE) == Check("executor", "ok", "local")

    def test_a_login_node_without_a_profile(self, monkeypatch) -> None:
        on_path(monkeypatch, "sbatch")
        monkeypatch.delenv("SLURM_JOB_ID", raising=False)
        found = doctor.executor(HERE)
        assert (found.state, found.advice) == ("warning", "export SNAKEMAKE_PROFILE=workflow/profiles/slurm")
        monkeypatch.setenv("SLURM_JOB_ID", "1")  # inside an allocation it is as it should be
        assert doctor.executor(HERE).state == "ok"

    def test_slurm(self, monkeypatch) -> None:
        monkeypatch.setattr(Place, "plugins", [])
        on_path(monkeypatch, "sbatch")
        assert doctor.executor(CLUSTER) == Check("executor", "ok", "slurm, by slurm")
        on_path(monkeypatch)
        assert doctor.executor(CLUSTER).state == "failure"

    def test_a_plugin_that_is_not_installed(self) -> None:
        found = doctor.executor(Place("mine", {"executor": "no-such"}))
        assert (found.state, found.advice) == ("failure", "pip install snakemake-executor-plugin-no-such")

    def test_a_profile_with_the_names_of_nobody(self, monkeypatch) -> None:
        monkeypatch.setattr(Place, "plugins", [])
        found = doctor.executor(place("workflow/profiles/kubernetes"))
        assert found.state == "failure"
        assert "container-image: REGISTRY/rsitr:COMMIT, default-storage-prefix: s3://BUCKET/rsitr" in found.found

    def test_a_storage_whose_plugin_is_not_installed(self) -> None:
        found = doctor.executor(Place("mine", {"default-storage-provider": "no-such"}))
        assert (found.state, found.advice) == ("failure", "pip install snakemake-storage-plugin-no-such")

    def test_a_cluster_without_accounts(self, monkeypatch) -> None:
        failed = subprocess.CompletedProcess((), 1, "", "Slurm accounting storage is disabled\n")
        monkeypatch.setattr(doctor, "_answer", lambda *_: failed)
        found = doctor.accounting(CLUSTER)
        assert (found.state, found.found) == ("failure", "Slurm accounting storage is disabled")
        assert found.advice == "set slurm-status-command: squeue in slurm"
        by_queue = Place("slurm", {"executor": "slurm", "slurm-status-command": "squeue"})
        assert doctor.accounting(by_queue).state == "ok"


class TestFolder:
    def test_locks_hold(self, tmp_path) -> None:
        assert doctor.locks(tmp_path, Mount("ext4", ("rw",)), CLUSTER) == Check("locks", "ok", "held (ext4)")
        assert list(tmp_path.iterdir()) == []

    def test_locks_that_keep_nobody_out(self, tmp_path, monkeypatch) -> None:
        monkeypatch.setattr(fcntl, "flock", lambda *_: None)  # as a file system that takes no notice
        found = doctor.locks(tmp_path, Mount("fuse", ()), HERE)
        assert (found.state, found.found) == ("failure", "in this folder (fuse) they keep nobody out")

    def test_no_locks_at_all(self, tmp_path, monkeypatch) -> None:
        def refused(*_: object) -> None:
            raise OSError(37, "No locks available")

        monkeypatch.setattr(fcntl, "flock", refused)
        found = doctor.locks(tmp_path, Mount("nfs", ()), HERE)
        assert (found.state, found.found) == ("failure", "none in this folder (nfs): No locks available")

    def test_locks_of_one_machine(self, tmp_path) -> None:
        nfs = Mount("nfs4", ("rw", "local_lock=flock"))
        assert [doctor.locks(tmp_path, nfs, where).state for where in (HERE, CLUSTER)] == ["warning", "failure"]

    def test_the_mount_of_a_folder_is_the_nearest(self, tmp_path) -> None:
        table = tmp_path / "mounts"
        table.write_text("a / ext4 rw 0 0\nb /home\\040x nfs4 rw,nolock 0 0\nc /home tmpfs rw 0 0\n", encoding="utf-8")
        assert mount_of(Path("/home x/me"), table) == Mount("nfs4", ("rw", "nolock"))
        assert mount_of(Path("/other"), table).kind == "ext4"
        assert mount_of(Path("/other"), tmp_path / "none") == Mount("", ())

    @pytest.mark.parametrize(("ahead", "state"), [(0, "ok"), (20, "warning"), (-300, "failure")])
    def test_clocks(self, ahead, state, tmp_path, monkeypatch) -> None:
        now = time.time
        monkeypatch.setattr(time, "time", lambda: now() - ahead)
        found = doctor.clocks(tmp_path)
        assert found.state == state
        if ahead:
            assert found.found == f"that of the file server is {abs(ahead)} s {'ahead' if ahead > 0 else 'behind'}"

    @pytest.mark.parametrize(("free", "state"), [(5e8, "failure"), (5e9, "warning"), (5e10, "ok")])
    def test_disks(self, free, state, tmp_path, monkeypatch) -> None:
        usage = namedtuple("usage", "total used free")
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(0, 0, free))
        (found,) = doctor.disks({"weights": tmp_path / "not" / "yet"})
        assert (found.name, found.state) == ("disk of weights", state)
        assert str(tmp_path) in found.found

    def test_a_folder_that_cannot_be_written(self, tmp_path, monkeypatch) -> None:
        monkeypatch.setattr(os, "access", lambda *_: False)
        (found,) = doctor.disks({"project": tmp_path})
        assert found.state == "failure"

    @pytest.mark.parametrize(
        ("umask", "mode", "state"), [(0o022, 0o755, "ok"), (0o322, 0o755, "failure"), (0o077, 0o2775, "warning")]
    )
    def test_umask(self, umask, mode, state, tmp_path) -> None:
        tmp_path.chmod(mode)
        before = os.umask(umask)
        try:
            assert doctor.mask(tmp_path).state == state
            assert os.umask(umask) == umask  # as it was
        finally:
            os.umask(before)


class TestMachine:
    def test_memory_and_cores(self, experiment, monkeypatch) -> None:
        monkeypatch.setattr(doctor, "machine_memory_mb", lambda: 8000)
        monkeypatch.setattr(doctor, "cores", lambda: 4)
        for field, check, too_much in (("mem_mb", doctor.memory, 8001), ("threads", doctor.processors, 5)):
            assert check(experiment, HERE).state == "ok"
            setattr(experiment, field, too_much)
            assert [check(experiment, where).state for where in (HERE, CLUSTER)] == ["warning", "ok"]

    @pytest.mark.parametrize(("limit", "state"), [(100, "failure"), (512, "warning"), (4096, "ok"), (-1, "ok")])
    def test_open_files(self, limit, state, monkeypatch) -> None:
        monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, 2048))
        found = doctor.open_files()
        assert found.state == state
        assert found.advice == ("" if state == "ok" else "ulimit -n 2048")

    def test_gpus(self, experiment, monkeypatch) -> None:
        monkeypatch.setattr(doctor, "gpus", lambda: 0)
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        assert doctor.devices("tiny", experiment, HERE) == Check("GPUs", "ok", "0")
        experiment.needs_gpu = True
        assert doctor.devices("tiny", experiment, HERE).state == "failure"
        assert doctor.devices("tiny", experiment, CLUSTER) == Check("GPUs", "ok", "jobs ask for one each; 0 here")

    @pytest.mark.parametrize(
        ("cuda", "error", "count", "state", "advice"),
        [
            ("12.6", "no driver", 0, "ok", ""),
            ("12.6", "", 1, "ok", ""),
            (None, "not compiled with CUDA", 1, "failure", "install a torch that is built for CUDA"),
            (
                "12.6",
                "driver too old",
                1,
                "failure",
                "update the driver, or install a torch",
            ),
        ],
    )
    def test_torch(self, cuda, error, count, state, advice) -> None:
        found = doctor.judged({"version": "2.9", "cuda": cuda, "gpus": ["H"] * count, "error": error}, count)
        assert found.state == state
        assert found.advice.startswith(advice)

    @pytest.mark.slow
    def test_torch_is_asked(self, monkeypatch) -> None:
        import torch

        found = doctor.torch_and_driver(0)
        assert found.state == "ok"
        assert found.found.startswith(f"{torch.__version__}, built for ")


def test_the_command_fails_with_any_check(project, monkeypatch) -> None:
    checks = [Check("a", "ok", "well"), Check("b", "warning", "so so", "do this")]
    monkeypatch.setattr(cli_place, "examine", lambda *_: iter(checks))
    assert run("doctor").exit_code == 0
    checks.append(Check("c", "failure", "[bad]", "do that"))
    result = run("doctor")
    assert result.exit_code == 1
    assert "[bad]" in result.stdout


def test_every_check_is_made(project, experiment, monkeypatch) -> None:
    monkeypatch.delenv("SNAKEMAKE_PROFILE", raising=False)
    monkeypatch.setattr(doctor, "torch_and_driver", lambda count: Check("torch", "ok", ""))
    names = [check.name for check in doctor.examine("tiny", experiment)]
    disks = ["disk of project", "disk of temporary files", "disk of weights"]
    assert names == ["executor", "locks", "clocks", *disks, "memory", "cores", "open files", "umask", "GPUs", "torch"]
    monkeypatch.setenv("SNAKEMAKE_PROFILE", "nowhere")
    first = next(doctor.examine("tiny", experiment))
    assert (first.state, first.found.partition(" is ")[0]) == ("failure", "nowhere")
