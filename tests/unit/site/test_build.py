"""What the site is made of: the numbers of the tables, reasons where there are none, and nothing of other folders."""

from __future__ import annotations

import base64
import gzip
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from rsitr.errors import ParamsError
from rsitr.params import Params
from rsitr.pipeline.report import Material
from rsitr.site import models
from rsitr.site.build import Built, build
from rsitr.site.frame import INDEX, OWN, PAGES, TYPED
from rsitr.site.models import Site
from rsitr.tables.significance import Differences, recorded
from tests.helpers import made_site

OUT = Path("results/site/lab")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Params, Built]]:
    """The project is the working folder of the tests here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("lab"))
        params = made_site.lay_out()
        yield params, build(params, "lab")


def read(folder: Path = OUT) -> Site:
    return Site.model_validate_json((folder / "site.json").read_text(encoding="utf-8"))


def test_numbers_are_those_of_the_tables(made: tuple[Params, Built]) -> None:
    site, view = read(), Material(made[0], "lab", lenient=True).view
    rows = {(row.dataset, row.method): row for row in site.rows}
    assert {*rows} == {*view.entries}
    for place, entry in view.entries.items():
        for metric in ("mr", "dup_i2t_r1", "t2i_r10"):
            cell, found = view.value(entry, metric), rows[place].numbers.get(metric)
            assert (found.text, found.best) == (cell.text, bool(cell.bold)) if found else cell.text == "NA"
    published = rows["ucm", "vse++"].published
    assert published is not None
    assert (published.values["mr"], published.deltas) == (36.93, {})
    assert "margin 0.2 instead of 0.5" in rows["ucm", "vse++"].incomparable
    assert rows["scenes-b", "vse"].published is None
    pair = Differences({0: (recorded(view.entry("ucm", "vse")), recorded(view.entry("ucm", "swan")))}).found[0]
    assert pair.high < 0
    groups = [rows["ucm", method].numbers["mr"].group for method in ("swan", "vse", "chance")]
    assert groups == ["A", "B", ""]


def test_what_has_no_number_says_why(made: tuple[Params, Built]) -> None:
    rows = {(row.dataset, row.method): row for row in read().rows}
    assert rows["ucm", "scan-t2i"].status == "failed"
    assert rows["ucm", "scan-t2i"].reason.startswith("seed 0: failed: </script>")
    assert [problem.split(" ")[0] for problem in made[1].problems] == [made_site.CUT]
    assert made_site.CUT in rows["ucm", "clip"].reason


def test_the_pages_read_every_field() -> None:
    """But the version, and what other programs want as a number."""
    pages = "".join(path.read_text(encoding="utf-8") for path in PAGES.glob("*.js"))
    classes = [each for each in vars(models).values() if isinstance(each, type) and issubclass(each, models.Strict)]
    read = r'\.{0}\b|[{{,]\s*{0}\s*[,}}:]|"{0}"'  # as a property, taken apart, or as the name of a column
    unread = {name for each in classes for name in each.model_fields if not re.search(read.format(name), pages)}
    assert unread == {"version", "std"}


def test_the_file_has_a_version(made: tuple[Params, Built]) -> None:
    raw = json.loads((OUT / "site.json").read_text(encoding="utf-8"))
    assert raw["version"] == 1
    with pytest.raises(ValueError, match="version"):
        Site.model_validate(raw | {"version": 2})


def test_a_folder_of_other_things_is_not_replaced_and_an_older_site_is(made: tuple[Params, Built]) -> None:
    out = Path("mine")
    out.mkdir()
    (out / "thesis.tex").write_text("years of work")
    with pytest.raises(ParamsError, match="mine is not a site"):
        build(made[0], "lab", out)
    assert (out / "thesis.tex").read_text() == "years of work"
    before = {path: path.read_bytes() for path in OUT.rglob("*") if path.is_file()}
    (OUT / "data/cells/ucm/gone.js").write_text("")
    build(made[0], "lab")
    assert {path: path.read_bytes() for path in OUT.rglob("*") if path.is_file()} == before
    assert [path.name for path in OUT.parent.iterdir()] == ["lab"]


def test_a_build_that_is_killed_while_it_replaces_a_site_is_no_obstacle(
    made: tuple[Params, Built], monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(path: Path, ignore_errors: bool = False) -> None:
        if (path / TYPED).is_file():
            (path / TYPED).unlink()
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            build(made[0], "lab")
    build(made[0], "lab")
    assert [path.name for path in OUT.parent.iterdir()] == ["lab"]
    assert read().experiment == "lab"


def test_an_experiment_without_any_record_has_a_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    built = build(made_site.parameters(), "lab")
    assert built.problems == []
    assert {(row.status, row.reason) for row in read().rows} == {("missing", "not run yet")}


def unpacked(folder: Path, file: str) -> dict:
    return json.loads(gzip.decompress(base64.b64decode((folder / file).read_text().split('"')[-2])))


def test_external_rows_are_added_and_change_no_other_row(made: tuple[Params, Built]) -> None:
    out = Path("with-external")
    assert build(made[0], "lab", out, external=True).problems == made[1].problems
    without, site = read(), read(out)
    (theirs,) = [row for row in site.rows if row.role == "external"]
    assert [row for row in site.rows if row is not theirs] == without.rows
    assert (site.sheets, site.paged) == (without.sheets, without.paged)
    assert site.reproduce == "rsitr site lab --external"
    mr = theirs.numbers["mr"]
    assert mr.mean > max(row.numbers["mr"].mean for row in without.rows if "mr" in row.numbers)
    assert (theirs.method, mr.best, mr.group) == ("theirs", False, "")
    assert (theirs.trained_on, theirs.ended) == ({"rsicd": (3, 40), "sydney": None}, "")
    assert theirs.leaks == "3 of 40 test images with a near duplicate in train of rsicd (rule copies)"
    found = unpacked(out, site.datasets[0].pairs_file)[""]
    others = [pair for pair in found["pairs"] if found["methods"].index("theirs") not in pair[:2]]
    assert others == unpacked(OUT, without.datasets[0].pairs_file)[""]["pairs"]
    assert {pair[-1] for pair in found["pairs"] if pair not in others} == {6}
    (stored,) = [each for each in site.datasets[0].queries if each.method == "theirs"]
    assert stored.top
    assert {*unpacked(out, stored.file)} == {"ranks", "top", "scores"}
    (seed,) = unpacked(out, theirs.file)["seeds"]
    assert (seed["source"], seed["command"]) == ("results/external/ucm/theirs/cell.json", "")
    assert seed["record"] == Path(seed["source"]).read_text()


def test_external_rows_that_cannot_be_read_or_named_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    params, ucm = made_site.lay_out(), Path("results/external/ucm")
    shutil.copytree(ucm / "theirs", ucm / "cut")
    (ucm / "cut/cell.json").write_text("{")
    shutil.copytree(ucm / "theirs", ucm / "else")
    shutil.copyfile("results/cells/lab/scenes-b/vse/0/ranks.parquet", ucm / "else/ranks.parquet")
    shutil.copytree(ucm / "theirs", "results/external/scenes-b/swan")  # a method of ucm alone
    built = build(params, "lab", external=True)
    places = [(row.dataset, row.method) for row in read().rows]
    assert len(places) == len({*places}) == 10 + 4
    rows = {row.method: row for row in read().rows if row.role == "external"}
    states = {"cut": "failed", "else": "ok", "swan": "stale", "theirs": "ok"}
    assert {method: row.status for method, row in rows.items()} == states
    assert rows["cut"].reason.startswith(f"{ucm}/cut/cell.json cannot be read")
    assert {problem.split(" ")[0] for problem in built.problems} == {made_site.CUT, f"{ucm}/cut/cell.json"}
    assert rows["else"].numbers["mr"].low is None
    (dataset, _) = read().datasets
    why = unpacked(OUT, dataset.pairs_file)[""]["left_out"]["else"]
    assert why == "it was tested on other images or captions than most rows of the dataset"
    assert "else" not in {each.method for each in dataset.queries}
    shutil.copytree(ucm / "theirs", ucm / "vse")
    with pytest.raises(ParamsError, match="results/external/ucm/vse is called like a method of lab"):
        build(params, "lab", external=True)


def test_pages_are_those_that_the_index_loads() -> None:
    text = (PAGES / INDEX).read_text(encoding="utf-8")
    assert {path.name for path in PAGES.iterdir()} == {INDEX, *OWN.findall(text)}
    assert all(len(path.read_text(encoding="utf-8").splitlines()) <= 400 for path in PAGES.iterdir())
