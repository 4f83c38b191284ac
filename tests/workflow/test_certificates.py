"""The certificates in git: whole, and the last one replayed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rsitr.pipeline.certify import Certification
from rsitr.pipeline.judging import Verdict
from rsitr.records.certificates import Certificate, Ledger
from tests.helpers.warm_replays import warm_replays

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
        environment = os.environ | {"PYTHONPATH": str(folder / "src"), "HF_HUB_OFFLINE": "1"}
        command = [sys.executable, "-m", "rsitr", "data", step[0], "scenes-a", *step[1:]]
        result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        assert result.returncode == 0, result.stdout + result.stderr
    return folder


def test_the_last_certificate_is_replayed(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On generated data, which everybody has: the trees of the certificate compute the same there, too.

    One cell does not run every changed statement, so that no code is compared: every number is.
    """
    monkeypatch.chdir(clone)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    warm_replays(monkeypatch)
    item = "cells/demo/scenes-a/vse/0"
    last_one = Certification(last().base, "demo", only=[item])
    plan = {"configuration": "", "entries": {"scored": ()}}
    last_one.plans = tuple({item: plan | {"identities": {"scored": tree.commit}}} for tree in last_one.trees)
    last_one.replay()
    assert last_one.judge() == [Verdict(item, "certified")]
