"""The tables of records in git are those that the code in git makes of the records in git."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.helpers.project_copy import ROOT, copy_sources

# Pictures depend on the fonts of a machine, and tables of images and captions on data.
TEXTS = (".csv", ".html", ".json", ".md", ".tex")


def contents(folder: Path) -> dict[str, bytes]:
    """Every table in a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix in TEXTS}


def test_tables_are_those_of_the_records(tmp_path: Path) -> None:
    """If this fails: `rsitr tables laptop --only records`, and commit what it writes."""
    project = copy_sources(tmp_path / "project")
    shutil.copy2(ROOT / "params.yaml", project.path)
    shutil.copytree(ROOT / "results", project.path / "results", ignore=shutil.ignore_patterns("logs", "timing"))
    tables = project.path / "results/tables/laptop"
    committed = contents(tables)
    (tables / "comparison.csv").unlink()
    project.run_warm("rsitr", "tables", "laptop", "--only", "records")
    made = contents(tables)
    assert made.keys() == committed.keys()
    assert [name for name in sorted(made) if made[name] != committed[name]] == []
