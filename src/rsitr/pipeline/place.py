"""Where Snakemake runs jobs: on this machine, or on others, as its profile says."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from rsitr.errors import ParamsError
from rsitr.pipeline.snakemake import PROFILE

LOCAL = "local"


class Place(NamedTuple):
    """Where jobs run."""

    profile: str
    """As it is named; empty without one."""
    settings: dict[str, Any]
    """What the profile says."""

    @property
    def executor(self) -> str:
        """What runs jobs: ``local``, ``slurm`` ..."""
        return str(self.settings.get("executor") or LOCAL)

    @property
    def elsewhere(self) -> bool:
        """Whether jobs run on other machines than this."""
        return self.executor not in (LOCAL, "dryrun", "touch")

    @property
    def storage(self) -> str:
        """Where files are that machines do not share: ``s3``, ``fs`` ...; empty where they share a folder."""
        return str(self.settings.get("default-storage-provider") or "")

    @property
    def plugins(self) -> list[str]:
        """The packages that executor and storage come in, as far as they are not installed."""
        executor = [f"snakemake-executor-plugin-{self.executor}"] if self.elsewhere else []
        storage = [f"snakemake-storage-plugin-{self.storage}"] if self.storage else []
        return [name for name in (*executor, *storage) if find_spec(name.replace("-", "_")) is None]


def place(profile: str | None = None) -> Place:
    """The place that a profile names, by default the one of the variable; raises ``ParamsError`` for none there."""
    named = os.environ.get(PROFILE, "") if profile is None else profile
    if named in ("", "none"):
        return Place("", {})
    config = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "snakemake"
    for folder in (Path(named), config / named, Path("/etc/xdg/snakemake", named)):
        files = [folder] if folder.is_file() else sorted(folder.glob("config*.yaml"))
        if files:
            return Place(named, yaml.safe_load(files[-1].read_text(encoding="utf-8")) or {})
    raise ParamsError(f"{named} is not a Snakemake profile: name a folder that holds a config.yaml, or unset {PROFILE}")
