"""Content-addressed code: what changes the hash of an entry, and what does not."""

from __future__ import annotations

import ast
import csv
import importlib.metadata
import itertools
import re
import shutil
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsitr.methods import registry
from rsitr.records.code import PACKAGE, Sources, sources
from rsitr.records.identity import code_sha, installed, locked
from rsitr.records.modules import Key
from rsitr.stages.entries import KEYWORDS, PRIOR, SCORE, STUDY, TRAIN, TWO_STAGE
from tests.helpers.examples import examples
from tests.helpers.toys import write_toy

Toy = Callable[..., str]


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    """``toy(files, entry)``: the hash of an entry in a package of some files; a text alone is ``a.py``."""
    numbers = itertools.count()

    def sha(files: dict[str, str] | str, entry: str = "toy.a.f") -> str:
        files = {"a.py": files} if isinstance(files, str) else files
        return code_sha((entry,), write_toy(tmp_path / str(next(numbers)), files), None)

    return sha


BASE = '''
"""A module."""

import warnings

LIMIT = 3
"""How many."""


def f(x, y=2):
    """Add some."""
    # A comment.
    total = g(x) + y
    for item in range(LIMIT):
        total += item
    if total < 0:
        raise ValueError(f"{total} is negative")
    print("done")
    return total


def g(value):
    return value * 2


def unreached(value):
    return value * 5
'''


def edited(*pairs: tuple[str, str]) -> str:
    """``BASE`` with some text replaced, everywhere."""
    text = BASE
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return text


SAME = {
    "comment": edited(("# A comment.", "# Another one.")),
    "no comment": edited(("    # A comment.\n", "")),
    "docstring of the module": edited(("A module.", "Another module.")),
    "docstring of a function": edited(("Add some.", "Add some more.")),
    "no docstring": edited(('    """Add some."""\n', "")),
    "documentation of a constant": edited(('"""How many."""', "")),
    "layout": edited(("g(x) + y", "(\n        g(x)\n        + y\n    )"), ("\n\n\n", "\n")),
    "quotes": edited(('print("done")', "print('done')")),
    "annotations": edited(("def f(x, y=2):", "def f(x: int, y: float = 2) -> float:")),
    "local variables": edited(("total", "amount"), ("item", "each")),
    "name of a function": edited(("g(", "doubled(")),
    "name of a constant": edited(("LIMIT", "MOST")),
    "text of an exception": edited(("is negative", "is below zero")),
    "text of a print": edited(('print("done")', 'print("finished", total)')),
    "no print": edited(('    print("done")\n', "")),
    "a warning": edited(('print("done")', 'warnings.warn("done", stacklevel=2)')),
    "progress": edited(('print("done")', 'progress.say(f"{total}")')),
    "unreached function": edited(("value * 5", "value * 6")),
    "no unreached function": edited(("def unreached(value):\n    return value * 5\n", "")),
    "new unreached function": BASE + "\n\ndef new():\n    return 8\n",
    "unused import": edited(("import warnings", "import warnings\nimport math")),
}

OTHER = {
    "number": edited(("value * 2", "value * 3")),
    "operator": edited(("g(x) + y", "g(x) - y")),
    "augmented operator": edited(("total += item", "total -= item")),
    "comparison": edited(("total < 0", "total <= 0")),
    "default": edited(("y=2", "y=4")),
    "name of a parameter, which callers may use": edited(("y=2", "z=2"), ("+ y", "+ z")),
    "order of parameters": edited(("def f(x, y=2)", "def f(y=2, x=0)")),
    "keyword that calls may give by place": edited(("y=2", "*, y=2")),
    "parameter that has no name for callers": edited(("x, y=2", "x, /, y=2")),
    "parameter that takes the rest": edited(("x, y=2", "x, *y")),
    "called function": edited(("total = g(x)", "total = abs(x)")),
    "call inside a print": edited(('print("done")', 'print(f"done {g(x)}")')),
    "other call of that name": edited(('print("done")', "x.advance(7)")),
    "reached constant": edited(("LIMIT = 3", "LIMIT = 4")),
    "type of a constant": edited(("LIMIT = 3", "LIMIT = 3.0")),
    "kind of exception": edited(("raise ValueError", "raise KeyError")),
    "no exception": edited(('    if total < 0:\n        raise ValueError(f"{total} is negative")\n', "")),
    "order of statements": edited(
        ("    total = g(x) + y\n", ""), ("    if total", "    total = g(x) + y\n    if total")
    ),
    "decorator": edited(("def g(value)", "@str\ndef g(value)")),
    "another local variable is returned": edited(("return total", "return item")),
    "string": edited(('print("done")', 'x = x.strip("done")')),
}


