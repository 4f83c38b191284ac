"""A finished run of the small project."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from rsitr.captions.released import Released
from tests.helpers.project_copy import Project, copy_sources


def compile_kernels() -> None:
    """Let numba compile in the sources here, once: every copy takes along what it finds compiled."""
    Released(["a red dot", "a blue bar"], [[0], [1]]).scores(np.arange(2), np.arange(2))


@pytest.fixture(scope="session")
def finished(shared: Path) -> tuple[Project, str]:
    """A project after `snakemake all`, and what that printed. Not to be changed: take a copy.

    The workers of a run share one, made by whichever asks first.
    """
    folder = shared / "finished"
    folder.mkdir(exist_ok=True)
    printed = folder / "printed.txt"
    with FileLock(folder / "lock"):
        if not printed.exists():
            compile_kernels()
            # As a user runs it; what follows is run in forks of a warm process.
            output = copy_sources(folder / "project").run("snakemake", "--cores", "8", "all")
            printed.write_text(output, encoding="utf-8")
    return Project(folder / "project"), printed.read_text(encoding="utf-8")


@pytest.fixture
def project(finished: tuple[Project, str], tmp_path: Path) -> Project:
    """A finished project of one's own."""
    shutil.copytree(finished[0].path, tmp_path / "project", ignore=shutil.ignore_patterns("locks"))
    return Project(tmp_path / "project")
