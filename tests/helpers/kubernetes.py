"""A stand-in for a Kubernetes of one node: its interface on loopback, and pods that are processes in empty folders."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

PLUGINS = {
    "snakemake_executor_plugin_kubernetes": "snakemake-executor-plugin-kubernetes",
    "snakemake_storage_plugin_fs": "snakemake-storage-plugin-fs",
}
INSTALLER = '#!/bin/sh\necho "$@" >> "$0.calls"\n'
"""Instead of pip, by which a pod installs the plugin of the storage: here it is installed."""


def missing() -> str:
    """Why nothing can be run through a storage here; empty where it can."""
    absent = [name for module, name in PLUGINS.items() if not find_spec(module)]
    if absent:
        return f"{', '.join(absent)} not installed (uv pip install --group cluster)"
    return "" if shutil.which("rsync") else "rsync, which the plugin of the storage calls, is not installed"


class Node:
    """The jobs that were submitted, and their pods."""

    def __init__(self, folder: Path, environment: dict[str, str]):
        self.folder = folder
        self.jobs: dict[str, dict[str, Any]] = {}
        """Manifests by name, the deleted ones among them."""
        self.pods: dict[str, subprocess.Popen[bytes]] = {}
        bin_ = folder / "bin"
        bin_.mkdir(parents=True)
        (bin_ / "pip").write_text(INSTALLER, encoding="utf-8")
        (bin_ / "pip").chmod(0o755)
        self.environment = environment | {"PATH": f"{bin_}{os.pathsep}{environment['PATH']}"}

    def submit(self, job: dict[str, Any]) -> None:
        """Start the container of a job, in a folder that has nothing."""
        name = job["metadata"]["name"]
        (container,) = job["spec"]["template"]["spec"]["containers"]
        place = self.folder / name
        place.mkdir()
        self.jobs[name] = job
        with (self.folder / f"{name}.log").open("wb") as log:
            command = [*container["command"], *container["args"]]
            gpu = int(container["resources"]["limits"].get("nvidia.com/gpu", 0))
            own = self.environment | {"CUDA_VISIBLE_DEVICES": "-1" if gpu else ""}  # none for torch
            self.pods[name] = subprocess.Popen(command, cwd=place, env=own, stdout=log, stderr=log)

    def log(self, name: str) -> str:
        """What a pod has printed."""
        return (self.folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")

    def state(self, name: str) -> dict[str, Any]:
        """The state of the container of a job."""
        status = self.pods[name].poll()
        return {"running": {}} if status is None else {"terminated": {"exitCode": status}}

    def answer(self, method: str, address: str, body: dict[str, Any]) -> tuple[int, Any]:
        """The status and the body by which the interface answers a request."""
        place, asked = urlsplit(address).path, parse_qs(urlsplit(address).query)
        kind, _, rest = re.sub(r"^/(api/v1|apis/batch/v1)/namespaces/default/", "", place).partition("/")
        name = rest.partition("/")[0]
        if method == "POST" and kind == "jobs":
            self.submit(body)
            return 201, body
        if method == "GET" and kind == "jobs" and name in self.pods:
            status = self.pods[name].poll()
            counts = {} if status is None else {"failed" if status else "succeeded": 1}
            return 200, {"metadata": {"name": name}, "status": counts}
        if method == "GET" and kind == "pods" and not name:
            (selector,) = asked["labelSelector"]
            job = selector.removeprefix("job-name=")
            container = {"name": "snakemake", "state": self.state(job)}
            shared = {"ready": True, "restartCount": 0, "image": "", "imageID": ""}
            pod = {"metadata": {"name": f"{job}-pod"}, "status": {"containerStatuses": [container | shared]}}
            return 200, {"items": [pod]}
        if method == "GET" and rest.endswith("/log"):
            return 200, self.log(name.removesuffix("-pod"))
        if method == "POST" and kind == "secrets":
            return 201, body
        return (200, {}) if method == "DELETE" else (404, {"reason": "NotFound"})

    def end(self) -> None:
        """Leave no pod."""
        for pod in self.pods.values():
            pod.kill()
            pod.wait()


@contextmanager
def kubernetes(folder: Path, environment: dict[str, str]) -> Iterator[tuple[Node, Path]]:
    """A node, and the file by which clients find it."""
    node = Node(folder, environment)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, found = node.answer(self.command, self.path, json.loads(sent) if sent else {})
            text = found if isinstance(found, str) else json.dumps(found)
            self.send_response(status)
            self.send_header("Content-Type", "text/plain" if isinstance(found, str) else "application/json")
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        do_POST = do_DELETE = do_GET

        def log_message(self, *arguments: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    config = folder / "config.yaml"
    config.write_text(
        yaml.safe_dump(
            {
                "clusters": [{"name": "one", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
                "contexts": [{"name": "one", "context": {"cluster": "one", "user": "one"}}],
                "users": [{"name": "one", "user": {}}],
                "current-context": "one",
            }
        ),
        encoding="utf-8",
    )
    try:
        yield node, config
    finally:
        node.end()
        server.shutdown()
        server.server_close()


def plugin_paths() -> list[str]:
    """Where the plugins are."""
    specs = [find_spec(module) for module in PLUGINS]
    return list(dict.fromkeys(str(Path(spec.origin).parents[1]) for spec in specs if spec and spec.origin))
