"""A project folder, laid out from what is installed: the graph, its parameters, and an empty place for results."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from rsitr import __version__
from rsitr.errors import ParamsError
from rsitr.records.code import PACKAGE, PROJECT
from rsitr.records.files import write_text

REQUIREMENTS = "requirements.txt"
WRITTEN = {
    REQUIREMENTS: f"rsitr[workflow]=={__version__}\n",
    "workflow/envs/rsitr.post-deploy.sh": f"""#!/usr/bin/env bash
# Snakemake runs this in the new environment, from the folder of the project.
set -euo pipefail
python -m pip install --requirement {REQUIREMENTS}
""",
}
"""What is otherwise than in the repository, where the package is installed from its sources and a lock file."""


def lay_out(folder: Path) -> list[Path]:
    """Write the files of a project into a folder; returns them.

    Files that are there already stay, so that an interrupted command can be run again. Raises ``ParamsError`` where one
    of them is not what would be written.
    """
    texts = {folder / place: text for place, text in sorted(_texts().items())}
    if others := [str(path) for path, text in texts.items() if path.exists() and not _holds(path, text)]:
        raise ParamsError(f"{folder} has other files by these names: {', '.join(others)}: choose another folder")
    for path, text in texts.items():
        write_text(path, text)
    return [*texts]


def _holds(path: Path, text: str) -> bool:
    return path.is_file() and path.read_bytes() == text.encode()


def _texts() -> dict[str, str]:
    """Place in the project -> content."""
    texts = {place: path.read_text(encoding="utf-8") for place, path in _sources()} | WRITTEN
    # DVC looks at the sources in the repository. Elsewhere they are those of a version.
    texts["dvc.yaml"] = re.sub(
        r"( +- )src/rsitr.*\n(?: +- src/rsitr.*\n)*", rf"\g<1>{REQUIREMENTS}\n", texts["dvc.yaml"]
    )
    return texts


def _sources() -> Iterator[tuple[str, Path]]:
    """Every file, below the package where that is from a wheel, and in the repository otherwise."""
    parts = {PACKAGE / PROJECT: Path()}
    if not (PACKAGE / PROJECT).is_dir():
        root = PACKAGE.parents[1]
        stated = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
        wheel = stated["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
        parts = {root / part: Path(place).relative_to(PACKAGE.name, PROJECT) for part, place in wheel.items()}
    for part, place in parts.items():
        for path in sorted(part.rglob("*")) if part.is_dir() else [part]:
            if path.is_file():
                yield (place / path.relative_to(part)).as_posix(), path
