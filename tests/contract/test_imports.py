"""Each part of the package imports only from itself and from those below it: DESIGN.md, Layout."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import rsitr

PACKAGE = Path(rsitr.__file__).parent

# From the top to the ground. Parts of one line do not know each other.
LAYERS = (
    ("__main__",),
    ("cli",),
    ("report",),
    ("pipeline",),
    ("overlap", "schemas"),
    ("examples", "needs"),
    ("tables",),
    ("figures",),
    ("peder",),
    ("train", "two_stage", "pretraining"),
    ("present",),
    ("scenes",),
    ("teacher", "trained"),
    ("evaluate",),
    ("isolation", "resume", "runtime", "scoring"),
    ("methods",),
    ("nn",),
    ("localisation",),
    ("retrieval",),
    ("dedup",),
    ("captions",),
    ("datasets", "origin"),
    ("cells",),
    ("gpus", "params", "provenance", "progress", "scheduling", "times"),
    ("errors",),
)
DEPTH = {part: depth for depth, parts in enumerate(LAYERS) for part in parts}
# What the Snakefile and the command line import at their start; torch would cost each of their runs seconds.
LIGHT = (
    "pipeline",
    "report",
    "cli/__init__",
    "cli/captions",
    "cli/data",
    "cli/examples",
    "cli/locate",
    "cli/peder",
    "cli/pretrain",
    "cli/dedup",
    "cli/scenes",
    "cli/two_stage",
    "cells",
    "needs",
    "origin",
    "overlap",
    "peder/record",
    "params",
    "present",
    "provenance",
    "isolation",
    "scenes/record",
    "scenes/run",
    "scenes/use",
    "schemas",
    "two_stage/record",
    "two_stage/run",
    "times",
    "errors",
    "gpus",
    "methods/__init__",
    "methods/catalog",
)
HEAVY = {"numpy", "jsonschema", "torch", "torchvision", "timm", "open_clip", "transformers", "pandas", "matplotlib"}

FILES = sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").as_posix()


def imports(tree: ast.AST) -> list[tuple[int, str]]:
    """(line, full name) of everything a file imports, inside functions too."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            # A relative import would escape `code_sha`, which reads full names.
            assert node.level == 0, f"line {node.lineno}: import by full name"
            found += [(node.lineno, f"{node.module}.{alias.name}") for alias in node.names]
    return found


def test_every_part_has_its_place():
    parts = {name_of(path).split("/")[0] for path in FILES} - {"__init__"}
    assert parts == set(DEPTH)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_point_downwards(path):
    part = name_of(path).split("/")[0]
    for line, name in imports(ast.parse(path.read_text(encoding="utf-8"))):
        first, *rest = name.split(".")
        if first != "rsitr" or rest[0] == part:
            continue
        assert DEPTH[rest[0]] > DEPTH[part], f"{path.name}:{line} imports {name}, which is not below {part}"


@pytest.mark.parametrize("name", LIGHT)
def test_the_start_is_light(name):
    tree = ast.parse((PACKAGE / f"{name}.py").read_text(encoding="utf-8"))
    typing_only = [node for node in tree.body if isinstance(node, ast.If)]
    at_import = [node for node in tree.body if node not in typing_only]
    functions = ast.FunctionDef | ast.ClassDef
    module = ast.Module([node for node in at_import if not isinstance(node, functions)], [])
    assert not {full.split(".")[0] for _, full in imports(module)} & HEAVY


def test_methods_stand_alone_or_on_a_shared_frame():
    """A method's file may import the frames that several share, and no other method."""
    from rsitr.methods import registry

    own = {entry.module for entry in registry().values()}
    for module in own:
        path = PACKAGE / "methods" / f"{module.rsplit('.', 1)[1]}.py"
        for line, name in imports(ast.parse(path.read_text(encoding="utf-8"))):
            assert name.rsplit(".", 1)[0] not in own - {module}, f"{path.name}:{line} imports {name}"


def test_datasets_stand_alone():
    from rsitr.datasets import registry

    own = {cls.__module__ for cls in registry().values()}
    for module in own:
        path = PACKAGE / "datasets" / f"{module.rsplit('.', 1)[1]}.py"
        for line, name in imports(ast.parse(path.read_text(encoding="utf-8"))):
            assert name.rsplit(".", 1)[0] not in own - {module}, f"{path.name}:{line} imports {name}"