@pytest.mark.parametrize("text", SAME.values(), ids=SAME)
def test_what_computes_the_same_has_the_same_hash(toy: Toy, text: str) -> None:
    assert toy(text) == toy(BASE)


@pytest.mark.parametrize("text", OTHER.values(), ids=OTHER)
def test_what_may_compute_something_else_has_another_hash(toy: Toy, text: str) -> None:
    assert toy(text) != toy(BASE)


def test_annotations_of_variables_may_change(toy: Toy) -> None:
    text = "LIMIT: int = 3\n\n\ndef f(x):\n    total: int = x + LIMIT\n    return total\n"
    assert toy(text.replace("int", "float")) == toy(text)
    assert toy(text.replace("x + LIMIT", "x - LIMIT")) != toy(text)


def test_messages_of_assertions_may_change(toy: Toy) -> None:
    text = 'def f(x):\n    assert x > 2, "too small"\n    return x\n'
    assert toy(text.replace("too small", "small")) == toy(text)
    assert toy(text.replace("x > 2", "x > 3")) != toy(text)


def test_entry_itself_may_be_renamed(toy: Toy) -> None:
    assert toy(edited(("def f(", "def sum_of(")), "toy.a.sum_of") == toy(BASE)


def test_swapped_local_variables_are_another_computation(toy: Toy) -> None:
    text = "def f(x):\n    low, high = x\n    return low - high\n"
    assert toy(text.replace("low - high", "high - low")) != toy(text)
    assert toy(text.replace("low", "a").replace("high", "b")) == toy(text)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("[i * 2 for i in x]", "[j * 2 for j in x]"),
        ("{k: v for k, v in x}", "{a: b for a, b in x}"),
        ("sum(i for i in x if i)", "sum(each for each in x if each)"),
    ],
)
def test_variables_of_comprehensions_may_be_renamed(toy: Toy, one: str, other: str) -> None:
    assert toy(f"def f(x):\n    return {one}\n") == toy(f"def f(x):\n    return {other}\n")


def test_swapped_variables_of_a_comprehension_are_another_computation(toy: Toy) -> None:
    one, other = (f"def f(x):\n    return {{{pair} for k, v in x}}\n" for pair in ("k: v", "v: k"))
    assert toy(one) != toy(other)


def test_names_that_statements_bind_may_be_renamed(toy: Toy) -> None:
    text = """
    def f(x):
        try:
            with open(x) as file:
                content = file.read()
        except OSError as error:
            content = error.errno
        match content:
            case [first, *rest]:
                return first, rest
            case other:
                return other
    """
    pairs = {"file": "stream", "error": "problem", "first": "head", "rest": "tail", "other": "whole", "content": "text"}
    renamed = text
    for old, new in pairs.items():
        renamed = renamed.replace(old, new)
    assert toy(renamed) == toy(text)


def test_inner_functions_count_and_their_names_do_not(toy: Toy) -> None:
    text = """
    def f(x):
        def inner(y):
            return y + x
        return inner(1)
    """
    assert toy(text.replace("inner", "helper")) == toy(text)
    assert toy(text.replace("y + x", "y - x")) != toy(text)


def test_shadowing_is_seen(toy: Toy) -> None:
    text = "def f(g):\n    return g(1)\n\n\ndef g(x):\n    return 2\n"
    assert toy(text.replace("return 2", "return 3")) == toy(text), "the parameter is called, not the function"


# Where things are


def called(imported: str, call: str = "g(x)", inside: str = "") -> str:
    """The first half of ``BASE``, which calls the second elsewhere."""
    text = BASE.partition("def g")[0].replace("import warnings", imported)
    return text.replace("    total = g(x)", f"    {inside}\n    total = {call}" if inside else f"    total = {call}")


