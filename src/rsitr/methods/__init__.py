"""Methods: one file each. ``@method("name")`` on a class, in any module of this package, registers it."""

from __future__ import annotations

import ast
import importlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rsitr.errors import ParamsError

if TYPE_CHECKING:
    from rsitr.methods.base import Method


class Entry(NamedTuple):
    """Where a method lives."""

    module: str
    class_name: str


@cache
def registry() -> dict[str, Entry]:
    """Every registered method, found in the sources without importing them (torch takes seconds)."""
    found: dict[str, Entry] = {}
    for path in sorted(Path(__file__).parent.glob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and (name := _registered_name(node)):
                found[name] = Entry(f"{__name__}.{path.stem}", node.name)
    return found


def _registered_name(node: ast.ClassDef) -> str | None:
    for decorator in node.decorator_list:
        match decorator:
            case ast.Call(func=ast.Name(id="method"), args=[ast.Constant(value=str(name))]):
                return name
    return None


def entry(name: str) -> Entry:
    """Where the method called ``name`` lives; raises ``ParamsError`` that lists the known ones."""
    if name not in registry():
        raise ParamsError(f"unknown method {name!r}: the known ones are {', '.join(sorted(registry()))}")
    return registry()[name]


def get_method(name: str) -> type[Method]:
    """The class of the method called ``name``; imports torch."""
    where = entry(name)
    return getattr(importlib.import_module(where.module), where.class_name)
