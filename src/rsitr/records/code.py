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
import hashlib
from collections.abc import Iterable, Iterator
from functools import cache, cached_property
from pathlib import Path

from rsitr.records.modules import Definition, Key, Module, read_module
from rsitr.records.reader import BUILTINS, Reader

PACKAGE = Path(__file__).parents[1]
PROJECT = "project"
"""Folder below an installed package for the files of a new project."""
NO_CODE = (PROJECT, "search/model")
"""Folders below the package that are none of its code: the files of a new project, and a trained model that nothing is
trained from."""
ROUNDS = 3
"""How far a hash looks along references to tell two definitions of the same text apart."""
CLOSED = frozenset({"abc", "enum", "pydantic", "typing"})
"""Modules whose base classes call no method of a class by its name, but for special and decorated ones."""


class Sources:
    """The sources of a package folder, read once."""

    def __init__(self, package: Path = PACKAGE):
        self.package, self.name = package, package.name
        self._modules: dict[str, Module | None] = {}
        self._definitions: dict[Key, Definition] = {}
        self._labels: dict[tuple[Key, int], str] = {}

    @cached_property
    def files(self) -> dict[Path, bytes]:
        """The content of every file of the package, read once: what is hashed is what is parsed."""
        found = (path for path in sorted(self.package.rglob("*")) if path.suffix not in {"", ".pyc", ".typed"})
        others = [self.package / name for name in NO_CODE]
        own = (path for path in found if path.is_file() and not any(map(path.is_relative_to, others)))
        return {path: path.read_bytes() for path in own if "__pycache__" not in path.parts}

    @cached_property
    def digest(self) -> str:
        """Hash of all files, with their places."""
        digest = hashlib.sha256()
        for path, content in self.files.items():
            digest.update(f"{path.relative_to(self.package).as_posix()} {len(content)}\n".encode() + content)
        return digest.hexdigest()

    @cached_property
    def data_files(self) -> dict[str, Path]:
        """Files of the package that are no sources, by name."""
        return {path.name: path for path in self.files if path.suffix != ".py"}

    def module(self, name: str) -> Module | None:
        """A module of the package, or None where the name is not one."""
        if name not in self._modules:
            top, *parts = name.split(".")
            base = self.package.joinpath(*parts)
            found = (path for path in (base.with_suffix(".py"), base / "__init__.py") if path in self.files)
            path = next(found, None) if top == self.name else None
            self._modules[name] = read_module(name, path, self.files[path].decode()) if path else None
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
            content = "\n".join([definition.text, *targets])
            self._labels[key, rounds] = hashlib.sha256(content.encode()).hexdigest()
        return self._labels[key, rounds]


@cache
def sources() -> Sources:
    """The sources of this package as they were at the first question of this process."""
    return Sources()
