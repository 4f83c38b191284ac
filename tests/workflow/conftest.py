"""A finished run of the small project."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.helpers.project_copy import Project, copy_sources


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, str]:
    """A project after `snakemake all`, and what that printed. Not to be changed: take a copy."""
    project = copy_sources(tmp_path_factory.mktemp("finished"))
    return project, project.snakemake("all")


@pytest.fixture
def project(finished: tuple[Project, str], tmp_path: Path) -> Project:
    """A finished project of one's own."""
    shutil.copytree(finished[0].path, tmp_path / "project", ignore=shutil.ignore_patterns("locks"))
    return Project(tmp_path / "project")
