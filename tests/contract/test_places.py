"""`tests/unit` mirrors `src/rsitr`: whoever looks for the tests of a module finds them under its name."""

from __future__ import annotations

from pathlib import Path

import rsitr

PACKAGE = Path(rsitr.__file__).parent
UNIT = Path(__file__).parents[1] / "unit"

# What several modules of a package do together.
BEHAVIOURS = {
    "datasets": {"pretraining_sets"},
    "figures": {"pir"},
    "pipeline": {"priors", "teaching"},
}


def misplaced(path: Path) -> bool:
    """Whether a file of tests is named neither for a module of its package, nor `MODULE_WHAT`, nor a behaviour."""
    folder = path.parent.relative_to(UNIT)
    modules = {entry.stem for entry in (PACKAGE / folder).iterdir()} | {folder.name}
    name = path.stem.removeprefix("test_")
    named = name in modules or any(name.startswith(f"{module}_") for module in modules)
    return not named and name not in BEHAVIOURS.get(folder.as_posix(), ())


def test_unit_tests_lie_where_their_module_does():
    files = sorted(UNIT.rglob("*.py"))
    assert not [path for path in files if not (PACKAGE / path.parent.relative_to(UNIT) / "__init__.py").is_file()]
    tests = [path for path in files if path.name != "__init__.py"]
    assert not [path for path in tests if not path.name.startswith("test_")], "helpers belong in tests/helpers"
    assert not [path for path in tests if misplaced(path)]
    behaviours = [UNIT / folder / f"test_{name}.py" for folder, names in BEHAVIOURS.items() for name in names]
    assert not [path for path in behaviours if not path.is_file()]
