"""A project laid out from what is installed: its files, what is otherwise than here, and files that are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from rsitr import __version__
from rsitr.errors import ParamsError
from rsitr.params import load_params
from rsitr.pipeline.project import REQUIREMENTS, lay_out
from tests.helpers.commands import refused, run
from tests.helpers.project_copy import PARTS

ROOT = Path(__file__).parents[3]
CHANGED = {"dvc.yaml", "workflow/envs/rsitr.post-deploy.sh"}


def files(folder: Path) -> dict[str, str]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in found}


def test_a_project_has_the_files_of_the_repository_but_for_its_sources(tmp_path):
    written = lay_out(tmp_path / "new" / "project")
    found = files(tmp_path / "new" / "project")
    assert sorted(path.relative_to(tmp_path / "new" / "project").as_posix() for path in written) == sorted(found)
    parts = [ROOT / part for part in (*PARTS, "params.yaml") if part != "src"]
    expected = [path for part in parts for path in (part.rglob("*") if part.is_dir() else [part]) if path.is_file()]
    assert {*found} == {path.relative_to(ROOT).as_posix() for path in expected} | {REQUIREMENTS}
    for name in {*found} - CHANGED - {REQUIREMENTS}:
        assert found[name] == (ROOT / name).read_text(encoding="utf-8"), name


def test_the_version_stands_for_the_sources(tmp_path):
    lay_out(tmp_path)
    found = files(tmp_path)
    assert found[REQUIREMENTS] == f"rsitr[workflow]=={__version__}\n"
    stages = yaml.safe_load(found["dvc.yaml"])["stages"]
    originals = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    for name, stage in stages.items():
        data = [path for path in originals[name]["deps"] if not path.startswith("src/")]
        assert stage == originals[name] | {"deps": [REQUIREMENTS, *data]}
    script = found["workflow/envs/rsitr.post-deploy.sh"]
    assert script.splitlines()[-1] == f"python -m pip install --requirement {REQUIREMENTS}"
    assert not [name for name, text in found.items() if re.search(r"\bsrc/|requirements\.lock", text)]


def test_what_is_there_already_stays_where_it_is_the_same(tmp_path):
    lay_out(tmp_path)
    (tmp_path / "Snakefile").unlink()
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    assert tmp_path / "Snakefile" in lay_out(tmp_path)
    assert files(tmp_path)["notes.txt"] == "mine"


def test_no_file_of_somebody_else_is_replaced(tmp_path):
    (tmp_path / ".gitignore").write_text("*.tmp\n", encoding="utf-8")
    (tmp_path / "params.yaml").mkdir()
    with pytest.raises(ParamsError, match=r"has other files by these names: .*\.gitignore, .*params\.yaml: choose"):
        lay_out(tmp_path)
    assert files(tmp_path) == {".gitignore": "*.tmp\n"}


def test_the_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RSITR_HOME", "mine")  # which is not there yet
    assert re.fullmatch(r"mine: \d+ files; go there and run `snakemake --cores 2 all`\n", run("init", "mine").stdout)
    assert load_params(Path("mine/params.yaml")).experiment == "demo"
    (tmp_path / "mine/Snakefile").write_text("", encoding="utf-8")
    assert "mine has other files by these names: mine/Snakefile: choose another folder" in refused("init", "mine")
