"""The project folder that a command works in: the current folder, or the one that ``RSITR_HOME`` names."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import typer

from rsitr.errors import ParamsError
from rsitr.params import no_project

HOME = "RSITR_HOME"
Project = Literal["needed", "optional", "none"]
"""Whether a command works in a project: always, unless its arguments say otherwise, never."""


def enter(project: Project, context: typer.Context, values: Mapping[str, Any]) -> dict[str, Any]:
    """Work in the project folder from now on; returns the arguments of a command with the user's paths still right.

    Paths on the command line start where the user is, and what a command writes by default is in the project. Raises
    ``ParamsError`` where a project is needed and there is none.
    """
    here, placed = Path.cwd(), dict(values)
    if project != "none" and (home := os.environ.get(HOME)):
        if not Path(home).is_dir():
            raise ParamsError(
                f"{HOME} names {home}, which is not a folder: `rsitr init {home}` lays out a project there"
            )
        os.chdir(home)
        del os.environ[HOME]  # what this command starts works where it does
        placed = {name: _from(here, value) if _given(context, name) else value for name, value in values.items()}
    if project == "needed" and (wrong := no_project()):
        raise ParamsError(wrong)
    return placed


def _given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _from(here: Path, value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_from(here, each) for each in value]
    if isinstance(value, str) and value.startswith(("./", "../")):  # a path where a name could be, too
        return str(here / value)
    return here / value if isinstance(value, Path) else value
