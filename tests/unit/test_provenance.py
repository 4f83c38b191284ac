"""Hashes of code follow meaning and imports; facts of the machine name no host."""

from __future__ import annotations

import ast
import platform
from pathlib import Path

import pytest

from rsitr.records import provenance
from rsitr.records.provenance import code_sha, modules_of, sha256_file, sha256_json, source_sha

SOURCE = '''
"""Doc."""
import math

def area(r: float) -> float:
    """Of a circle."""
    return math.pi * r ** 2  # Euclid

class Disc:
    radius: float = 1.0
    """In metres."""
'''
SAME = """
import math
def area(r: float) -> float:

    return (math.pi
            * r**2)
class Disc:
    'Something else.'
    radius: float = 1.0
"""


def test_layout_comments_and_docstrings_do_not_count():
    assert source_sha(SOURCE) == source_sha(SAME)


@pytest.mark.parametrize(("old", "new"), [("** 2", "** 3"), ("1.0", "1"), ("import math", "import cmath as math")])
def test_meaning_counts(old, new):
    assert old in SOURCE
    assert source_sha(SOURCE) != source_sha(SOURCE.replace(old, new))


def test_a_function_may_have_nothing_but_a_docstring():
    assert source_sha('def f():\n    """A."""\n') == source_sha('def f():\n    """B."""\n')
    assert source_sha('def f():\n    """A."""\n') != source_sha("def f():\n    return 1\n")


def test_every_file_of_the_package_hashes_as_its_bare_code():
    for path in provenance.PACKAGE.rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        assert source_sha(source) == source_sha(ast.unparse(ast.parse(source))), path


FILES = {
    "__init__": "",
    "train": "from rsitr.nn import losses\nimport numpy\ndef f():\n    from rsitr.data import load\n",
    "nn/__init__": "",
    "nn/losses": "import rsitr.errors\nX = 1\n",
    "nn/other": "X = 1\n",
    "data": "import rsitr.stages.train\ndef load(): ...\n",
    "errors": "import rsitr.nn.other\n",
}


def package(folder: Path, **changed: str) -> Path:
    """A package of a few modules; ``a__b="..."`` replaces the source of ``a/b``."""
    files = FILES | {name.replace("__", "/"): source for name, source in changed.items()}
    for name, source in files.items():
        path = folder / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
    return folder


def test_imports_are_followed_into_functions_and_circles_but_not_through_infrastructure(tmp_path):
    found = modules_of(["rsitr.stages.train"], package(tmp_path))
    assert list(found) == ["rsitr.data", "rsitr.nn", "rsitr.nn.losses", "rsitr.stages.train"]


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        ({"nn__losses": "X = 2\n"}, True),
        ({"nn__losses": "# why\nimport rsitr.errors\n\nX = 1\n"}, False),
        ({"nn__other": "X = 2\n"}, False),
        ({"errors": "class Error(Exception): ...\n"}, False),
        ({"data": "import rsitr.stages.train\ndef load(): return 1\n"}, True),
    ],
)
def test_only_code_that_is_reached_counts(change, differs, tmp_path):
    before = code_sha(["rsitr.stages.train"], package(tmp_path / "before"))
    after = code_sha(["rsitr.stages.train"], package(tmp_path / "after", **change))
    assert (before != after) is differs


def test_a_cell_depends_on_its_own_method_and_on_no_other():
    found = modules_of(["rsitr.stages.train", "rsitr.stages.evaluate", "rsitr.methods.vse"])
    assert {"rsitr.methods.vse", "rsitr.methods.dual_encoder", "rsitr.nn.losses", "rsitr.stages.setup"} <= set(found)
    assert not {"rsitr.methods.vsepp", "rsitr.methods.clip", "rsitr.datasets.rsicd", "rsitr.cli"} & set(found)


def test_infrastructure_names_modules_that_exist():
    for name in provenance.INFRASTRUCTURE:
        assert provenance._module_file(name, provenance.PACKAGE), name


def test_sha256_of_files_and_values(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    # FIPS 180-2, appendix B.1.
    abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_file(tmp_path / "abc") == abc
    assert sha256_json({"a": 1, "b": [2]}) == sha256_json({"b": [2], "a": 1})
    assert sha256_json({"a": 1}) != sha256_json({"a": "1"})


def test_machine_names_hardware_and_no_host():
    facts = provenance.machine("cpu", threads=2)
    assert (facts["device"], facts["threads"]) == ("cpu", 2)
    assert facts["cores"] >= 1
    assert facts["memory_gib"] > 0.1
    assert platform.node() not in map(str, facts.values())


def test_versions_and_memory():
    versions = provenance.library_versions()
    assert versions["python"] == platform.python_version()
    assert set(versions) == {"python", *provenance.LIBRARIES}
    assert 5 < provenance.peak_memory_mib() < 1_000_000
