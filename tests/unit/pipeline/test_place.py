"""Where Snakemake runs jobs."""

from __future__ import annotations

from pathlib import Path

import pytest

from rsitr.errors import ParamsError
from rsitr.pipeline.place import place

ROOT = Path(__file__).parents[3]


def test_without_a_profile_it_is_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SNAKEMAKE_PROFILE", raising=False)
    assert (place().executor, place().elsewhere, place().plugins) == ("local", False, [])
    monkeypatch.setenv("SNAKEMAKE_PROFILE", "none")
    assert place().executor == "local"


def test_a_profile_is_a_folder_or_one_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SNAKEMAKE_PROFILE", str(ROOT / "workflow/profiles/slurm"))
    assert (place().executor, place().elsewhere) == ("slurm", True)
    (tmp_path / "snakemake/mine").mkdir(parents=True)
    (tmp_path / "snakemake/mine/config.v8+.yaml").write_text("executor: somewhere\n", encoding="utf-8")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert place("mine").plugins == ["snakemake-executor-plugin-somewhere"]


def test_a_profile_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ParamsError, match="nowhere is not a Snakemake profile"):
        place("nowhere")
