"""The statements in which two versions of a package differ."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from rsitr.records.code import Sources
from rsitr.records.modules import Key
from rsitr.records.statements import Statement, changed_files, difference, statements
from tests.helpers.toys import write_toy

ENTRIES = ["toy.a.f"]
BASE = """
import warnings

LIMIT = 3
LOW, HIGH = 1, 9


def f(x, y=2):
    total = g(x) + y
    for item in range(LIMIT):
        total += item
    if total < LOW:
        total = HIGH
    print("done")
    return total


def g(value):
    if value is None:
        raise ValueError("nothing to double")
    return value * 2
"""

Differ = Callable[..., tuple[list[Statement], list[Statement]]]


@pytest.fixture
def differ(tmp_path: Path) -> Differ:
    """``differ(old, new)``: the statements that only one of two packages has; a text alone is ``a.py``."""

    def differ(
        old: dict[str, str] | str, new: dict[str, str] | str, entries: Iterable[str] = ("toy.a.f",)
    ) -> tuple[list[Statement], list[Statement]]:
        files = [{"a.py": each} if isinstance(each, str) else each for each in (old, new)]
        codes = [write_toy(tmp_path / name, each) for name, each in zip(("old", "new"), files, strict=True)]
        return difference(*(statements(code, entries) for code in codes))

    return differ


def edited(*pairs: tuple[str, str]) -> str:
    text = BASE
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return text


def places(side: list[Statement]) -> list[str]:
    return [statement.place for statement in side]


def test_statements_of_a_tree_are_in_order_by_definition(tmp_path: Path) -> None:
    found = statements(write_toy(tmp_path, {"a.py": BASE}), ENTRIES)
    assert {key: places(own) for key, own in found.items()} == {
        Key("toy.a", 1): ["a.py:3"],
        Key("toy.a", 2): ["a.py:4", "a.py:4"],
        # The head of a function acts when its body runs; a loop and a branch have one, too.
        Key("toy.a", 3): [f"a.py:{line}" for line in (8, 8, 9, 10, 11, 12, 14)],
        Key("toy.a", 4): [f"a.py:{line}" for line in (18, 18, 20)],
    }
    head, *_, last = found[Key("toy.a", 3)]
    assert (head.span, last.span) == ((8, 14), (14, 14))


@pytest.mark.parametrize(
    "text",
    [
        BASE,
        "\n\n" + BASE,
        edited(("    total = g(x)", "    # A comment.\n    total = g(x)")),
        edited(('    print("done")\n', "")),
        edited(('print("done")', 'warnings.warn("done")')),
        edited(("nothing to double", "it is nothing")),
        edited(("def f(x, y=2):", 'def f(x: int, y: int = 2) -> int:\n    """Add some."""')),
        edited(("    total = g(x) + y", "    total = (\n        g(x)\n        + y\n    )")),
        BASE + "\n\ndef unreached(value):\n    return value * 5\n",
    ],
    ids=["equal", "lower", "comment", "no print", "warning", "text of a raise", "annotated", "layout", "unreached"],
)
def test_what_computes_the_same_differs_in_no_statement(differ: Differ, text: str) -> None:
    assert differ(BASE, text) == ([], [])


def test_moved_definitions_and_renamed_modules_differ_in_no_statement(differ: Differ) -> None:
    first, second = BASE.split("\n\n\ndef g")
    moved = {"a.py": first.replace("import warnings", "from toy.deep.b import g"), "deep/b.py": f"def g{second}"}
    assert differ(BASE, moved) == ([], [])
    assert differ(moved, BASE) == ([], [])
    assert differ(BASE, {"a.py": "from toy.other import f", "other.py": BASE}) == ([], [])


def test_a_changed_line_is_in_both(differ: Differ) -> None:
    old, new = differ(BASE, edited(("value * 2", "value * 3")))
    assert (places(old), places(new)) == (["a.py:20"], ["a.py:20"])
    assert {each.kind for each in old + new} == {"line"}


def test_an_added_line_is_in_the_new_one(differ: Differ) -> None:
    new = edited(("    return total", "    total = abs(total)\n    return total"))
    assert tuple(map(places, differ(BASE, new))) == ([], ["a.py:14"])
    assert tuple(map(places, differ(new, BASE))) == (["a.py:14"], [])


def test_a_changed_default_is_the_head_of_its_function(differ: Differ) -> None:
    old, new = differ(BASE, edited(("y=2", "y=4")))
    assert [each.span for each in old + new] == [(8, 14), (8, 14)]
    assert [each.named for each in old + new] == [("2",), ("4",)]


def test_a_statement_that_moved_into_a_branch_is_in_both(differ: Differ) -> None:
    new = edited(("    for item in", "    if x:\n     for item in"), ("        total += item", "      total += item"))
    old, new_side = differ(BASE, new)
    assert places(old) == ["a.py:9", "a.py:10"]
    assert places(new_side) == ["a.py:9", "a.py:10", "a.py:11"]


def test_a_statement_of_a_changed_branch_is_in_both(differ: Differ) -> None:
    old, new = differ(BASE, edited(("if total < LOW", "if total > LOW")))
    assert (places(old), places(new)) == (["a.py:11", "a.py:12"], ["a.py:11", "a.py:12"])


def test_a_helper_that_was_taken_out_differs_in_its_head_and_call(differ: Differ) -> None:
    text = "def f(x):\n    y = x + 1\n    z = y * 2\n    return z - x\n"
    new = "def f(x):\n    z = g(x)\n    return z - x\n\n\ndef g(x):\n    y = x + 1\n    return y * 2\n"
    old, new_side = differ(text, new)
    assert places(old) == ["a.py:3"]
    assert sorted(places(new_side)) == ["a.py:2", "a.py:7", "a.py:8"]


def test_statements_in_another_order_are_changed(differ: Differ) -> None:
    text = "def f(x):\n    if x > 50:\n        x = x * 2\n        x = x + 1\n    return x\n"
    old, new = differ(text, text.replace("x * 2", "y").replace("x + 1", "x * 2").replace("y", "x + 1"))
    assert {each.key for each in old} == {each.key for each in new} != set()
    assert {*places(old), *places(new)} <= {"a.py:3", "a.py:4"}


def test_a_line_that_another_function_has_counts_where_it_was_added(differ: Differ) -> None:
    text = "def f(x):\n    x = x * 2\n    return g(x)\n\n\ndef g(x):\n    return h(x)\n\n\ndef h(x):\n    return x\n"
    added = text.replace("    return h(x)", "    x = x * 2\n    return h(x)")
    assert tuple(map(places, differ(text, added))) == ([], ["a.py:7"])
    assert tuple(map(places, differ(added, text))) == (["a.py:7"], [])


def test_a_repeated_line_is_changed(differ: Differ) -> None:
    text = "def f(x):\n    x = x * 2\n    return x\n"
    old, new = differ(text, text.replace("    return x", "    x = x * 2\n    return x"))
    assert (len(old), len(new)) == (0, 1)


def test_constants_have_their_name_and_their_definition(differ: Differ) -> None:
    old, new = differ(BASE, edited(("LIMIT = 3", "LIMIT = 4")))
    for [statement], number in ((old, "3"), (new, "4")):
        assert (statement.kind, statement.name, statement.place) == ("value", "toy.a.LIMIT", "a.py:3")
        assert (statement.own, statement.named) == (Key("toy.a", 1), (number,))


def test_each_name_of_a_tuple_is_a_constant(differ: Differ) -> None:
    for sides in differ(BASE, edited(("LOW, HIGH = 1, 9", "LOW, HIGH = 1, 8"))):
        assert [each.name for each in sides] == ["toy.a.LOW", "toy.a.HIGH"]


def test_constants_that_grow_and_fields_of_classes_have_names(differ: Differ) -> None:
    text = """
    NAMES = [1]
    NAMES += [2]


    class Box:
        \"\"\"A box.\"\"\"

        size: int = 3
        low, high = 4, 5
        left: int

        def used(self):
            return NAMES


    def f(x):
        return Box().used()
    """
    for old, new, names in (
        ("[2]", "[7]", ["NAMES"]),
        ("size: int = 3", "size: int = 7", ["Box.size"]),
        ("4, 5", "4, 7", ["Box.low", "Box.high"]),
    ):
        for side in differ(text, text.replace(old, new)):
            assert [each.name for each in side] == [f"toy.a.{name}" for name in names]
            assert {each.kind for each in side} == {"value"}
    [field] = differ(text, text.replace("left: int", "right: int"))[1]
    assert (field.kind, field.name) == ("value", ""), "a field without a value has none that could act"


def test_other_statements_at_the_top_are_lines(differ: Differ) -> None:
    text = "from elsewhere import table\n\ntable['a'] = 3\ntry:\n    SIZE = 4\nexcept OSError:\n    SIZE = 5\n"
    text += "\n\ndef f(x):\n    return SIZE\n"
    for part, place in (("= 3", "a.py:3"), ("= 4", "a.py:5"), ("= 5", "a.py:7")):
        old, new = differ(text, text.replace(part, "= 8"))
        assert (places(old), places(new)) == ([place], [place])
        assert {each.kind for each in old + new} == {"line"}


def test_a_statement_in_a_class_is_a_line(differ: Differ) -> None:
    text = "class Box:\n    if x:\n        size = 3\n\n\ndef f(x):\n    return Box\n"
    old, new = differ(text, text.replace("3", "4"))
    assert (places(old), places(new)) == (["a.py:3"], ["a.py:3"])


@pytest.mark.parametrize(
    ("line", "limits", "named"),
    [
        ("y = x * 5", [], []),
        ("y = x > 5", ["5"], []),
        ("y = x % 5 + 6", ["5"], []),
        ("y = x // 5", ["5"], []),
        ("y = x / 5", [], []),
        ("y = x ** 5", [], []),
        ("y = 0.5 ** x", ["0.5"], []),
        ("y = x >> 5", ["5"], []),
        ("x //= 5", ["5"], []),
        ("y = range(5)", ["5"], []),
        ("y = range(x - 1)", ["1"], []),
        ("y = min(x, 5)", ["5"], []),
        ("y = x.clamp(min=0.5)", ["0.5"], []),
        ("y = x[:5]", ["5"], []),
        ("y = x[-5:]", ["5"], []),
        ("y = x[5]", [], []),
        ("y = 5 if x else 6", ["5", "6"], []),
        ("y = x or 5", ["5"], []),
        ("y = x > 0", [], []),
        ("y = x > 1", ["1"], []),
        ("y = x > True", [], []),
        ("y = 5", [], ["5"]),
        ("y = -5", [], ["5"]),
        ("y = x(5, patience=6)", [], ["6"]),
        ("if x > 5: y = x < 6", ["5"], []),
        ("while x > 5: x = x % 6", ["5"], []),
    ],
)
def test_numbers_that_may_act_late(differ: Differ, line: str, limits: list[str], named: list[str]) -> None:
    text = "def f(x):\n    pass\n"
    _, [statement, *_] = differ(text, text.replace("pass", line))
    assert (sorted(statement.limits), sorted(statement.named)) == (limits, named)


def test_all_numbers_of_a_line_are_literals(differ: Differ) -> None:
    text = "def f(x):\n    pass\n"
    _, [statement] = differ(text, text.replace("pass", "y = x * 5 + x(6, a=7) + x[8:]"))
    assert sorted(statement.literals) == ["5", "6", "7", "8"]


def test_lines_know_what_they_refer_to(differ: Differ) -> None:
    old, _ = differ(BASE, edited(("in range(LIMIT)", "in range(HIGH)")))
    head = next(each for each in old if each.place == "a.py:9")
    assert head.uses == {Key("toy.a", 1)}


# Files of data

NAMES = 'def f(x):\n    return open("table.csv"), open("words.txt")\n\n\ndef g(x):\n    return open("spare.txt")\n'
FILES = {"a.py": NAMES, "table.csv": "name,size\na,1\nb,2\n", "words.txt": "a\nb\n", "spare.txt": "a\n"}


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        ({}, []),
        ({"table.csv": "name,size\nc,3\na,1\nb,2\n"}, []),
        ({"table.csv": "name,size\na,1\nb,3\n"}, ["table.csv"]),
        ({"table.csv": "name,size\na,1\n"}, ["table.csv"]),
        ({"words.txt": "a\nb\nc\n"}, ["words.txt"]),
        ({"words.txt": "a\n", "table.csv": "name\n"}, ["table.csv", "words.txt"]),
        ({"spare.txt": "b\n"}, []),
        ({"a.py": NAMES.replace("words.txt", "spare.txt")}, ["words.txt"]),
    ],
    ids=["nothing", "added line", "changed line", "removed line", "text", "two", "unreached", "no longer named"],
)
def test_changed_files_are_named(tmp_path: Path, edit: dict[str, str], expected: list[str]) -> None:
    old, new = write_toy(tmp_path / "old", FILES), write_toy(tmp_path / "new", FILES | edit)
    assert changed_files(old, new, ENTRIES, ENTRIES) == expected


def test_a_head_does_not_use_what_is_inside_its_block(tmp_path: Path) -> None:
    code = write_toy(tmp_path, {"a.py": "LIMIT = 3\n\ndef f(x):\n    if x:\n        return LIMIT\n"})
    uses = {each.place: each.uses for own in statements(code, ["toy.a.f"]).values() for each in own}
    assert (uses["a.py:4"], uses["a.py:5"]) == (frozenset(), {Key("toy.a", 0)})


def test_what_makes_hashes_of_code_is_not_compared(tmp_path: Path) -> None:
    text = "from rsitr.provenance import code_sha\n\ndef f(x):\n    return code_sha(x)\n"
    hashes = "def code_sha(x):\n    return helper(x)[1:]\n\ndef helper(x):\n    return x\n"
    package = write_toy(tmp_path, {"a.py": text, "provenance.py": hashes}).package
    code = Sources(package.rename(package.with_name("rsitr")))
    assert {key.module for key in code.reach(["rsitr.a.f"])} == {"rsitr.a", "rsitr.provenance"}
    assert {key.module for key in statements(code, ["rsitr.a.f"])} == {"rsitr.a"}
