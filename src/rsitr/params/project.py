"""Whether a folder is a project: it has a ``params.yaml``."""

from __future__ import annotations

from pathlib import Path

PARAMS = Path("params.yaml")


def no_project(path: Path = PARAMS) -> str:
    """What to do where the folder of ``params.yaml`` is no project, since that is missing; empty where it is one."""
    if path.is_file():
        return ""
    return (
        f"there is no project in {path.absolute().parent}, since {path.name} is missing: go to the folder of one, set "
        "RSITR_HOME to it, or lay one out with `rsitr init FOLDER`"
    )
