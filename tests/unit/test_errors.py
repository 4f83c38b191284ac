"""What an absent package says: which code needs it, and the extra that has it."""

from __future__ import annotations

import re
import sys
from importlib.machinery import PathFinder
from pathlib import Path

import pytest

import rsitr
from rsitr.errors import DISTRIBUTIONS, ExtrasFinder, MissingExtra, RsitrError

FILES = sorted(Path(rsitr.__file__).parent.rglob("*.py"))


class Without:
    """Finds what is installed, but for some packages."""

    find_distributions = staticmethod(PathFinder.find_distributions)

    def __init__(self, *names: str):
        self.names = names

    def find_spec(self, name, path=None, target=None):
        return None if name in self.names else PathFinder.find_spec(name, path, target)


@pytest.fixture
def hide(monkeypatch):
    def hidden(*names: str) -> None:
        ExtrasFinder._packages.cache_clear()
        finders = [Without(*names) if finder is PathFinder else finder for finder in sys.meta_path]
        monkeypatch.setattr(sys, "meta_path", finders)
        for name in [name for name in sys.modules if name.partition(".")[0] in names]:
            monkeypatch.delitem(sys.modules, name)

    return hidden


def run(code: str, module: str) -> dict:
    """The names of a module after some code of it has run."""
    names = {"__name__": module}
    exec(code, names)
    return names


def optional() -> list[str]:
    """Modules from elsewhere that some code of ours imports and that some extra has."""
    imports = re.compile(r"^ *(?:import|from) (\w+)", re.MULTILINE)
    found = {name for path in FILES for name in imports.findall(path.read_text(encoding="utf-8"))}
    return sorted(name for name in found if ExtrasFinder.extras(package_of(name)))


def package_of(module: str) -> str:
    return DISTRIBUTIONS.get(module, module).replace("_", "-")


@pytest.mark.parametrize("module", optional())
def test_every_package_of_an_extra_is_named_with_the_extra(module, hide):
    hide(module)
    with pytest.raises(MissingExtra) as caught:
        run(f"import {module}.inner", "rsitr.somewhere")
    package = package_of(module)
    assert str(caught.value) == f"rsitr.somewhere needs {package}: pip install 'rsitr[{caught.value.extras[0]}]'"
    assert caught.value.extras == ExtrasFinder.extras(package)


def test_every_extra_for_users_has_such_a_package():
    named = {ExtrasFinder.extras(package_of(module))[0] for module in optional()}
    assert named == {"captions", "data", "locate", "site", "train", "workflow"}  # `search` needs what `data` has


@pytest.mark.parametrize(
    ("package", "command", "preferred", "extra"),
    [
        ("rasterio", "rsitr locate", "", "locate"),
        ("pillow", "rsitr data build", "", "data"),
        ("pillow", "rsitr captions statistics", "", "captions"),
        ("pillow", "rsitr attention", "", "site"),  # the smallest
        ("pillow", "rsitr dedup pairs", "data", "data"),
        ("faiss-cpu", "rsitr search", "", "search"),
        ("timm", "rsitr locate", "", "locate"),
        ("timm", "rsitr tables", "site", "train"),
    ],
)
def test_the_extra_is_that_of_the_command_or_the_smallest(package, command, preferred, extra):
    error = MissingExtra(package, ExtrasFinder.extras(package), "rsitr.somewhere")
    assert error.said_of(command, preferred) == f"{command} needs {package}: pip install 'rsitr[{extra}]'"
    assert isinstance(error, RsitrError)


@pytest.mark.parametrize(
    "code", ["import dvc", "from dvc.repo import Repo", "from importlib import import_module; import_module('dvc')"]
)
def test_any_way_of_importing_is_answered(code, hide):
    hide("dvc")
    with pytest.raises(MissingExtra, match=r"rsitr\.cli needs dvc: pip install 'rsitr\[workflow\]'"):
        run(code, "rsitr.cli")


@pytest.mark.parametrize("module", ["timm.models", "__main__", "rsitrust"])
def test_imports_of_others_fail_as_ever(module, hide):
    hide("dvc")
    with pytest.raises(ModuleNotFoundError, match="No module named 'dvc'") as caught:
        run("import dvc", module)
    assert not isinstance(caught.value, MissingExtra)


@pytest.mark.parametrize("name", ["atlantis", "dvc.atlantis", "rsitr.atlantis", "tests.atlantis"])
def test_what_no_extra_has_fails_as_ever(name):
    with pytest.raises(ModuleNotFoundError, match=f"No module named '{name}'") as caught:
        run(f"import {name}", "rsitr.cli")
    assert not isinstance(caught.value, MissingExtra)


def test_looking_for_a_package_is_no_import(hide):
    """Weights in packages are looked for, and a cell without them is skipped."""
    hide("dvc")
    assert run("from importlib.util import find_spec; found = find_spec('dvc')", "rsitr.nn.weights")["found"] is None