@pytest.mark.parametrize(
    ("files", "entry"),
    [
        ({"a.py": called("from toy.b import g"), "b.py": "G"}, "toy.a.f"),
        ({"a.py": called("import toy.b", "toy.b.g(x)"), "b.py": "G"}, "toy.a.f"),
        ({"a.py": called("import toy.b as c", "c.g(x)"), "b.py": "G"}, "toy.a.f"),
        ({"a.py": called("from toy import b", "b.g(x)"), "b.py": "G"}, "toy.a.f"),
        ({"a.py": called("from toy.b import g as h", "h(x)"), "b.py": "G"}, "toy.a.f"),
        ({"a.py": called("from toy.b import g"), "b/__init__.py": "from toy.b.d import g", "b/d.py": "G"}, "toy.a.f"),
        ({"a.py": called("", inside="from toy.b import g"), "b.py": "G"}, "toy.a.f"),
        ({"a.py": called("", "c.g(x)", "import toy.b as c"), "b.py": "G"}, "toy.a.f"),
        ({"other/name.py": BASE}, "toy.other.name.f"),
        ({"a.py": "from toy.z import f", "z.py": BASE}, "toy.a.f"),
    ],
    ids=["from import", "import of a dotted name", "import as", "import of a module", "from import as", "re-export",
         "import in a function", "import as in a function", "renamed module", "entry is imported"],
)  # fmt: skip
def test_where_a_definition_is_changes_nothing(toy: Toy, files: dict[str, str], entry: str) -> None:
    def with_g(number: int) -> dict[str, str]:
        g = f"def g(value):\n    return value * {number}\n"
        return {name: text.replace("G", g) if text == "G" else text for name, text in files.items()}

    assert toy(with_g(2), entry) == toy(BASE)
    if "G" in files.values():
        assert toy(with_g(3), entry) == toy(edited(("value * 2", "value * 3"))) != toy(BASE)


def test_a_function_of_the_same_name_elsewhere_is_another_one(toy: Toy) -> None:
    files = {"a.py": "from toy.b import g\n\n\ndef f(x):\n    return g(x)\n"}
    files |= {f"{name}.py": f"def g(x):\n    return x {sign} 1\n" for name, sign in (("b", "+"), ("c", "-"))}
    other = files | {"a.py": files["a.py"].replace("toy.b", "toy.c")}
    assert toy(files) != toy(other)


def test_mutual_recursion_ends(toy: Toy) -> None:
    text = """
    def f(n):
        return n and g(n - 1)


    def g(n):
        return n and f(n - 2)


    def h(n):
        return n and h(n - 3)
    """
    assert toy(text) == toy(text.replace("f(", "even(").replace("g(", "odd("), "toy.a.even")
    assert toy(text) != toy(text.replace("n - 2", "n - 4"))
    assert toy(text, "toy.a.h") != toy(text.replace("n - 3", "n - 4"), "toy.a.h")


def test_swapped_functions_of_equal_text_are_told_apart_by_what_they_call(toy: Toy) -> None:
    text = """
    def f(x):
        return up(x) - down(x)


    def up(x):
        return more(x)


    def down(x):
        return less(x)


    def more(x):
        return x + 1


    def less(x):
        return x - 1
    """
    assert toy(text) != toy(text.replace("up(x) - down(x)", "down(x) - up(x)"))


def test_entry_that_is_not_there_is_named(toy: Toy) -> None:
    with pytest.raises(KeyError, match=r"toy\.a\.nothing is not in "):
        toy(BASE, "toy.a.nothing")


def test_module_as_an_entry_means_all_of_it(toy: Toy) -> None:
    assert toy(BASE, "toy.a") != toy(edited(("value * 5", "value * 6")), "toy.a")
    assert toy(BASE, "toy.a") == toy({"b.py": BASE}, "toy.b")


# Classes

PLAIN = """
class Box:
    size = 4

    def __init__(self, x):
        self.x = x

    def used(self):
        return self.x + self.helper()

    def helper(self):
        return 1

    def spare(self):
        return 7


def f(x):
    return Box(x).used()
"""


def test_methods_of_a_plain_class_count_where_they_are_named(toy: Toy) -> None:
    assert toy(PLAIN.replace("return 7", "return 8")) == toy(PLAIN)
    assert toy(PLAIN.replace("    def spare(self):\n        return 7\n", "")) == toy(PLAIN)
    assert toy(PLAIN.replace("return 1", "return 2")) != toy(PLAIN), "called by a method that is called"
    assert toy(PLAIN.replace("self.x = x", "self.x = -x")) != toy(PLAIN), "special methods always count"


