"""The code of the package as a graph of definitions, and hashes of what a definition reaches.

A definition is a statement at the top of a module: a function, a class, a constant. It refers to others by name, in its
own module or through imports, and is hashed by its content: a reference stands for the content of its target. Moving or
renaming a file, a definition or a local variable therefore changes no hash, and neither do comments, docstrings,
annotations of functions, layout, or the text of exceptions and of progress. Files of data that a definition names count
by their bytes, and third-party libraries by their versions.

Everything is read from the sources, so nothing is imported and a hash costs milliseconds.
"""

from __future__ import annotations

import ast
import builtins
import hashlib
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import NamedTuple

from rsitr.records.modules import COMPOUND, Module, bound_names, imports, is_constant, is_overload, read_module

PACKAGE = Path(__file__).parents[1]
ROUNDS = 3
"""How far a hash looks along references to tell two definitions of the same text apart."""
SAID = frozenset({"print", "progress.advance", "progress.say", "warnings.warn"})
"""Calls whose only purpose is a message. As a statement of their own, they compute nothing but what they call."""
BUILTINS = frozenset(dir(builtins))
CLOSED = frozenset({"abc", "enum", "pydantic", "typing"})
"""Modules whose base classes call no method of a class by its name, but for special and decorated ones."""
PLAIN = frozenset({"abstractmethod", "cached_property", "classmethod", "property", "staticmethod"})
"""Decorators of methods that somebody has to name to call them."""


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


class Sources:
    """The sources of a package folder, read once."""

    def __init__(self, package: Path = PACKAGE):
        self.package, self.name = package, package.name
        self._modules: dict[str, Module | None] = {}
        self._definitions: dict[Key, Definition] = {}
        self._labels: dict[tuple[Key, int], str] = {}

    @cached_property
    def data_files(self) -> dict[str, Path]:
        """Files of the package that are no sources, by name."""
        return {
            path.name: path
            for path in self.package.rglob("*")
            if path.is_file() and path.suffix not in {".py", ".pyc", ".typed"} and "__pycache__" not in path.parts
        }

    @property
    def files(self) -> list[Path]:
        """The source files that were read."""
        return [module.path for module in self._modules.values() if module]

    def module(self, name: str) -> Module | None:
        """A module of the package, or None where the name is not one."""
        if name not in self._modules:
            top, *parts = name.split(".")
            base = self.package.joinpath(*parts)
            found = (path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file())
            path = next(found, None) if top == self.name else None
            self._modules[name] = read_module(name, path) if path else None
        return self._modules[name]

    def statement(self, key: Key) -> tuple[ast.stmt, Module]:
        """The statement of a definition, and the module that it is in."""
        module = self.module(key.module)
        assert module is not None
        return module.tree.body[key.place], module

    def find(self, dotted: str) -> list[Key] | str | None:
        """What a dotted name stands for: definitions, the name of a module of ours, or None for anything else."""
        if self.module(dotted):
            return dotted
        parent, _, name = dotted.rpartition(".")
        owner = self.module(parent) if parent else None
        if owner is None:
            return None
        if name in owner.bound:
            return [Key(parent, place) for place in owner.bound[name]]
        return self.find(owner.imported[name]) if name in owner.imported else None

    def definition(self, key: Key) -> Definition:
        """A definition in its canonical form."""
        if key not in self._definitions:
            statement, module = self.statement(key)
            self._definitions[key] = Reader(self, module).read(statement, key)
        return self._definitions[key]

    def reach(self, entries: Iterable[str], without: Iterable[str] = ()) -> dict[Key, Definition]:
        """Every definition that the entries (dotted names of modules or definitions) reach, not through others."""
        closed = {key for name in without for key in self.find(name) or () if isinstance(key, Key)}
        found: dict[Key, Definition] = {}
        mentioned: set[str] = set()
        pending: dict[str, list[Key]] = {}
        begun = [key for entry in entries for key in self._entry(entry)]
        # Whoever names a class as an entry may call any method of it, its own or inherited.
        classes = [owner for key in begun for owner in self._lineage(key)]
        waiting = [*begun, *(key._replace(method=name) for key in classes for name in self.definition(key).methods)]
        while waiting:
            key = waiting.pop()
            if key in found or key in closed:
                continue
            found[key] = definition = self.definition(key)
            _, module = self.statement(key)
            waiting += [*definition.refers, *(Key(key.module, place) for place in module.effects)]
            for name in definition.mentions - mentioned:
                waiting += pending.pop(name, [])
            mentioned |= definition.mentions
            for name in definition.methods:
                method = key._replace(method=name)
                if name in mentioned:
                    waiting.append(method)
                else:
                    pending.setdefault(name, []).append(method)
        return found

    def is_open(self, node: ast.ClassDef, module: Module) -> bool:
        """Whether a base class from elsewhere may call any method of a class."""
        return not all(self._is_closed(base, module) for base in node.bases)

    def _is_closed(self, base: ast.expr, module: Module) -> bool:
        found, dotted = self._base(base, module)
        if found:
            return all(isinstance(node, ast.ClassDef) and not self.is_open(node, owner) for node, owner in found)
        return dotted.split(".")[0] in CLOSED or dotted in BUILTINS

    def _lineage(self, key: Key) -> Iterator[Key]:
        """A definition, and where it is a class, those of the package that it inherits from."""
        yield key
        node, module = self.statement(key)
        for base in node.bases if isinstance(node, ast.ClassDef) else ():
            for parent, owner in self._base(base, module)[0]:
                yield from self._lineage(Key(owner.name, owner.tree.body.index(parent)))

    def _base(self, base: ast.expr, module: Module) -> tuple[list[tuple[ast.stmt, Module]], str]:
        """What a base class is: statements of the package, or none and a dotted name, empty for an expression."""
        names = []
        base = base.value if isinstance(base, ast.Subscript) else base
        while isinstance(base, ast.Attribute):
            names.append(base.attr)
            base = base.value
        if not isinstance(base, ast.Name):
            return [], ""
        root = f"{module.name}.{base.id}" if base.id in module.bound else module.imported.get(base.id, base.id)
        dotted = ".".join([root, *reversed(names)])
        found = self.find(dotted)
        return [self.statement(key) for key in found] if isinstance(found, list) else [], dotted

    def _entry(self, entry: str) -> list[Key]:
        found = self.find(entry)
        if found is None:
            raise KeyError(f"{entry} is not in {self.package}")
        if isinstance(found, list):
            return found
        module = self.module(found)
        assert module is not None
        return [Key(found, place) for places in module.bound.values() for place in places]

    def label(self, key: Key, rounds: int = ROUNDS) -> str:
        """Hash of a definition whose references stand for the content of their targets, ``rounds`` steps deep."""
        if (key, rounds) not in self._labels:
            definition = self.definition(key)
            targets = [self.label(target, rounds - 1) for target in definition.refers] if rounds else []
            self._labels[key, rounds] = _sha("\n".join([definition.text, *targets]))
        return self._labels[key, rounds]


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


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
                    return f"<{hashlib.sha256(self.sources.data_files[value].read_bytes()).hexdigest()}>"
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


@cache
def sources(package: Path = PACKAGE) -> Sources:
    """The sources of a package folder as they were at the first question of this process."""
    return Sources(package)
