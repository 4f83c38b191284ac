"""The committed scripts are those that the lock file names, and those that npm installs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rsitr.records.provenance import sha256_file
from rsitr.site.vendored import FILES, LICENCES, MANIFEST, VENDOR, bundled, content, copy, manifest, vendored

ROOT = Path(__file__).parents[3]


def test_the_manifest_is_that_of_the_lock_file_and_of_the_files() -> None:
    stated = json.loads((VENDOR / MANIFEST).read_text(encoding="utf-8"))
    hashes = [entry.pop("sha256") for entry in stated]
    assert stated == manifest(ROOT)
    assert hashes == [{name: sha256_file(VENDOR / name) for name in entry["files"]} for entry in stated]


def test_nothing_else_is_there() -> None:
    assert {path.name for path in VENDOR.iterdir()} == {path.name for path in vendored()}


def test_exact_versions_are_asked_for_and_no_server_is_named() -> None:
    asked = json.loads((ROOT / "package.json").read_text(encoding="utf-8"))
    locked = json.loads((ROOT / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    assert asked["dependencies"].keys() == FILES.keys()
    for package, version in (asked["dependencies"] | asked["devDependencies"]).items():
        assert locked[f"node_modules/{package}"]["version"] == version
    assert all("integrity" in facts and "resolved" not in facts for place, facts in locked.items() if place)


def test_no_script_names_a_map_that_is_not_there() -> None:
    assert not [path for path in vendored() if b"sourceMappingURL=" in path.read_bytes()]


def test_copies_are_what_npm_installed(tmp_path: Path) -> None:
    if not all((ROOT / "node_modules" / package).is_dir() for package in FILES):
        pytest.skip("the packages are not installed: npm ci --ignore-scripts")
    copy(ROOT, tmp_path)
    for path in vendored():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name


def test_licences_are_of_what_the_files_have_parts_of() -> None:
    """A dependency is looked for in the package, then in the folders around it; command lines are no part of a file."""
    places = {
        **{f"node_modules/{package}": {} for package in FILES},
        "node_modules/vega-lite": {"dependencies": {"tslib": "2", "yargs": "18"}},
        "node_modules/vega-lite/node_modules/tslib": {"dependencies": {"deep": "1"}},
        **{f"node_modules/{package}": {} for package in ("deep", "tslib", "yargs", "axe-core")},
    }
    wanted = {*FILES, "deep", "vega-lite/node_modules/tslib"}
    assert bundled(places) == sorted(f"node_modules/{name}" for name in wanted)
    text = (VENDOR / LICENCES).read_text(encoding="utf-8")
    assert ("d3-dsv 3" in text, "yargs" in text, "commander" in text) == (True, False, False)


def test_a_line_that_names_a_map_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text("one();\n//# sourceMappingURL=a.js.map\n")
    assert content(tmp_path / "a.js") == b"one();\n"
    assert (VENDOR / LICENCES).read_text(encoding="utf-8").count("tabulator-tables 6") == 1