def test_a_method_counts_as_soon_as_something_names_it(toy: Toy) -> None:
    named = PLAIN + "\n\ndef g(box):\n    return box.spare()\n"
    named = named.replace("return Box(x).used()", "return Box(x).used() + g(Box(x))")
    assert toy(named.replace("return 7", "return 8")) != toy(named)


def test_all_methods_of_an_entry_count(toy: Toy) -> None:
    assert toy(PLAIN, "toy.a.Box") != toy(PLAIN.replace("return 7", "return 8"), "toy.a.Box")


def test_inherited_methods_of_an_entry_count(toy: Toy) -> None:
    text = f"{PLAIN}\n\nclass Crate(Box):\n    pass\n\n\nclass Case(Crate):\n    pass\n"
    assert toy(text, "toy.a.Case") != toy(text.replace("return 7", "return 8"), "toy.a.Case")


def test_every_name_of_a_chain_names_a_method(toy: Toy) -> None:
    files = {
        "a.py": "from toy import b\n\ndef f(x):\n    return b.BOX.spare.real\n",
        "b.py": f"{PLAIN}\n\nBOX = Box(1)\n",
    }
    files["b.py"] = files["b.py"].replace("    def spare", "    @property\n    def spare")
    assert toy(files) != toy(files | {"b.py": files["b.py"].replace("return 7", "return 8")})


def test_class_fields_and_bases_count(toy: Toy) -> None:
    assert toy(PLAIN.replace("size = 4", "size = 5")) != toy(PLAIN)
    assert toy(PLAIN.replace("class Box:", "class Box(dict):")) != toy(PLAIN)
    assert toy(PLAIN.replace("class Box:", "@str\nclass Box:")) != toy(PLAIN)
    assert toy(PLAIN.replace("Box", "Crate")) == toy(PLAIN)


def test_annotations_of_class_fields_count(toy: Toy) -> None:
    text = "class Config:\n    size: int = 4\n\n\ndef f(x):\n    return Config()\n"
    assert toy(text.replace("size: int", "size: float")) != toy(text)


def test_base_class_of_ours_counts(toy: Toy) -> None:
    text = """
    class Base:
        rate = 1

        def used(self):
            return self.rate

        def spare(self):
            return 7


    class Box(Base):
        pass


    def f(x):
        return Box().used()
    """
    assert toy(text.replace("rate = 1", "rate = 2")) != toy(text)
    assert toy(text.replace("return self.rate", "return -self.rate")) != toy(text)
    assert toy(text.replace("return 7", "return 8")) == toy(text)


@pytest.mark.parametrize("base", ["nn.Module", "Layer"])
def test_all_methods_of_a_class_with_a_foreign_base_count(toy: Toy, base: str) -> None:
    text = f"""
    from torch import nn


    class Layer(nn.Module):
        pass


    class Net({base}):
        def forward(self, x):
            return x + 1


    def f(x):
        return Net()(x)
    """
    assert toy(text.replace("x + 1", "x + 2")) != toy(text)


@pytest.mark.parametrize("base", ["NamedTuple", "Enum", "BaseModel", "ABC", "dict", "Exception"])
def test_known_bases_call_no_method_by_name(toy: Toy, base: str) -> None:
    text = f"""
    from abc import ABC
    from enum import Enum
    from typing import NamedTuple

    from pydantic import BaseModel


    class Net({base}):
        x: int = 1

        def forward(self, x):
            return x + 1


    def f(x):
        return Net
    """
    assert toy(text.replace("x + 1", "x + 2")) == toy(text)
    assert toy(text.replace("x: int = 1", "x: int = 2")) != toy(text)


@pytest.mark.parametrize(("decorator", "counts"), [("property", False), ("classmethod", False), ("validator", True)])
def test_decorated_methods(toy: Toy, decorator: str, counts: bool) -> None:
    text = f"class Box:\n    @{decorator}\n    def spare(self):\n        return 7\n\n\ndef f(x):\n    return Box()\n"
    assert (toy(text.replace("return 7", "return 8")) != toy(text)) is counts


