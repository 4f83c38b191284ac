"""Snakemake as a command of this environment."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

from rsitr.errors import MissingExtra


def snakemake(targets: list[str], experiment: str, cores: int) -> int:
    """Run Snakemake for some targets of an experiment; returns its exit status."""
    if find_spec("snakemake") is None:
        raise MissingExtra("snakemake", ["workflow"], __name__)
    command = [sys.executable, "-m", "snakemake", "--cores", str(cores), "--config", f"experiment={experiment}"]
    return subprocess.run([*command, "--", *targets]).returncode
