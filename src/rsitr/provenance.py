"""What produced a number: hashes of code, data and parameters; the machine; the library versions.

``code_sha`` hashes the modules a stage really runs. It follows imports statically, so it costs milliseconds and imports
nothing, and it ignores comments, docstrings and layout, so that only a change of meaning makes a record stale.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import json
import os
import platform
import resource
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parent

# Modules that carry, name or print a number without taking part in computing it. A change in one of them leaves every
# record valid; anything else that a cell imports is part of its identity.
INFRASTRUCTURE = frozenset(
    {
        "rsitr.cells",
        "rsitr.cli",
        "rsitr.errors",
        "rsitr.isolation",
        "rsitr.params",
        "rsitr.present",
        "rsitr.progress",
        "rsitr.provenance",
        "rsitr.datasets.archives",
        "rsitr.datasets.fetch",
        "rsitr.methods.catalog",
    }
)

LIBRARIES = ("numpy", "open_clip_torch", "pandas", "pillow", "pyarrow", "timm", "torch", "torchvision", "transformers")


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_json(value: Any) -> str:
    """SHA-256 of a JSON value, independent of key order and spacing."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _canonical(node: Any) -> str:
    """Text of a syntax tree that is equal for equal meaning, under every Python version.

    Empty fields are left out because newer versions add fields (``type_params``) that are empty in older code.
    """
    if isinstance(node, ast.AST):
        fields = ((name, value) for name, value in ast.iter_fields(node) if name not in {"kind", "type_comment"})
        inner = ",".join(f"{name}={_canonical(value)}" for name, value in fields if value not in (None, []))
        return f"{type(node).__name__}({inner})"
    if isinstance(node, list):
        return "[" + ",".join(map(_canonical, node)) + "]"
    return repr(node)


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        # A bare string is never executed for its value: docstrings and attribute docs alike.
        node.body = [
            statement
            for statement in node.body
            if not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant))
        ]
    return tree


def source_sha(source: str) -> str:
    """SHA-256 of Python source, blind to comments, docstrings and layout."""
    return hashlib.sha256(_canonical(_without_docstrings(ast.parse(source))).encode()).hexdigest()


def _module_file(module: str, package: Path) -> Path | None:
    """File of ``rsitr.x.y`` below the package folder, or None where the name is not a module."""
    base = package.joinpath(*module.split(".")[1:])
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


def _imports(tree: ast.AST) -> set[str]:
    """Names that may be modules of ours among everything a file imports."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.split(".")[0] == "rsitr"}


@cache
def _read_module(path: Path) -> tuple[str, frozenset[str]]:
    source = path.read_text(encoding="utf-8")
    return source_sha(source), frozenset(_imports(ast.parse(source)))


def modules_of(entries: Iterable[str], package: Path = PACKAGE) -> dict[str, Path]:
    """The modules that ``entries`` reach by imports, infrastructure left out: name -> file, sorted."""
    found: dict[str, Path] = {}
    waiting = list(entries)
    while waiting:
        name = waiting.pop()
        path = _module_file(name, package)
        if name in found or name in INFRASTRUCTURE or path is None:
            continue
        found[name] = path
        waiting += _read_module(path)[1]
    return dict(sorted(found.items()))


def code_sha(entries: Iterable[str], package: Path = PACKAGE) -> str:
    """Hash of all code that the ``entries`` (dotted module names) reach."""
    return sha256_json({name: _read_module(path)[0] for name, path in modules_of(entries, package).items()})


def library_versions() -> dict[str, str]:
    """Versions of Python and of the libraries that take part in a number."""
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in LIBRARIES}


def cpu_name() -> str:
    """Model name of the processor, or its architecture where the system does not tell."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def memory_gib() -> float:
    """Physical memory of this machine in GiB."""
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)


def machine(device: str = "cpu", threads: int | None = None) -> dict[str, Any]:
    """Hardware facts of a record; names the accelerator that ``device`` stands for, and no host."""
    facts: dict[str, Any] = {
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "threads": threads,
        "memory_gib": memory_gib(),
        "device": "cpu",
    }
    if device.startswith("cuda"):
        import torch

        facts["device"] = torch.cuda.get_device_name(device)
    return facts


def peak_memory_mib() -> int:
    """Largest resident set of this process so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10))