def test_a_property_and_its_setter_count_together(toy: Toy) -> None:
    text = """
    class Box:
        @property
        def size(self):
            return self._size

        @size.setter
        def size(self, value):
            self._size = value + 1


    def f(x):
        return Box().size
    """
    assert toy(text.replace("value + 1", "value + 2")) != toy(text)


# What runs on import


def test_a_default_belongs_to_its_keyword(toy: Toy) -> None:
    assert toy(edited(("x, y=2", "x, *, y=2, z"))) != toy(edited(("x, y=2", "x, *, y, z=2")))


def test_what_runs_instead_of_a_block_for_type_checkers_counts(toy: Toy) -> None:
    text = "if TYPE_CHECKING:\n    g(3)\nelse:\n    g(5)\n\n\ndef f(x):\n    return x\n"
    assert toy(text.replace("5", "6")) != toy(text)


def test_signatures_for_type_checkers_do_not_count(toy: Toy) -> None:
    stub = "@overload\ndef f(x: int, y: int = 2) -> int: ...\n"
    assert toy(edited(("def f(", f"{stub}def f("))) == toy(BASE)


def test_a_block_that_binds_a_name_acts_on_import(toy: Toy) -> None:
    text = f"{BASE}\n\nfor number in (1, 2):\n    g.calls = number\n"
    assert toy(text) != toy(text.replace("(1, 2)", "(1, 3)"))


@pytest.mark.parametrize("effect", ["g(3)", "box.size = 3", "table['a'] = 3"])
def test_effects_at_the_top_of_a_reached_module_count(toy: Toy, effect: str) -> None:
    text = f"from elsewhere import box, g, table\n\n{effect}\n\n\ndef f(x):\n    return x\n"
    assert toy(text.replace("3", "4")) != toy(text)
    apart = {"a.py": "def f(x):\n    return x\n", "b.py": text}
    assert toy(apart) == toy(apart | {"b.py": text.replace("3", "4")}), "nothing of b is reached"


@pytest.mark.parametrize(
    ("test", "counts"), [("TYPE_CHECKING", False), ('__name__ == "__main__"', False), ("sys.platform", True)]
)
def test_blocks_that_do_not_run_on_import(toy: Toy, test: str, counts: bool) -> None:
    text = f"import sys\nfrom typing import TYPE_CHECKING\n\nif {test}:\n    g(3)\n\n\ndef f(x):\n    return x\n"
    assert (toy(text.replace("3", "4")) != toy(text)) is counts


def test_every_statement_that_binds_a_name_counts(toy: Toy) -> None:
    text = (
        "NAMES = [1]\nNAMES += [2]\ntry:\n    SIZE = 3\nexcept OSError:\n    SIZE = 4\n\n\ndef f(x):\n    return {}\n"
    )
    names, size = text.format("NAMES[x]"), text.format("SIZE")
    for old, new in (("[1]", "[5]"), ("[2]", "[5]")):
        assert toy(names.replace(old, new)) != toy(names)
        assert toy(size.replace(old, new)) == toy(size)
    for old, new in (("SIZE = 3", "SIZE = 5"), ("SIZE = 4", "SIZE = 5")):
        assert toy(size.replace(old, new)) != toy(size)


# Files of data


def test_files_of_data_count_where_code_names_them(toy: Toy) -> None:
    files = {
        "a.py": 'from pathlib import Path\n\nFILE = Path(__file__).with_name("words.txt")\n\n\n'
        "def f(x):\n    return FILE.read_text()\n\n\ndef g(x):\n    return 1\n",
        "words.txt": "a\nb\n",
        "rest.txt": "c\n",
    }
    assert toy(files | {"words.txt": "a\nc\n"}) != toy(files)
    assert toy(files | {"rest.txt": "d\n"}) == toy(files)
    assert toy(files | {"words.txt": "a\nc\n"}, "toy.a.g") == toy(files, "toy.a.g")
    moved = {name.replace("words.txt", "data/words.txt"): text for name, text in files.items()}
    assert toy(moved) == toy(files), "a file counts by its name and bytes"


