"""The statements of a closure of code, each with a key that is equal for equal text, wherever the statement is.

A statement is known by its own text and that of what encloses it inside its function; names count as written, so that a
change of what a name stands for does not make every statement a changed one that uses it. Two trees differ in the
statements of the definitions that only one of them has: in what was added, removed or moved to another place in its
definition. What moved from one definition to another counts as unchanged.
"""

from __future__ import annotations

import ast
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from pathlib import Path
from typing import Literal, TypeGuard

from rsitr.records.code import Sources
from rsitr.records.modules import Key, is_constant, is_overload
from rsitr.records.reader import Reader, methods_of

LIMITS = frozenset({"arange", "clamp", "clip", "islice", "max", "maximum", "min", "minimum", "range", "topk"})
LIMITING = (ast.FloorDiv, ast.LShift, ast.Mod, ast.RShift)
PLAIN = (ast.Constant, ast.Tuple, ast.UnaryOp)
HASHES = ("rsitr.provenance.code_sha", "rsitr.records.identity.code_sha")
"""Functions that hash code. They decide whether a stored matrix of similarity is still current and compute none of its
numbers, so it makes no difference whether a tree imports one or calls it by name."""
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
    limits: tuple[str, ...] = ()
    """Numbers that it compares with, divides by, cuts at or chooses between: whatever acts from some step, epoch or
    size on has one."""
    named: tuple[str, ...] = ()
    """Numbers that it names, by which they may be a limit elsewhere: constants, defaults, keyword arguments."""
    literals: tuple[str, ...] = ()
    """All its numbers."""

    @property
    def place(self) -> str:
        """``file:line``."""
        return f"{self.file}:{self.span[0]}"


def statements(sources: Sources, entries: Iterable[str]) -> dict[Key, list[Statement]]:
    """The statements of every definition that some entries reach, in their order, but for what makes hashes of code."""
    return {key: list(_Walker(sources, key).top()) for key in sorted(sources.reach(entries, HASHES))}


Side = list[Statement]


def difference(old: Mapping[Key, Side], new: Mapping[Key, Side]) -> tuple[Side, Side]:
    """The statements that only the first of two trees has, and those that only the second has.

    A statement whose order within its definition changed is among both.
    """
    pairs = _paired(*_without_equal(old, new))
    changed = [_changed(*pair) for pair in pairs]
    # What left one definition and is in another one now was moved.
    left, come = (
        [
            Counter(each.key for each in both[side] if all(each.key != one.key for one in both[1 - side]))
            for both in changed
        ]
        for side in (0, 1)
    )
    moved = sum(left, Counter()) & sum(come, Counter())
    found: tuple[Side, Side] = ([], [])
    for side, own in ((0, left), (1, come)):
        rest = Counter(moved)
        for both, counts in zip(changed, own, strict=True):
            for statement in both[side]:
                if counts[statement.key] and rest[statement.key]:
                    rest[statement.key] -= 1
                else:
                    found[side].append(statement)
    return found


def _without_equal(old: Mapping[Key, Side], new: Mapping[Key, Side]) -> tuple[dict[Key, Side], dict[Key, Side]]:
    """The definitions that only one tree has."""
    both = Counter(map(_keys, old.values())) & Counter(map(_keys, new.values()))
    found: list[dict[Key, Side]] = []
    for tree in (old, new):
        rest = Counter(both)
        kept = {}
        for key, own in tree.items():
            if rest[_keys(own)]:
                rest[_keys(own)] -= 1
            else:
                kept[key] = own
        found.append(kept)
    return found[0], found[1]


def _paired(old: dict[Key, Side], new: dict[Key, Side]) -> list[tuple[Side, Side]]:
    """Each definition with the one of the other tree that has most in common with it, or with nothing."""
    shared = sorted(
        (
            (sum((Counter(_keys(one)) & Counter(_keys(other))).values()), first, second)
            for first, one in old.items()
            for second, other in new.items()
        ),
        key=lambda found: (-found[0], found[1] != found[2], found),
    )
    old, new = dict(old), dict(new)
    pairs = [
        (old.pop(first), new.pop(second)) for count, first, second in shared if count and first in old and second in new
    ]
    return [*pairs, *((one, []) for one in old.values()), *(([], other) for other in new.values())]


def _changed(old: Side, new: Side) -> tuple[Side, Side]:
    """What is in only one of two lists of statements, or in another order."""
    found: tuple[Side, Side] = ([], [])
    for kind, *places in SequenceMatcher(None, _keys(old), _keys(new), autojunk=False).get_opcodes():
        if kind != "equal":
            found[0].extend(old[places[0] : places[1]])
            found[1].extend(new[places[2] : places[3]])
    return found


def _keys(own: Side) -> tuple[str, ...]:
    return tuple(statement.key for statement in own)


