"""A source file of the package as ``rsitr.records.code`` reads it: its statements, what its names are bound to, and
what a definition in it comes to."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

COMPOUND = (ast.For, ast.If, ast.Match, ast.Try, ast.While, ast.With)
"""Statements that others are inside of."""


@dataclass
class Module:
    """A source file: its statements, what its names are bound to, and what runs when it is imported."""

    name: str
    path: Path
    tree: ast.Module
    bound: dict[str, list[int]] = field(default_factory=dict)
    """Name -> the statements that bind it."""
    imported: dict[str, str] = field(default_factory=dict)
    """Name -> the dotted name it stands for."""
    effects: list[int] = field(default_factory=list)
    """Statements that run because the module is imported: those that bind no name, and those of several."""


def read_module(name: str, path: Path, text: str) -> Module:
    """Parse the text of a file and note what its statements bind."""
    module = Module(name, path, ast.parse(text))
    for place, statement in enumerate(module.tree.body):
        _bind(module, place, statement)
    return module


def _bind(module: Module, place: int, statement: ast.stmt) -> None:
    """Note what a statement at the top of a module binds."""
    if isinstance(statement, ast.Import | ast.ImportFrom):
        module.imported |= dict(imports(statement))
        return
    if is_constant(statement) or _is_guard(statement) or is_overload(statement):
        return
    names = list(bound_names(statement))
    for name in names:
        module.bound.setdefault(name, []).append(place)
    for node in ast.walk(statement) if isinstance(statement, COMPOUND) else ():
        if isinstance(node, ast.Import | ast.ImportFrom):
            module.imported |= dict(imports(node))
    if not names or isinstance(statement, COMPOUND):
        module.effects.append(place)


def imports(node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, str]]:
    """What an import binds: name, and the dotted name it stands for."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield (alias.asname, alias.name) if alias.asname else (alias.name.split(".")[0], alias.name.split(".")[0])
    else:
        for alias in node.names:
            yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def is_constant(statement: ast.stmt) -> bool:
    """A bare constant: a docstring, or the documentation of an attribute."""
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def is_overload(statement: ast.stmt) -> bool:
    """A signature for type checkers, which never runs."""
    decorators = statement.decorator_list if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef) else []
    return any(ast.unparse(each).rpartition(".")[2] == "overload" for each in decorators)


def _is_guard(statement: ast.stmt) -> bool:
    """``if __name__ == "__main__"`` and ``if TYPE_CHECKING``, which do not run on import."""
    if not isinstance(statement, ast.If) or statement.orelse:
        return False
    names = {node.id for node in ast.walk(statement.test) if isinstance(node, ast.Name)}
    return bool(names & {"__name__", "TYPE_CHECKING"})


def bound_names(statement: ast.AST) -> Iterator[str]:
    """Names that a statement binds in its own scope, imports left out."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield statement.name
        return
    if isinstance(statement, ast.Lambda | ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
        return
    if isinstance(statement, ast.Name) and isinstance(statement.ctx, ast.Store | ast.Del):
        yield statement.id
    if isinstance(statement, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and statement.name:
        yield statement.name
    for child in ast.iter_child_nodes(statement):
        yield from bound_names(child)


class Key(NamedTuple):
    """A definition: the module it is in, the number of its statement there, and of a class perhaps one method."""

    module: str
    place: int
    method: str = ""


@dataclass(frozen=True)
class Definition:
    """A statement at the top of a module, with references left open as ``{number}``."""

    text: str
    refers: tuple[Key, ...]
    libraries: frozenset[str]
    """Top-level names of third-party modules that it uses."""
    files: frozenset[str]
    """Files of data of the package that it names."""
    mentions: frozenset[str] = frozenset()
    """Names of attributes in it."""
    methods: tuple[str, ...] = ()
    """Of a class: methods that count only where something mentions them."""
