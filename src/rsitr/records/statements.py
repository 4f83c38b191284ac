"""The statements of a closure of code, each with a key that is equal for equal text, wherever the statement is.

Two trees differ in the statements whose keys only one of them has. A statement is known by its own text and that of
what encloses it inside its function; names count as written, so that a change of what a name stands for does not make
every statement a changed one that uses it.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rsitr.records.code import Key, Module, Reader, Sources

LIMITS = frozenset({"clamp", "clip", "max", "min", "range"})
BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")


@dataclass(frozen=True)
class Statement:
    """A statement, or the value of a constant."""

    key: str
    kind: Literal["line", "value"]
    """``line``: it acts when it runs. ``value``: it binds a constant, which acts wherever that is used."""
    file: str
    """Below the package folder."""
    span: tuple[int, int]
    """First and last line; of a compound statement, those of its head."""
    name: str = ""
    """Of a constant, dotted."""
    uses: frozenset[Key] = frozenset()
    """Definitions that it refers to."""
    own: Key | None = None
    """Of a constant: its definition."""
    numbers: tuple[str, ...] = ()
    """Numbers that it compares with, divides by or limits to: what acts from some step, epoch or size on has one."""

    @property
    def place(self) -> str:
        """``file:line``."""
        return f"{self.file}:{self.span[0]}"


def statements(sources: Sources, entries: Iterable[str]) -> dict[str, Statement]:
    """Every statement of the definitions that some entries reach, by key; of equal ones, the first."""
    found: dict[str, Statement] = {}
    for key in sorted(sources.reach(entries)):
        for statement in _of_definition(sources, key):
            found.setdefault(statement.key, statement)
    return found


def _of_definition(sources: Sources, key: Key) -> Iterator[Statement]:
    module = sources.module(key.module)
    assert module is not None
    walker = _Walker(sources, module, key)
    yield from walker.top(module.tree.body[key.place], key.method, sources.definition(key).methods)


class _Walker:
    """The statements of one module."""

    def __init__(self, sources: Sources, module: Module, key: Key):
        self.sources, self.module, self.key = sources, module, key
        self.file = module.path.relative_to(sources.package).as_posix()

    def top(self, node: ast.stmt, method: str, lazy: tuple[str, ...]) -> Iterator[Statement]:
        """Those of a definition; of a class, those of a method, or all but those of the ``lazy`` ones."""
        match node:
            case ast.ClassDef() if method:
                for part in node.body:
                    if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef) and part.name == method:
                        yield from self._function(part, ())
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield from self._function(node, ())
            case ast.ClassDef():
                yield from self._class(node, lazy)
            case ast.Assign() | ast.AnnAssign():
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names = [part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)]
                yield self._value(node, f"{self.module.name}.{names[0]}" if names else "")

    def _class(self, node: ast.ClassDef, lazy: tuple[str, ...]) -> Iterator[Statement]:
        last = node.end_lineno or node.lineno
        yield self._line(self._text([*node.decorator_list, *node.bases, *node.keywords]), (), (node.lineno, last))
        for part in node.body:
            if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef):
                if part.name not in lazy:
                    yield from self._function(part, ())
            elif isinstance(part, ast.Assign | ast.AnnAssign):
                target = part.targets[0] if isinstance(part, ast.Assign) else part.target
                if isinstance(target, ast.Name):
                    yield self._value(part, f"{self.module.name}.{node.name}.{target.id}")

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef, chain: tuple[str, ...]) -> Iterator[Statement]:
        own = [*node.decorator_list, *node.args.defaults, *filter(None, node.args.kw_defaults)]
        names = [part.arg for part in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
        inside = [part for part in node.body if not _is_text(part)] or node.body
        # A function's head acts when the function runs, which its first statement shows.
        span = (inside[0].lineno, inside[-1].end_lineno or inside[-1].lineno)
        text, uses = self._text(own)
        yield self._line((f"def {names} {text}", uses), chain, span)
        yield from self._block(node.body, (*chain, "def"))

    def _block(self, body: list[ast.stmt], chain: tuple[str, ...]) -> Iterator[Statement]:
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield from self._function(node, chain)
                continue
            head, uses = self._head(node)
            blocks = [(name, getattr(node, name)) for name in BLOCKS if getattr(node, name, None)]
            if head and not isinstance(node, ast.Raise):
                end = min((part.lineno for _, parts in blocks for part in parts if hasattr(part, "lineno")), default=0)
                last = max(node.lineno, end - 1) if end else node.end_lineno or node.lineno
                yield self._line((head, uses), chain, (node.lineno, last), node)
            for name, parts in blocks:
                inner = (*chain, head, name)
                for part in parts:
                    if isinstance(part, ast.ExceptHandler):
                        kind, _ = self._text([part.type] if part.type else [])
                        yield from self._block(part.body, (*inner, kind))
                    elif isinstance(part, ast.match_case):
                        case, _ = self._text([part.pattern, *([part.guard] if part.guard else [])])
                        yield from self._block(part.body, (*inner, case))
                if not isinstance(parts[0], ast.ExceptHandler | ast.match_case):
                    yield from self._block(parts, inner)

    def _head(self, node: ast.stmt) -> tuple[str, frozenset[Key]]:
        """A statement without the blocks inside it, empty for one that computes nothing; and what it refers to."""
        if isinstance(node, ast.Pass | ast.Global | ast.Nonlocal | ast.Try):
            return "", frozenset()
        reader = Reader(self.sources, self.module, named=True)
        text = reader.head(node, BLOCKS)
        return text, frozenset(reader.refers)

    def _text(self, nodes: Sequence[ast.AST]) -> tuple[str, frozenset[Key]]:
        reader = Reader(self.sources, self.module, named=True)
        return reader.text(list(nodes)), frozenset(reader.refers)

    def _line(
        self,
        read: tuple[str, frozenset[Key]],
        chain: tuple[str, ...],
        span: tuple[int, int],
        node: ast.AST | None = None,
    ) -> Statement:
        text, uses = read
        numbers = tuple(_numbers(node)) if node else ()
        return Statement(_key("line", *chain, text), "line", self.file, span, uses=uses, numbers=numbers)

    def _value(self, node: ast.Assign | ast.AnnAssign, name: str) -> Statement:
        reader = Reader(self.sources, self.module, named=True)
        text = reader.head(node, ("annotation",))
        span = (node.lineno, node.end_lineno or node.lineno)
        uses = frozenset(reader.refers)
        return Statement(_key("value", text), "value", self.file, span, name, uses, self.key)


def _numbers(node: ast.AST) -> Iterator[str]:
    """The numbers in comparisons, divisions and limits of a statement, without the blocks inside it."""
    inside = [getattr(node, name, []) for name in BLOCKS]
    blocks = {id(part) for parts in inside if isinstance(parts, list) for part in parts}
    waiting: list[tuple[ast.AST, bool]] = [(node, False)]
    while waiting:
        part, limits = waiting.pop()
        match part:
            case ast.Compare() | ast.BinOp(op=ast.Mod() | ast.FloorDiv()):
                limits = True
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) if name in LIMITS:
                limits = True
            case ast.Constant(value=int() | float()) if (
                limits and not isinstance(part.value, bool) and part.value not in (0, 1)
            ):
                yield repr(part.value)
        waiting += [(child, limits) for child in ast.iter_child_nodes(part) if id(child) not in blocks]


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _key(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def changed_files(old: Sources, new: Sources, old_entries: Iterable[str], new_entries: Iterable[str]) -> list[str]:
    """Files of data that two closures name and that differ in more than added lines of a table."""
    before, after = (
        {name: sources.data_files[name] for definition in sources.reach(names).values() for name in definition.files}
        for sources, names in ((old, old_entries), (new, new_entries))
    )
    return [name for name in sorted({*before, *after}) if not _grown(before.get(name), after.get(name))]


def _grown(before: Path | None, after: Path | None) -> bool:
    """Whether a file is the same, or a table to which lines were added: what is looked up in it is still there."""
    if before is None or after is None:
        return before is None
    old, new = before.read_bytes(), after.read_bytes()
    lines = set(new.splitlines())
    return old == new or (before.suffix == ".csv" and all(line in lines for line in old.splitlines()))