class _Walker:
    """The statements of one definition."""

    def __init__(self, sources: Sources, key: Key):
        self.sources, self.key = sources, key
        self.node, self.module = sources.statement(key)
        self.file = self.module.path.relative_to(sources.package).as_posix()

    def top(self) -> Iterator[Statement]:
        """All of them; of a class, those of the key's method, or all but those of methods with keys of their own."""
        match node := self.node:
            case ast.ClassDef() if self.key.method:
                for part in methods_of(node):
                    if part.name == self.key.method:
                        yield from self._function(part, ())
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield from self._function(node, ())
            case ast.ClassDef():
                yield from self._class(node, self.sources.definition(self.key).methods)
            case ast.Assign() | ast.AnnAssign() | ast.AugAssign() if names := _targets(node):
                yield from self._values(node, self.module.name, names)
            case _:
                yield from self._block([node], ("module",))

    def _class(self, node: ast.ClassDef, lazy: tuple[str, ...]) -> Iterator[Statement]:
        last = node.end_lineno or node.lineno
        head = self._line(self._text([*node.decorator_list, *node.bases, *node.keywords]), (), (node.lineno, last))
        # A class without methods has nothing to run: it acts where it is used.
        yield head if methods_of(node) else replace(head, kind="value")
        for part in node.body:
            if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef):
                if part.name not in lazy and part in methods_of(node):
                    yield from self._function(part, ())
            elif isinstance(part, ast.Assign | ast.AnnAssign | ast.AugAssign) and (names := _targets(part)):
                yield from self._values(part, f"{self.module.name}.{node.name}", names)
            elif not is_constant(part):
                yield from self._block([part], ("class",))

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef, chain: tuple[str, ...]) -> Iterator[Statement]:
        own = [*node.decorator_list, *node.args.defaults, *filter(None, node.args.kw_defaults)]
        names = [part.arg for part in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
        inside = [part for part in node.body if not is_constant(part)] or node.body
        # A function's head acts when the function runs, which its first statement shows.
        span = (inside[0].lineno, inside[-1].end_lineno or inside[-1].lineno)
        text, uses = self._text(own)
        head = self._line((f"def {names} {text}", uses), chain, span)
        numbers = tuple(number for part in own for number in _numbers(part))
        yield replace(head, named=numbers, literals=numbers)
        yield from self._block(node.body, (*chain, "def"))

    def _block(self, body: list[ast.stmt], chain: tuple[str, ...]) -> Iterator[Statement]:
        for node in body:
            if is_overload(node):
                continue
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
                if name not in ("handlers", "cases"):
                    yield from self._block(parts, inner)
                    continue
                for part in parts:
                    case = [part.type] if isinstance(part, ast.ExceptHandler) else [part.pattern, part.guard]
                    yield from self._block(part.body, (*inner, self._text([each for each in case if each])[0]))

    def _head(self, node: ast.stmt) -> tuple[str, frozenset[Key]]:
        """A statement without the blocks inside it, empty for one that computes nothing; and what it refers to."""
        if isinstance(node, ast.Pass | ast.Global | ast.Nonlocal | ast.Try):
            return "", frozenset()
        reader = Reader(self.sources, self.module, named=True)
        text = reader.head(node, BLOCKS)
        return text, frozenset(reader.refers)

    def _text(self, nodes: Sequence[ast.AST]) -> tuple[str, frozenset[Key]]:
        reader = Reader(self.sources, self.module, named=True)
        return reader.text([*nodes]), frozenset(reader.refers)

    def _line(
        self,
        read: tuple[str, frozenset[Key]],
        chain: tuple[str, ...],
        span: tuple[int, int],
        node: ast.AST | None = None,
    ) -> Statement:
        text, uses = read
        key = _key("line", *chain, text)
        limits, named, literals = _amounts(node) if node else ((), (), ())
        return Statement(key, "line", self.file, span, "", uses, None, limits, named, literals)

    def _values(self, node: ast.stmt, owner: str, names: list[str]) -> Iterator[Statement]:
        """What a statement gives each of some names."""
        reader = Reader(self.sources, self.module, named=True)
        text = reader.head(node, ("annotation",))
        span = (node.lineno, node.end_lineno or node.lineno)
        numbers = tuple(_numbers(node))
        if isinstance(node, ast.AnnAssign) and node.value is None:
            owner, names = "", [""]  # a field without a value
        for name in names:
            dotted = f"{owner}.{name}" if name else ""
            key = _key("value", name, text)
            yield Statement(
                key, "value", self.file, span, dotted, frozenset(reader.refers), self.key, (), numbers, numbers
            )


def _targets(node: ast.Assign | ast.AnnAssign | ast.AugAssign) -> list[str]:
    """Names that an assignment binds."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    names = [part for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)]
    return [part.id for part in names if isinstance(part.ctx, ast.Store)]


def _amounts(node: ast.AST) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """``limits``, ``named`` and ``literals`` of a statement, without the blocks inside it.

    0 is no limit: what is compared with it is empty or not, and what begins there begins.
    """
    inside = [getattr(node, name, []) for name in BLOCKS]
    blocks = {id(part) for parts in inside if isinstance(parts, list) for part in parts}
    found: dict[str, list[str]] = {"limits": [], "named": [], "": []}
    waiting: list[tuple[ast.AST, str]] = [(node, "")]
    while waiting:
        part, kind = waiting.pop()
        match part:
            case ast.Compare() | ast.IfExp() | ast.BoolOp() | ast.Slice():
                kind = "limits"
            case ast.BinOp(op=operator) | ast.AugAssign(op=operator) if isinstance(operator, LIMITING):
                kind = "limits"
            case ast.BinOp(op=ast.Pow(), right=exponent) if not _is_number(exponent):
                kind = "limits"
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) if name in LIMITS:
                kind = "limits"
            case ast.keyword() if not kind:
                kind = "named"
            case ast.Assign(value=value) | ast.AnnAssign(value=value) if isinstance(value, PLAIN):
                kind = "named"
            case ast.Constant(value=value) if _is_number(part) and value:
                found[kind].append(repr(value))
        waiting += [(child, kind) for child in ast.iter_child_nodes(part) if id(child) not in blocks]
    limits, named, rest = map(tuple, found.values())
    return limits, named, (*limits, *named, *rest)


def _numbers(node: ast.AST) -> Iterator[str]:
    """Every number of a node but 0."""
    yield from (repr(part.value) for part in ast.walk(node) if _is_number(part) and part.value)


def _is_number(node: ast.AST) -> TypeGuard[ast.Constant]:
    return isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool)


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
