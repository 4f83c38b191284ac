"""What holds for every table: its module declares it, and it writes the files that it declares."""

from __future__ import annotations

import csv
import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from PIL import Image

import rsitr.tables
from rsitr.params import Params, parse_params
from rsitr.pipeline import report
from rsitr.records.paths import Paths
from rsitr.tables.declared import GROUPS, Declared, Source, registry
from tests.helpers.commands import run
from tests.helpers.lab import Records
from tests.helpers.pictures import picture, put

MODULES = {
    module.name: importlib.import_module(f"rsitr.tables.{module.name}")
    for module in pkgutil.iter_modules(rsitr.tables.__path__)
}
SHARED = {"paper_table"}
"""Modules with a ``build`` that the tables of several papers use."""
METHODS = ["chance", "vse", "vse++", "vse++@dynamic", "amfmn-sim", "pir-itr-soft", "mtgfe", "retrieval-filter", "clip"]
STAGES = {"datasets": ["rsicd"], "scorer": "mtgfe", "filter": "retrieval-filter", "shortlists": [2], "seeds": [0]}


def parameters(methods: list[str], role: str = "main", **fields: object) -> Params:
    """The experiment ``lab`` on two datasets."""
    matrix = [{"datasets": ["rsicd", "ucm"], "methods": methods, "seeds": [0], "role": role}]
    if fields.get("tuning"):
        matrix.append({"datasets": ["ucm"], "methods": ["vse"], "seeds": [7], "settings": "tuned", "role": role})
    # A prior would have to be declared.
    settings = {"methods": {"pir-itr-soft": {"instruction_weights": "none"}} if "pir-itr-soft" in methods else {}}
    lab = {"title": "The lab", "matrix": matrix, "settings": settings, **fields}
    return parse_params({"experiment": "lab", "experiments": {"lab": lab}})


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with two datasets and their near duplicates: a test image of one is a crop of a training image."""
    folder = tmp_path_factory.mktemp("lab")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        one, other, third = (Image.fromarray(picture(seed, 256)) for seed in range(3))
        crop = one.crop((32, 0, 256, 224))
        put("rsicd", {"one.png": ("train", one), "crop.png": ("test", crop), "other.png": ("train", other)})
        put("ucm", {"third.png": ("train", third), "fourth.png": ("test", Image.fromarray(picture(3, 256)))})
        for name in ("rsicd", "ucm"):
            assert run("dedup", "thumbnails", name).exit_code == 0
            assert run("data", "clean", name).exit_code == 0
        for pair in (("rsicd",), ("ucm",), ("rsicd", "ucm")):
            assert run("dedup", "pairs", *pair).exit_code == 0
        # One record is enough for what has a number, all others are missing.
        records = Records(Path("results"))
        records.put("rsicd", "vse", 0, 40.0, parameters={"total": 9, "trainable": 4})
    return folder


@pytest.fixture
def lab(data: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Params]:
    """An experiment with every kind of table, in the project, which has no table yet."""
    monkeypatch.chdir(data)
    tuning = {"space": {"all": {"learning_rate": {"choices": [0.1, 0.2]}}}}
    yield parameters(METHODS, baselines={"vse": ["clip"]}, two_stage=[STAGES], tuning=tuning)
    for path in [*Paths.tables("lab").rglob("*")]:
        path.unlink()


def there() -> set[str]:
    """The files in the folder of tables."""
    return {path.name for path in Paths.tables("lab").rglob("*")}


@pytest.mark.parametrize("name", [name for name, module in MODULES.items() if hasattr(module, "build")])
def test_what_builds_a_table_declares_it(name: str) -> None:
    assert (name in SHARED) != isinstance(getattr(MODULES[name], "TABLE", None), Declared)


def test_names_are_unique_and_captions_say_something() -> None:
    declared = [module.TABLE for module in MODULES.values() if hasattr(module, "TABLE")]
    assert len({table.name for table in declared}) == len(declared) == len(registry())
    assert not {table.name for table in declared} & {*GROUPS}
    assert all(table.caption.endswith(".") and len(table.caption) > 20 for table in declared)
    assert {table.made_from for table in declared} == {*get_args(Source)}


@pytest.mark.parametrize("name", sorted(registry()))
def test_a_table_writes_the_files_that_it_declares(name: str, lab: Params) -> None:
    files = [*registry()[name].files(lab["lab"])]
    assert files
    written = report.build(lab, "lab", only=name)
    assert sorted(written) == sorted(Paths.tables("lab") / file for file in files)
    assert there() == {*files}


def test_every_file_is_of_one_table(lab: Params) -> None:
    files = [file for table in registry().values() for file in table.files(lab["lab"])]
    assert len(files) == len({*files})
    written = report.build(lab, "lab")
    assert sorted(path.name for path in written) == sorted(files)
    assert there() == {*files}


def test_an_experiment_without_the_methods_of_a_table_has_none_of_its_files(lab: Params) -> None:
    bare = parameters(["chance"])
    without = [name for name, table in registry().items() if not [*table.files(bare["lab"])]]
    assert {"amfmn", "baselines", "mtgfe", "mtgfe-table-1", "mtgfe-table-4", "peder", "pir", "two-stage"} <= {*without}
    for name in without:
        assert report.build(bare, "lab", only=name) == []
    assert there() == set()


def test_every_row_of_a_method_has_its_role(lab: Params) -> None:
    tuning = {"space": {"methods": {"vse": {"margin": {"choices": [0.1, 0.2]}}}}}
    more = {"baselines": {"vse": ["clip"]}, "two_stage": [STAGES], "tuning": tuning}
    report.build(parameters(METHODS, role="sweep", **more), "lab")
    found = []
    for path in sorted(Paths.tables("lab").glob("*.csv")):
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
        rows = list(csv.DictReader(lines))
        if rows and {"method", "scorer", "scorer, filter"} & {*rows[0]}:
            found.append(path.stem)
            assert {"sweep"} <= {row["role"] for row in rows} <= {"sweep", ""}, path.name
    tables = {"comparison", "baselines", "reranking", "two-stage", "mtgfe-table-4", "amfmn-table-2", "peder-claims"}
    assert tables | {"comparison.long", "coverage.long", "convergence", "tuning"} <= {*found}


def test_numbers_are_marked_by_the_near_duplicates_of_the_same_run(lab: Params) -> None:
    report.build(lab, "lab")
    text = (Paths.tables("lab") / "comparison.md").read_text(encoding="utf-8")
    assert "1 of 1 test images with a near duplicate in train (rule copies)" in text
    assert "were not counted" not in text
