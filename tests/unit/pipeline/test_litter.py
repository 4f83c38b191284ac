"""Files that killed processes leave."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from rsitr.pipeline.litter import UNTOUCHED, sweep, sweep_project
from rsitr.records.files import replacing


def test_only_what_nobody_writes_any_more_is_removed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with replacing(tmp_path / "tokens" / "a.npy") as partial:
        partial.write_bytes(bytes(3 * 2**20))
        left = partial.rename(partial.with_name(partial.name.replace("a.npy", "b.npy")))  # as if its writer were gone
        partial.touch()
    old = time.time() - UNTOUCHED - 5
    os.utime(left, (old, old))
    fresh, whole = tmp_path / "tokens" / ".c.npy.x.part", tmp_path / "tokens" / "d.part"
    for path in (fresh, whole):
        path.touch()
    os.utime(whole, (old, old))
    sweep([tmp_path, tmp_path, tmp_path / "absent"])
    assert sorted(path.name for path in (tmp_path / "tokens").iterdir()) == [fresh.name, "a.npy", "d.part"]
    assert capsys.readouterr().err == "removed what killed processes left: files 1, MiB 3\n"
    sweep([tmp_path])
    assert capsys.readouterr().err == ""


def test_what_commands_on_data_and_tables_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = ("data/canonical/ucm", "data/raw/ucm", "data/extracted/ucm", "results/tables/demo", "other")
    old = time.time() - UNTOUCHED - 5
    for left in (Path(name, ".a.csv.x.part") for name in names):
        left.parent.mkdir(parents=True)
        left.touch()
        os.utime(left, (old, old))
    sweep_project()
    assert sorted(str(path.parent) for path in Path().rglob(".*.part")) == [
        "data/extracted/ucm",
        "data/raw/ucm",
        "other",
    ]