def test_reach_states_files_and_libraries(tmp_path: Path) -> None:
    text = (
        'import numpy as np\nfrom PIL import Image\n\n\ndef f(x):\n    Image.open("words.txt")\n    return np.sum(x)\n'
    )
    code = write_toy(tmp_path, {"a.py": text, "words.txt": "a\n"})
    [(key, definition)] = code.reach(["toy.a.f"]).items()
    assert key == Key("toy.a", 2)
    assert definition.files == {"words.txt"}
    assert definition.libraries == {"numpy", "PIL"}
    assert [path.name for path in code.files if code.files[path]] == ["a.py", "words.txt"]


# Libraries

USES = (
    "import numpy as np\nimport requests\nimport json\n\n\ndef f(x):\n    return np.sum(requests.get(json.loads(x)))\n"
)


def test_versions_of_computing_libraries_count(tmp_path: Path) -> None:
    code = write_toy(tmp_path, {"a.py": USES, "b.py": "def f(x):\n    return x\n"})

    def sha(number: int, entry: str = "toy.a.f", **versions: str) -> str:
        lock = tmp_path / f"{number}.lock"
        pins = {"numpy": "2.0.0", "requests": "2.1.0", "scipy": "1.0.0"} | versions
        lock.write_text("".join(f"{name}=={version} \\\n    --hash=sha256:00\n" for name, version in pins.items()))
        return code_sha((entry,), code, lock)

    assert sha(1, numpy="2.0.1") != sha(2)
    assert sha(3, requests="2.2.0") == sha(2), "takes part in no number"
    assert sha(4, scipy="1.1.0") == sha(2), "is not used"
    assert sha(5, "toy.b.f", numpy="2.0.1") == sha(6, "toy.b.f")


def test_installed_version_counts_where_no_lock_has_one(tmp_path: Path) -> None:
    code = write_toy(tmp_path, {"a.py": USES})
    here, empty, other = tmp_path / "here.lock", tmp_path / "empty.lock", tmp_path / "other.lock"
    here.write_text(f"numpy=={importlib.metadata.version('numpy')}\n")
    empty.write_text("# nothing\n")
    other.write_text("numpy==0.0.1\n")
    alone = code_sha(("toy.a.f",), code, None)
    assert code_sha(("toy.a.f",), code, here) == alone
    assert code_sha(("toy.a.f",), code, empty) == alone
    assert code_sha(("toy.a.f",), code, tmp_path / "absent.lock") == alone
    assert code_sha(("toy.a.f",), code, other) != alone


def test_lock_is_read_with_its_markers(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    newer, older = (f"python_full_version {sign} '{sys.version_info.major}.{sys.version_info.minor}'" for sign in "><")
    lock.write_text(
        "# by uv\n"
        f"numpy==2.2.6 ; {older} \\\n    --hash=sha256:0123\n"
        f"numpy==2.4.1 ; {newer.replace('>', '>=')} \\\n    --hash=sha256:4567 \\\n    --hash=sha256:89ab\n"
        "Open_CLIP_torch[extra]==3.1.0\n"
        "colorama==0.4.6 ; sys_platform == 'nowhere'\n"
    )
    assert locked(lock) == {"numpy": "2.4.1", "open-clip-torch": "3.1.0"}
    assert locked(tmp_path / "absent.lock") == {}


def test_version_of_an_installed_package_has_no_local_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "2.9.0+cu130")
    assert installed("a-package-of-this-test") == "2.9.0"
    monkeypatch.undo()
    assert installed("another-package-of-this-test") == ""


# Order

DEFINITIONS = [
    "import math",
    "LIMIT = 3",
    "RATES = (LIMIT, math.pi)",
    "def f(x):\n    return g(x) + h(x) + RATES[0]",
    "def g(x):\n    return Box(x).size + f(x - 1)",
    "def h(x):\n    return x - LIMIT",
    "class Base:\n    rate = LIMIT\n\n    def spare(self):\n        return h(2)",
    "class Box(Base):\n    def __init__(self, x):\n        self.size = x * self.rate",
    "def unreached(x):\n    return f(x) * 2",
    "h(1)",
]


def shas_in(folder: Path, definitions: Iterable[str]) -> list[str]:
    code = write_toy(folder, {"a.py": "\n\n\n".join(definitions) + "\n"})
    return [code_sha((f"toy.a.{name}",), code, None) for name in ("f", "h", "Box", "unreached")]


