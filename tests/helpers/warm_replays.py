"""Replays of a certification in forks of a warm process. In a process of its own each would import torch first."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import pytest

from rsitr.pipeline.certify import Certification
from rsitr.pipeline.judging import RUNS
from tests.helpers import warm


def _start(self: Certification, run: str, group: str, *arguments: str, **streams: Any) -> Any:
    """What ``Certification`` starts, ended already."""
    tree = self.trees[RUNS[run]]
    command, environment = ["python", "-m", tree.module, *arguments], {"PYTHONPATH": str(tree.folder / "src")}
    status, printed = warm.run(command, self._folder(run, group), os.environ | environment)
    if arguments[0] == "plan":
        return SimpleNamespace(communicate=lambda: (printed.encode(), b""), returncode=status)
    os.write(streams["stdout"].fileno(), printed.encode())
    return SimpleNamespace(poll=lambda: status)


def warm_replays(patch: pytest.MonkeyPatch) -> None:
    """Let certifications replay that way."""
    patch.setattr(Certification, "_start", _start)
