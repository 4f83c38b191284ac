"""A small copy of the whole project in which real Snakemake and DVC run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from rsitr.records.code import Sources
from rsitr.records.remembered import cache_file
from tests.helpers import warm

ROOT = Path(__file__).parents[2]
PARTS = ("Snakefile", "dvc.yaml", "workflow", "src", ".gitignore", ".dvcignore", ".dvc/config", ".dvc/.gitignore")

TINY: dict[str, Any] = {
    "experiment": "tiny",
    "strict": False,
    "experiments": {
        "tiny": {
            "title": "two methods, one dataset",
            "dedup": "remoteclip",
            "pretraining": [],
            "priors": {},
            "threads": 1,
            "mem_mb": 1000,
            "matrix": [{"datasets": ["scenes-b"], "methods": ["chance", "vse"], "seeds": [0]}],
            "settings": {
                "all": {
                    "epochs": 1,
                    "batch_size": 32,
                    "samples": "images",
                    "image_backbone": "test_resnet",
                    "image_weights": "none",
                    "image_size": 32,
                    "text_encoder": "gru",
                    "text_width": 16,
                    "word_size": 16,
                    "width": 16,
                    "augment": "none",
                },
            },
        }
    },
}

TIMED = {"seconds", "peak_memory_mib", "machine"}
"""What a record says of the machine."""


def timeless(record: Any) -> Any:
    """A record without that."""
    if isinstance(record, dict):
        return {name: timeless(value) for name, value in record.items() if name not in TIMED}
    return record


class Project:
    """A folder with the project in it, run with its own sources."""

    def __init__(self, path: Path):
        self.path = path

    @property
    def environment(self) -> dict[str, str]:
        """The commands of this environment, the sources of this copy, no network."""
        return warm.offline() | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(self.path / "src"),
            "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b",
        }  # fmt: skip

    def run(self, *command: str, check: bool = True) -> str:
        """Run a command in the project and return what it printed; fails the test when it fails, unless told not to."""
        result = subprocess.run(command, cwd=self.path, env=self.environment, capture_output=True, text=True)
        return self._printed(result.returncode, result.stdout + result.stderr, check)

    @staticmethod
    def _printed(status: int, output: str, check: bool) -> str:
        assert status == 0 or not check, output[-6000:]
        return output

    def run_warm(self, *command: str, check: bool = True) -> str:
        """The same of a command that calls Snakemake, or of ``rsitr``, in a fork of what has their libraries."""
        return self._printed(*warm.run([*command], self.path, self.environment), check)

    def snakemake(self, *arguments: str, cores: int = 8, check: bool = True) -> str:
        """Run Snakemake."""
        return self.run_warm("snakemake", "--cores", str(cores), *arguments, check=check)

    def planned(self, *arguments: str) -> set[str]:
        """Cells that a run would train, as dataset/method/seed."""
        lines = self.snakemake("-n", *arguments).splitlines()
        outputs = [line for line in lines if line.strip().startswith("output: checkpoints/")]
        return {"/".join(line.split()[1].split("/")[2:5]) for line in outputs}

    def edit(self, file: str, old: str, new: str) -> None:
        """Replace text in a file of the project, which must not change what params.yaml may say about a method."""
        path, schemas = self.path / file, self.schemas()
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
        if schemas.is_file():
            shutil.copy2(schemas, self.schemas())

    def needs_gpu(self) -> None:
        """Let what trains need a GPU, which is made up: that a scheduler has given one shows in a variable alone."""
        params = yaml.safe_load((self.path / "params.yaml").read_text(encoding="utf-8"))
        params["experiments"]["tiny"]["needs_gpu"] = True
        self.params(params)
        self.edit(
            "src/rsitr/pipeline/devices.py",
            "if not gpus() and",
            'if not __import__("os").environ.get("CUDA_VISIBLE_DEVICES") and',
        )

    def schemas(self) -> Path:
        """Where `rsitr.methods.catalog` keeps the schemas of these sources. To make them takes a process with torch."""
        return cache_file("methods", Sources(self.path / "src/rsitr").digest, ".json")

    def params(self, params: dict[str, Any]) -> None:
        """Write params.yaml."""
        (self.path / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))


def copy_sources(target: Path) -> Project:
    """The project without any result."""
    for part in PARTS:
        (target / part).parent.mkdir(parents=True, exist_ok=True)
        # What is compiled comes along, and is used for as long as its source has the time and the size that it had.
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, target / part)
        else:
            shutil.copy2(ROOT / part, target / part)
    project = Project(target)
    project.params(TINY)
    return project