@pytest.fixture(scope="module")
def in_order(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return shas_in(tmp_path_factory.mktemp("order"), DEFINITIONS)


@examples(30)
@given(order=st.permutations(DEFINITIONS))
def test_order_of_definitions_changes_nothing(in_order: list[str], order: list[str]) -> None:
    with TemporaryDirectory() as folder:
        assert shas_in(Path(folder), order) == in_order
    assert len(set(in_order)) == 4


# The package itself


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package."""
    folder = tmp_path_factory.mktemp("package") / "rsitr"
    shutil.copytree(PACKAGE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def identity(method: str, code: Sources) -> str:
    where = registry()[method]
    return code_sha((*TRAIN, *SCORE, f"{where.module}.{where.class_name}"), code, None)


def test_a_copy_of_the_package_has_the_same_identities(package: Path) -> None:
    code = Sources(package)
    assert identity("clip", code) == identity("clip", sources())
    assert identity("clip", code) != identity("vse", code)


@pytest.mark.slow
def test_every_revision_of_a_checkpoint_counts_for_clip_and_not_for_vse(package: Path) -> None:
    path = package / "nn/checkpoints.csv"
    text = path.read_text(encoding="utf-8")
    revisions = list(re.finditer("@([^/]+)/", text))
    assert len(revisions) == sum("@" in line["source"] for line in csv.DictReader(text.splitlines())) > 10
    before = {method: identity(method, Sources(package)) for method in ("clip", "vse")}
    found = set()
    try:
        for revision in revisions:
            path.write_text(f"{text[: revision.start(1)]}{'0' * 40}{text[revision.end(1) :]}", encoding="utf-8")
            found.add(identity("clip", Sources(package)))
        path.write_text(re.sub("@([^/]+)/", f"@{'0' * 40}/", text), encoding="utf-8")
        assert identity("vse", Sources(package)) == before["vse"]
    finally:
        path.write_text(text, encoding="utf-8")
    assert before["clip"] not in found
    assert len(found) == len(revisions)


@pytest.mark.slow
def test_the_stop_words_count_for_a_method_with_keywords(package: Path) -> None:
    path = package / "captions/stop_words.txt"
    text = path.read_text(encoding="utf-8")
    before = {method: identity(method, Sources(package)) for method in ("vse++", "chance")}
    path.write_text(text.replace("the\n", "", 1), encoding="utf-8")
    assert path.read_text(encoding="utf-8") != text
    try:
        code = Sources(package)
        assert identity("vse++", code) != before["vse++"]
        assert identity("chance", code) == before["chance"]
    finally:
        path.write_text(text, encoding="utf-8")


def test_files_of_data_of_the_package_have_names_of_their_own() -> None:
    """Those that code computes with, and those of the site. A trained model is none: nothing is trained from it."""
    kinds = {".csv", ".txt", ".js", ".css", ".html", ".json"}
    files = [path for path in PACKAGE.rglob("*") if path.suffix in kinds and "search/model" not in path.as_posix()]
    names = [path.name for path in files]
    assert sorted(names) == sorted(sources().data_files)
    assert len(names) == len(set(names))


def test_the_package_has_nothing_that_cannot_be_followed() -> None:
    """Relative and starred imports, loops at the top of modules, modules as values: no reference shows in these."""
    code = sources()
    methods = [f"{entry.module}.{entry.class_name}" for entry in registry().values()]
    keys = code.reach([*TRAIN, *SCORE, *KEYWORDS, *PRIOR, *TWO_STAGE, *STUDY, *methods])
    for module in filter(None, map(code.module, {key.module for key in keys})):
        found = [node for top in module.tree.body for node in ast.walk(top) if isinstance(node, ast.ImportFrom)]
        assert [node.lineno for node in found if node.level or node.names[0].name == "*"] == [], module.path
        assert [node for node in module.tree.body if isinstance(node, ast.For | ast.While | ast.With)] == []
    for key in keys:
        module = code.module(key.module)
        assert module is not None
        nodes = list(ast.walk(module.tree.body[key.place]))
        owners = {id(node.value) for node in nodes if isinstance(node, ast.Attribute)}
        names = {node.id for node in nodes if isinstance(node, ast.Name) and id(node) not in owners}
        dotted = {module.imported[name] for name in names & set(module.imported)}
        assert [name for name in dotted if name.startswith("rsitr.") and isinstance(code.find(name), str)] == [], key
