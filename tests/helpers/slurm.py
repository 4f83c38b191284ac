"""A real Slurm of two nodes with a made-up GPU each, all on this machine, and Snakemake run by its profile on it."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

PLUGIN = "snakemake_executor_plugin_slurm"
DAEMONS = ("munged", "slurmctld", "slurmd")
COMMANDS = ("sacct", "sacctmgr", "sbatch", "scancel", "scontrol", "sinfo", "squeue", "srun")
NODES = {"n1": "/dev/null", "n2": "/dev/zero"}
"""Names, and the file that each takes for its GPU."""
MARK = "RSITR_TEST_CLUSTER"
"""The variable by which what belongs to a cluster is known."""
CONF = """
ClusterName=small
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
MpiDefault=none
JobRequeue=0
ReturnToService=2
SlurmdTimeout=5
KillWait=2
SlurmdParameters=config_overrides
GresTypes=gpu
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=4 RealMemory=8000 Gres=gpu:1
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=4 RealMemory=8000 Gres=gpu:1
PartitionName=all Nodes=n1,n2 Default=YES State=UP
"""
OFTEN = """
import sys
from snakemake.cli import main
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
RemoteExecutor.next_seconds_between_status_checks = property(lambda self: 1, lambda self, seconds: None)
main()
"""
"""Snakemake that asks for jobs once a second, where the plug-in waits longer after each answer."""


def missing() -> str:
    """Why no cluster can be started here; empty where one can."""
    absent = [name for name in DAEMONS if not program(name)]
    if absent:
        return f"{', '.join(absent)} not installed (Debian: slurm-wlm, munge)"
    return "" if find_spec(PLUGIN) else "snakemake-executor-plugin-slurm not installed (uv pip install --group cluster)"


def program(name: str) -> str | None:
    """The path of a daemon, which those of users may lack."""
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


def until(ready: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Wait for something; raises ``TimeoutError`` that says for what."""
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            raise TimeoutError(f"{what} after {seconds:.0f} s")
        time.sleep(0.1)


class Cluster:
    """A running Slurm."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.own = os.environ | {MARK: str(folder)}
        self.daemons: list[subprocess.Popen[bytes]] = []

    def begin(self) -> None:
        """Configure and start it, until both nodes are idle."""
        self.folder.chmod(0o755)  # munged wants its socket to be within reach of everybody
        ports = []
        with ExitStack() as stack:
            for _ in range(3):
                unused = stack.enter_context(socket.socket())
                unused.bind(("127.0.0.1", 0))
                ports.append(unused.getsockname()[1])
        conf, host = self.folder / "slurm.conf", socket.gethostname().partition(".")[0]
        user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
        conf.write_text(CONF.format(host=host, user=user, folder=self.folder, ports=ports), encoding="utf-8")
        gpus = [f"NodeName={name} Name=gpu File={file}\n" for name, file in NODES.items()]
        (self.folder / "gres.conf").write_text("".join(gpus), encoding="utf-8")
        for name in ("state", "bin", *(f"spool-{name}" for name in NODES)):
            (self.folder / name).mkdir()
        # The plug-in removes SLURM_CONF from the environment of a job, whose `srun` needs it.
        for name in COMMANDS:
            path = self.folder / "bin" / name
            path.write_text(f'#!/bin/sh\nexport SLURM_CONF={conf}\nexec {shutil.which(name)} "$@"\n', encoding="utf-8")
            path.chmod(0o755)
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(1024))
        key.chmod(0o600)
        places = [f"--{name}={self.folder}/munge.{name.removesuffix('-file')}" for name in ("key-file", "pid-file")]
        places += [f"--{name}={self.folder}/munge.{name.removesuffix('-file')}" for name in ("seed-file", "socket")]
        self._start("munged", "--foreground", *places)
        until((self.folder / "munge.socket").exists, "no munged")
        self._start("slurmctld", "-D", "-f", str(conf))
        for name in NODES:
            self._start("slurmd", "-D", "-N", name, "-f", str(conf), node=name)
        until(lambda: self.ask("sinfo", "--noheader", "--format=%D %T") == "2 idle", "no two idle nodes")

    def _start(self, daemon: str, *arguments: str, node: str = "") -> None:
        path = program(daemon)
        assert path
        own = self.own | {"SLURM_CONF": str(self.folder / "slurm.conf")} | ({"SLURMD_NODENAME": node} if node else {})
        with (self.folder / f"{daemon}{node}.log").open("wb") as log:
            place = self.folder / (f"spool-{node}" if node else "state")
            begun = subprocess.Popen([path, *arguments], cwd=place, env=own, stdout=log, stderr=log, stdin=log)
        self.daemons.append(begun)

    def ask(self, command: str, *arguments: str) -> str:
        """What a command of Slurm prints."""
        answer = subprocess.run([self.folder / "bin" / command, *arguments], capture_output=True, text=True)
        return answer.stdout.strip()

    def snakemake(self, environment: dict[str, str], *arguments: str) -> list[str]:
        """The command that runs Snakemake on the cluster; adds to the environment what it needs."""
        spec = find_spec(PLUGIN)
        assert spec
        assert spec.origin
        plugins = Path(spec.origin).parents[1]
        environment |= {MARK: str(self.folder), "PATH": f"{self.folder / 'bin'}:{environment['PATH']}"}
        environment["PYTHONPATH"] += f":{plugins}"
        here = ("--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "1")
        return [sys.executable, "-c", OFTEN, "--profile", "workflow/profiles/slurm", *here, *arguments]

    def processes(self, node: str = "") -> Iterator[int]:
        """What belongs to the cluster, or to a node: its daemon, and every job on it."""
        wanted = {f"{MARK}={self.folder}", *([f"SLURMD_NODENAME={node}"] if node else [])}
        # The process that holds a job writes its name over its environment, and stays where the daemon was.
        spools = [self.folder / f"spool-{name}" for name in NODES if node in ("", name)]
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                if entry.name.isdecimal() and (
                    (entry / "cwd").readlink() in spools
                    or wanted <= {*(entry / "environ").read_text(errors="replace").split("\0")}
                ):
                    yield int(entry.name)

    def kill(self, node: str = "") -> None:
        """Let a node, or the whole cluster, end at once, and all that runs there."""

        def gone() -> bool:
            found = [*self.processes(node)]
            for process in found:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            return not found

        until(gone, "processes that cannot be killed", 20)
        for daemon in self.daemons:
            daemon.poll()  # what has ended is no process any more

    def lose(self, node: str) -> None:
        """Let a node end at once, and the controller know it: by itself it would ask for half a minute."""
        self.kill(node)
        self.ask("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=lost")


@contextmanager
def cluster() -> Iterator[Cluster]:
    """A cluster, of which nothing is left afterwards."""
    # The path of a socket is short.
    with TemporaryDirectory(prefix="rsitr-slurm-") as folder:
        found = Cluster(Path(folder))
        try:
            found.begin()
            yield found
        finally:
            found.kill()
