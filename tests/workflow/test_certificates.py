"""The certificates in git: whole, and the last one replayed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rsitr.records.certificates import Certificate, Ledger

ROOT = Path(__file__).parents[2]
LEDGER = Ledger.read(ROOT / "results" / "certificates.csv")


def test_every_certificate_agrees_with_its_seal() -> None:
    assert LEDGER.problems == []
    assert len(set(LEDGER.rows)) == len(LEDGER.rows) > 0


def last() -> Certificate:
    """The last certificate that a replay has shown."""
    return [row for row in LEDGER.rows if row.kind == "replay"][-1]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone at the commit of the last certificate, with the data of the demo's first dataset."""
    known = subprocess.run(["git", "-C", ROOT, "cat-file", "-e", last().base], capture_output=True)
    if known.returncode:
        pytest.skip("the commits of the last certificate are not in this copy of the history")
    folder = tmp_path_factory.mktemp("certified") / "clone"
    subprocess.run(["git", "clone", "--quiet", "--no-checkout", ROOT, folder], check=True)
    subprocess.run(["git", "-C", folder, "checkout", "--quiet", last().head], check=True)
    for step in (("fetch",), ("build",), ("clean", "--dedup", "none")):
        rsitr(folder, "data", step[0], "scenes-a", *step[1:])
    return folder


def rsitr(folder: Path, *arguments: str, codes: tuple[int, ...] = (0,)) -> str:
    """Run a command of the clone and return what it prints."""
    environment = os.environ | {"PYTHONPATH": str(folder / "src"), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "rsitr", *arguments]
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert result.returncode in codes, result.stdout + result.stderr
    return result.stdout


def test_the_last_certificate_is_replayed(clone: Path) -> None:
    """On generated data, which everybody has: the trees of the certificate compute the same there, too.

    One cell does not run every changed statement, so that a certificate may be refused to it; but no number differs.
    """
    item = "cells/demo/scenes-a/vse/0"
    said = rsitr(clone, "certify", last().base, "--experiment", "demo", "--only", item, codes=(0, 1))
    assert re.match(r"(1 certified, 0 refused|0 certified, 1 refused), 0 different", said), said
    assert "cannot be replayed" not in said
    assert "differ by themselves" not in said
