"""One statement of the package in its canonical form, for ``rsitr.records.code``.

What changes nothing that is computed leaves no trace in it: names of local variables, docstrings, annotations of
functions, the text of exceptions and of progress. What it refers to is left open, to stand for its own content.
"""

from __future__ import annotations

import ast
import builtins
import hashlib
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from rsitr.records.modules import COMPOUND, Definition, Key, Module, bound_names, imports, is_constant, is_overload

if TYPE_CHECKING:
    from rsitr.records.code import Sources

SAID = frozenset({"print", "progress.advance", "progress.say", "warnings.warn"})
"""Calls whose only purpose is a message. As a statement of their own, they compute nothing but what they call."""
BUILTINS = frozenset(dir(builtins))
PLAIN = frozenset({"abstractmethod", "cached_property", "classmethod", "property", "staticmethod"})
"""Decorators of methods that somebody has to name to call them."""


class Reader:
    """Turns one statement into a ``Definition``."""

    def __init__(self, sources: Sources, module: Module, named: bool = False):
        """``named``: references and local variables stand as they are called, and not for their content."""
        self.sources, self.module, self.named = sources, module, named
        self.own: set[str] = set()
        self.refers: dict[Key, int] = {}
        self.libraries: set[str] = set()
        self.files: set[str] = set()
        self.mentions: set[str] = set()
        self.methods: list[str] = []
        self.scopes: list[dict[str, str]] = []
        """Local name -> what stands for it, innermost last."""

    def read(self, statement: ast.stmt, key: Key) -> Definition:
        """A statement at the top of the module, or one method of it."""
        bound = self.module.bound.items()
        self.own = {name for name, places in bound if self.module.tree.body[places[0]] is statement}
        if key.method:
            assert isinstance(statement, ast.ClassDef)
            owner = self._reference([key._replace(method="")])
            # A property and its setter have one name.
            texts = [self._function(node, top=True) for node in methods_of(statement) if node.name == key.method]
            text = f"{owner}.{key.method}:{texts}"
        else:
            text = self._statement(statement, top=True)
        facts = (frozenset(self.libraries), frozenset(self.files), frozenset(self.mentions), tuple(self.methods))
        return Definition(text, tuple(self.refers), *facts)

    def head(self, node: ast.stmt, without: Iterable[str]) -> str:
        """A statement without some of its fields; empty for one that computes nothing.

        It refers to what is left of it: what is inside a block is none of its head's business.
        """
        computes = isinstance(node, COMPOUND) or self._statement(node)
        return self._fields(node, without) if computes else ""

    def text(self, node: object) -> str:
        """A node, a list of some, or a plain value."""
        match node:
            case ast.Name():
                return self._name(node.id)
            case ast.Attribute():
                return self._attribute(node)
            case ast.Constant(value=str(value)):
                if value in self.sources.data_files:
                    self.files.add(value)
                    return f"<{hashlib.sha256(self.sources.files[self.sources.data_files[value]]).hexdigest()}>"
                return repr(value)
            case ast.stmt():
                return self._statement(node)
            case ast.Lambda():
                return self._scoped(node, _parameters(node.args))
            case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                return self._scoped(node, (name for part in node.generators for name in bound_names(part.target)))
            case ast.ExceptHandler() | ast.MatchAs() | ast.MatchStar():
                return self._fields(node, replace={"name": self._name(node.name) if node.name else ""})
            case ast.arg():
                return f"arg({node.arg})"
            case ast.AST():
                return self._fields(node)
            case list():
                return "[" + ",".join(filter(None, map(self.text, node))) + "]"
            case _:
                return repr(node)

    def _fields(self, node: ast.AST, leave_out: Iterable[str] = (), replace: dict[str, str] | None = None) -> str:
        """All fields; empty ones do not count, since newer versions of Python add some that older code has not."""
        hidden = {"kind", "type_comment", "ctx", *leave_out}
        parts = []
        for name, value in ast.iter_fields(node):
            if replace and name in replace:
                parts.append(f"{name}={replace[name]}")
            elif name not in hidden and value not in (None, []):
                parts.append(f"{name}={self.text(value)}")
        return f"{type(node).__name__}({','.join(parts)})"

    def _statement(self, node: ast.stmt, top: bool = False) -> str:
        match node:
            case _ if is_constant(node):
                return ""
            case ast.Expr(value=ast.Call(func=said)) if ast.unparse(said) in SAID:
                return self._called(node.value)
            case ast.Raise(exc=ast.Call(func=kind)):
                return f"Raise({self.text(kind)})"
            case ast.Assert():
                return f"Assert({self.text(node.test)})"
            case ast.Import() | ast.ImportFrom():
                return ""
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                return self._function(node, top)
            case ast.ClassDef():
                return self._class(node, top)
            case ast.AnnAssign() if top or self.scopes:
                return self._fields(node, leave_out=("annotation", "simple"))
            case _:
                return self._fields(node)

    def _called(self, message: ast.expr) -> str:
        """What a message calls of the package on its way; empty where it calls nothing."""
        own = []
        for call in (part for part in ast.walk(message) if isinstance(part, ast.Call)):
            other = Reader(self.sources, self.module)
            other.scopes = [*self.scopes]
            other.text(call.func)
            if other.refers:
                own.append(call)
        return f"Called({self.text(own)})" if own else ""

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef, top: bool) -> str:
        before, signature = self.text(node.decorator_list), self._fields(node.args)
        local = [name for statement in node.body for name in bound_names(statement)]
        outer = {name for part in ast.walk(node) if isinstance(part, ast.Global | ast.Nonlocal) for name in part.names}
        scope = {name: name for name in _parameters(node.args)}
        for name in local:
            if name not in outer:
                # What a local variable is called changes nothing.
                scope.setdefault(name, name if self.named else f"%{len(self.scopes)}.{len(scope)}")
        imported = {
            name: target
            for statement in node.body
            for part in ast.walk(statement)
            if isinstance(part, ast.Import | ast.ImportFrom)
            for name, target in imports(part)
        }
        self.scopes.append(scope | {name: f"={target}" for name, target in imported.items()})
        body = self.text(node.body)
        self.scopes.pop()
        name = "" if top else self._name(node.name)
        return f"{type(node).__name__}({name},{before},{signature},{body})"

    def _class(self, node: ast.ClassDef, top: bool) -> str:
        head = self.text([*node.decorator_list, *node.bases, *node.keywords])
        if not top:
            return f"ClassDef({self._name(node.name)},{head},{self.text(node.body)})"
        parts = []
        names = {name: name for statement in node.body for name in bound_names(statement)}
        lazy = set() if self.sources.is_open(node, self.module) else set(_callable_by_name(node))
        self.methods += sorted(lazy)
        for statement in node.body:
            if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
                if statement.name not in lazy and not is_overload(statement):
                    parts.append(f"{statement.name}:{self._function(statement, top=True)}")
            else:
                # Annotations of fields count: pydantic checks and changes values by them.
                parts.append("" if is_constant(statement) else self._inside(names, statement))
        return f"ClassDef({head},{parts})"

    def _scoped(self, node: ast.AST, names: Iterable[str]) -> str:
        """A comprehension or lambda, whose variables are its own."""
        own = enumerate(dict.fromkeys(names))
        return self._inside({name: f"%{len(self.scopes)}.{place}" for place, name in own}, node)

    def _inside(self, scope: dict[str, str], node: ast.AST) -> str:
        self.scopes.append(scope)
        text = self._fields(node)
        self.scopes.pop()
        return text

    def _name(self, name: str) -> str:
        if root := self._import_of(name):
            return self._dotted(root, name)
        for scope in reversed(self.scopes):
            if name in scope:
                return scope[name]
        if name in self.own:
            return "<self>"
        if name in self.module.bound:
            return self._reference([Key(self.module.name, place) for place in self.module.bound[name]], name)
        return name

    def _attribute(self, node: ast.Attribute) -> str:
        """``a.b.c``: what is imported as ``a`` may be a module, whose ``b`` is what is meant."""
        names, value = [node.attr], node.value
        while isinstance(value, ast.Attribute):
            names.append(value.attr)
            value = value.value
        self.mentions.update(names)
        if isinstance(value, ast.Name) and (root := self._import_of(value.id)):
            return self._dotted(".".join([root, *reversed(names)]), value.id)
        return f"Attribute({self.text(node.value)},{node.attr})"

    def _import_of(self, name: str) -> str | None:
        """The dotted name that an import, here or at the top of the module, binds a name to."""
        for scope in reversed(self.scopes):
            if name in scope:
                return scope[name][1:] if scope[name].startswith("=") else None
        return self.module.imported.get(name) if name not in self.module.bound else None

    def _dotted(self, dotted: str, name: str) -> str:
        """What an imported dotted name stands for; of ours, the longest part of it that is a definition."""
        top = dotted.split(".")[0]
        if top != self.sources.name:
            if top not in sys.stdlib_module_names and top not in BUILTINS:
                self.libraries.add(top)
            return f"<{dotted}>"
        known = dotted
        rest: list[str] = []
        while known:
            found = self.sources.find(known)
            if isinstance(found, list):
                return ".".join([self._reference(found, known.rpartition(".")[2]), *reversed(rest)])
            known, _, last = known.rpartition(".")
            rest.append(last)
        return f"<{name}>"

    def _reference(self, keys: list[Key], name: str = "") -> str:
        for key in keys:
            self.refers.setdefault(key, len(self.refers))
        if self.named:
            return name
        return "".join(f"{{{self.refers.setdefault(key, len(self.refers))}}}" for key in keys)


def methods_of(node: ast.ClassDef) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    """The methods of a class, without signatures for type checkers."""
    functions = [part for part in node.body if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef)]
    return [part for part in functions if not is_overload(part)]


def _callable_by_name(node: ast.ClassDef) -> Iterator[str]:
    """Methods of a class that run only where something names them."""
    for method in methods_of(node):
        decorators = {part.id if isinstance(part, ast.Name) else "" for part in method.decorator_list}
        if not method.name.startswith("__") and decorators <= PLAIN:
            yield method.name


def _parameters(arguments: ast.arguments) -> list[str]:
    named = (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg)
    return [each.arg for each in named if each]
