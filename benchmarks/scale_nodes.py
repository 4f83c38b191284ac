"""Two nodes for ``scale.py``: network namespaces with a cable between them, or loopback where there may be none."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NAMES = ("rsitr-a", "rsitr-b")
ADDRESSES = ("10.231.0.1", "10.231.0.2")
PORT = 29517


def ip(*arguments: str) -> None:
    """A command of iproute2; raises ``CalledProcessError`` or ``FileNotFoundError``."""
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


class Nodes:
    """Two nodes with a folder each and no common disk; ``isolated`` if they are network namespaces."""

    def __init__(self, folders: tuple[Path, Path], isolated: bool):
        self.folders, self.isolated = folders, isolated

    @property
    def kind(self) -> str:
        """What the nodes are."""
        return "two network namespaces" if self.isolated else "two groups on loopback"

    def start(self, spec: str) -> list[subprocess.Popen[bytes]]:
        """torchrun on each node, with one process of one thread, on the spec in its folder."""
        started = []
        for rank, (name, folder) in enumerate(zip(NAMES, self.folders, strict=True)):
            inside = ["ip", "netns", "exec", name] if self.isolated else []
            master = ADDRESSES[0] if self.isolated else "127.0.0.1"
            launcher = ["-m", "torch.distributed.run", "--nnodes", "2", "--node-rank", str(rank)]
            launcher += ["--nproc-per-node", "1", "--master-addr", master, "--master-port", str(PORT)]
            device = f"veth{rank}" if self.isolated else "lo"
            with (folder / "log.txt").open("ab") as log:
                started.append(
                    subprocess.Popen(
                        [*inside, sys.executable, *launcher, "-m", "rsitr.pretraining", spec],
                        cwd=folder,
                        stdout=log,
                        stderr=log,
                        env=os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": device},
                        start_new_session=True,
                    )
                )
        return started

    def unplug(self) -> None:
        """Cut the cable: nothing arrives any more, and nobody is told."""
        ip("-n", NAMES[1], "link", "set", "veth1", "down")

    def plug(self) -> None:
        """Mend the cable."""
        ip("-n", NAMES[1], "link", "set", "veth1", "up")


@contextmanager
def two_nodes(folder: Path) -> Iterator[Nodes]:
    """Two nodes with folders in ``folder``."""
    folders = (folder / "a", folder / "b")
    for each in folders:
        each.mkdir()
    try:
        isolated = _connect()
        yield Nodes(folders, isolated)
    finally:
        for name in NAMES:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def _connect() -> bool:
    try:
        for name in NAMES:
            ip("netns", "add", name)
        ip("link", "add", "veth0", "netns", NAMES[0], "type", "veth", "peer", "name", "veth1", "netns", NAMES[1])
        for rank, (name, address) in enumerate(zip(NAMES, ADDRESSES, strict=True)):
            ip("-n", name, "address", "add", f"{address}/24", "dev", f"veth{rank}")
            for device in ("lo", f"veth{rank}"):
                ip("-n", name, "link", "set", device, "up")
    except (subprocess.CalledProcessError, FileNotFoundError) as error:
        print(f"no network namespaces here ({error}): loopback instead", file=sys.stderr)
        return False
    return True


def ended(started: list[subprocess.Popen[bytes]], within: float) -> list[int]:
    """The exit codes; raises ``TimeoutExpired`` where one has not ended ``within`` as many seconds."""
    until = time.monotonic() + within
    try:
        return [process.wait(max(0.1, until - time.monotonic())) for process in started]
    except subprocess.TimeoutExpired:
        for process in started:
            kill(process)
        raise


def kill(process: subprocess.Popen[bytes]) -> None:
    """End torchrun and what it has started at once."""
    pids = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True).stdout
    for pid in [*pids.split(), str(process.pid)]:
        try:
            os.kill(int(pid), signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait()
