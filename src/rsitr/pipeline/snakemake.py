"""Snakemake as a command of this environment."""

from __future__ import annotations

import subprocess
import sys


def snakemake(targets: list[str], experiment: str, cores: int) -> int:
    """Run Snakemake for some targets of an experiment; returns its exit status."""
    command = [sys.executable, "-m", "snakemake", "--cores", str(cores), "--config", f"experiment={experiment}"]
    return subprocess.run([*command, "--", *targets]).returncode
