"""Each part of the package imports only from itself and from those below it: DESIGN.md, Layout."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import rsitr

PACKAGE = Path(rsitr.__file__).parent

# From the top to the ground. Parts of one line may know each other.
LAYERS = (
    ("__main__",),
    ("cli",),
    ("site", "search_page"),
    ("examples", "external", "search"),
    ("pipeline",),
    ("stages", "pretraining"),
    ("tables", "figures"),
    ("methods",),
    ("nn", "retrieval"),
    ("localisation", "dedup", "captions"),
    ("datasets",),
    ("records",),
    ("params", "gpus"),
    ("progress", "errors", "__init__"),
)
DEPTH = {part: depth for depth, parts in enumerate(LAYERS) for part in parts}
# What the Snakefile and the command line import at their start; torch would cost each of their runs seconds.
LIGHT = (
    *("rsitr.cli", "rsitr.site", "rsitr.pipeline", "rsitr.records", "rsitr.methods.catalog"),
    *("rsitr.stages.entries", "rsitr.gpus"),
)
HEAVY = {"torch", "torchvision", "timm", "open_clip", "transformers"}

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
            # A relative import would escape the identities of code, which read full names.
            assert node.level == 0, f"line {node.lineno}: import by full name"
            found += [(node.lineno, f"{node.module}.{alias.name}") for alias in node.names]
    return found


def test_every_part_has_its_place():
    parts = {name_of(path).split("/")[0] for path in FILES} - {"__init__"}
    assert parts <= set(DEPTH)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_point_downwards(path):
    part = name_of(path).split("/")[0]
    for line, name in imports(ast.parse(path.read_text(encoding="utf-8"))):
        first, *rest = name.split(".")
        if first != "rsitr" or rest[0] in (part, "__version__"):
            continue
        assert DEPTH[rest[0]] >= DEPTH[part], f"{path.name}:{line} imports {name}, which is above {part}"


def modules(name: str) -> list[str]:
    """A module, or every module of a folder."""
    place = PACKAGE.parent.joinpath(*name.split("."))
    files = sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]
    paths = (path.relative_to(PACKAGE.parent).with_suffix("") for path in files)
    return [".".join(path.parts).removesuffix(".__init__") for path in paths]


@pytest.mark.parametrize("name", LIGHT)
def test_the_start_is_light(name):
    """In a process of its own, which imports nothing else."""
    script = f"import importlib, sys; [importlib.import_module(name) for name in {modules(name)}]; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert set(modules(name)) <= loaded
    assert not loaded & HEAVY


def test_a_cell_starts_without_what_its_method_does_not_use():
    """Each of these takes seconds, in every process of every cell."""
    script = "import sys; import rsitr.stages.train, rsitr.stages.evaluate, rsitr.methods.vse; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not {"open_clip", "transformers", "webdataset", "matplotlib"} & set(done.stdout.split())


def test_methods_stand_alone_or_on_a_shared_frame():
    """A method's file may import the frames that several share, and no other method's class."""
    from rsitr.methods import get_method, registry

    own = {entry.module for entry in registry().values()}
    methods = {f"{cls.__module__}.{cls.__name__}" for cls in map(get_method, registry())}
    for module in own:
        path = PACKAGE / "methods" / f"{module.rsplit('.', 1)[1]}.py"
        for line, name in imports(ast.parse(path.read_text(encoding="utf-8"))):
            assert name not in methods | own, f"{path.name}:{line} imports {name}"


def test_the_graph_is_known_without_what_draws_and_counts():
    """Every start of Snakemake asks for the tables that there are."""
    script = (
        "import sys; import rsitr.pipeline.targets; from rsitr.tables.declared import registry; registry(); "
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert not {"matplotlib", "nltk", "scipy", "sklearn", *HEAVY} & {*found}


def test_datasets_stand_alone():
    from rsitr.datasets import registry

    own = {cls.__module__ for cls in registry().values()}
    for module in own:
        path = PACKAGE / "datasets" / f"{module.rsplit('.', 1)[1]}.py"
        for line, name in imports(ast.parse(path.read_text(encoding="utf-8"))):
            assert name.rsplit(".", 1)[0] not in own - {module}, f"{path.name}:{line} imports {name}"
