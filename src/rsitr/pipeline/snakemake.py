"""Snakemake as a command of this environment."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

from rsitr.errors import MissingExtra

PROFILE = "SNAKEMAKE_PROFILE"
"""The variable that names a profile of Snakemake, which then says where jobs run and how many at a time."""


def snakemake(targets: list[str], experiment: str, cores: int | None = None, profile: str = "") -> int:
    """Run Snakemake for some targets of an experiment; returns its exit status.

    On two cores of this machine, unless a number or a profile says otherwise.
    """
    if find_spec("snakemake") is None:
        raise MissingExtra("snakemake", ["workflow"], __name__)
    where = ["--profile", profile] if profile else []
    if cores or not profile:
        where += ["--cores", str(cores or 2)]
    command = [sys.executable, "-m", "snakemake", *where, "--config", f"experiment={experiment}"]
    return subprocess.run([*command, "--", *targets]).returncode
