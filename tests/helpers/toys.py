"""Little packages called ``toy``, written to disk for tests of what reads sources."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

from rsitr.records.code import Sources


def write_toy(folder: Path, files: dict[str, str]) -> Sources:
    """A package of some files below ``folder``; ``__init__.py`` is added where a folder has none."""
    package = folder / "toy"
    for name, text in files.items():
        path = package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text).lstrip("\n"), encoding="utf-8")
    for path in [package, *package.rglob("*")]:
        if path.is_dir() and not (path / "__init__.py").exists():
            (path / "__init__.py").touch()
    return Sources(package)
