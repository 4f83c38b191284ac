"""What the site is made of: the numbers of the tables, reasons where there are none, and nothing of other folders."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from rsitr.errors import ParamsError
from rsitr.params import Params
from rsitr.pipeline.report import Material
from rsitr.site.build import INDEX, PAGES, SCRIPTS, STYLES, build
from rsitr.site.models import Site
from rsitr.tables.significance import Differences, recorded
from tests.helpers import made_site


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    monkeypatch.chdir(tmp_path)
    return made_site.lay_out()


def read(folder: Path = Path("results/site/lab")) -> Site:
    return Site.model_validate_json((folder / "site.json").read_text(encoding="utf-8"))


def test_numbers_are_those_of_the_tables(lab: Params) -> None:
    build(lab, "lab")
    site, view = read(), Material(lab, "lab", lenient=True).view
    rows = {(row.dataset, row.method): row for row in site.rows}
    assert {*rows} == {*view.entries}
    for place, entry in view.entries.items():
        for metric in ("mr", "dup_i2t_r1", "t2i_r10"):
            cell, found = view.value(entry, metric), rows[place].numbers.get(metric)
            assert (found.text, found.best) == (cell.text, bool(cell.bold)) if found else cell.text == "NA"
    assert rows["ucm", "vse++"].published.values["mr"] == 36.93
    assert rows["ucm", "vse++"].published.deltas == {}
    assert rows["ucm", "scan-t2i"].reason.startswith("seed 0: failed: </script>")
    assert rows["scenes-b", "vse"].published is None
    pair = Differences({0: (recorded(view.entry("ucm", "vse")), recorded(view.entry("ucm", "swan")))}).found[0]
    assert rows["ucm", "vse"].numbers["mr"].group != rows["ucm", "swan"].numbers["mr"].group
    assert pair.high < 0


def test_a_folder_of_other_things_is_not_replaced_and_an_older_site_is(lab: Params) -> None:
    out = Path("mine")
    out.mkdir()
    (out / "thesis.tex").write_text("years of work")
    with pytest.raises(ParamsError, match="mine is not a site"):
        build(lab, "lab", out)
    assert (out / "thesis.tex").read_text() == "years of work"
    first = build(lab, "lab", Path("pages")).page.parent
    (first / "data/cells/ucm/gone.js").write_text("")
    before = {path: path.read_bytes() for path in first.rglob("*") if path.is_file()}
    build(lab, "lab", first)
    after = {path: path.read_bytes() for path in first.rglob("*") if path.is_file()}
    before.pop(first / "data/cells/ucm/gone.js")
    assert after == before
    assert sorted(path.name for path in Path().iterdir()) == ["data", "mine", "pages", "results"]


def test_an_experiment_without_any_record_has_a_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    built = build(made_site.parameters(), "lab")
    assert built.problems == []
    assert {row.status for row in read().rows} == {"missing"}
    assert {row.reason for row in read().rows} == {"not run yet"}


def test_pages_are_those_that_the_index_loads() -> None:
    text = (PAGES / INDEX).read_text(encoding="utf-8")
    assert re.findall(r'src="pages/(.*?)"', text) == [*SCRIPTS]
    assert re.findall(r'href="pages/(.*?)"', text) == [*STYLES]
    assert {path.name for path in PAGES.iterdir()} == {INDEX, *SCRIPTS, *STYLES}
    assert all(len(path.read_text(encoding="utf-8").splitlines()) <= 400 for path in PAGES.iterdir())


def test_the_file_is_what_its_schema_says(lab: Params) -> None:
    build(lab, "lab")
    raw = json.loads(Path("results/site/lab/site.json").read_text(encoding="utf-8"))
    assert raw["version"] == 1
    with pytest.raises(ValueError, match="version"):
        Site.model_validate(raw | {"version": 2})
