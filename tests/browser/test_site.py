"""The built site in a browser, opened as a file: order, filters, records, queries, unkind texts, keys, sizes."""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path

import pytest

from rsitr.retrieval.rank_files import read_ranks
from rsitr.retrieval.top_files import read_top
from tests.browser.conftest import AXE, MANY, NARROW, Made, Tab
from tests.helpers.made_site import CUT, NASTY, RIGHT_TO_LEFT

pytestmark = pytest.mark.slow

PLACES = (
    "#/leaderboard",
    "#/cell/ucm/vse%2B%2B",
    "#/cell/ucm/theirs",
    "#/compare",
    "#/queries/scenes-b/vse/0/i2t",
    "#/data",
    "#/papers",
    "#/papers/splits",
    "#/cell/ucm/nothing",
)
METHODS = "#rows .tabulator-row .tabulator-cell[tabulator-field=method] a"


def site_of(made: Made) -> dict:
    return json.loads((made.folder / "site.json").read_text(encoding="utf-8"))


def rows_of(made: Made, dataset: str, *roles: str) -> list[dict]:
    return [row for row in site_of(made)["rows"] if row["dataset"] == dataset and row["role"] in roles]


def by_mr(rows: list[dict], sign: int) -> list[str]:
    """Methods in order of mR, those without one last."""
    known = [row for row in rows if "mr" in row["numbers"]]
    rest = [row["method"] for row in rows if "mr" not in row["numbers"]]
    return [row["method"] for row in sorted(known, key=lambda row: sign * row["numbers"]["mr"]["mean"])] + rest


def test_rows_are_sorted_and_filtered_and_the_address_keeps_it(tab: Tab, made: Made) -> None:
    page = tab.open(made)
    page.wait_for_selector(METHODS)
    assert page.locator(METHODS).all_inner_texts() == by_mr(rows_of(made, "ucm", "main"), -1)
    page.get_by_role("checkbox", name="ablation").check()
    page.get_by_role("button", name="mR", exact=True).click()
    expected = by_mr(rows_of(made, "ucm", "main", "ablation"), 1)
    page.wait_for_function(f"document.querySelectorAll({METHODS!r}).length === {len(expected)}")
    assert page.locator(METHODS).all_inner_texts() == expected
    kept = page.evaluate("location.hash")
    assert "roles=main%2Cablation" in kept
    assert "dir=asc" in kept
    page = tab.open(made, kept)
    page.wait_for_selector(METHODS)
    assert page.locator(METHODS).all_inner_texts() == expected
    assert page.get_by_role("checkbox", name="ablation").is_checked()


def test_what_has_no_number_says_why_and_only_the_best_is_bold(tab: Tab, made: Made) -> None:
    page = tab.open(made)
    row = page.locator("#rows .tabulator-row", has=page.get_by_role("link", name="scan-t2i"))
    assert row.locator("[tabulator-field=mr]").inner_text() == "NA"
    assert "seed 1: not run yet" in row.locator("[tabulator-field=note]").inner_text()
    bold = page.locator("#rows [tabulator-field=mr] b").all_inner_texts()
    site = site_of(made)
    numbers = [
        row["numbers"]["mr"] for row in site["rows"] if row["dataset"] == site["datasets"][0]["name"] and row["numbers"]
    ]
    assert bold == [number["text"] for number in numbers if number["best"]]
    assert len(bold) == 1


def test_a_published_number_is_next_to_ours_without_a_difference_that_deviations_forbid(tab: Tab, made: Made) -> None:
    page = tab.open(made)
    row = page.locator("#rows .tabulator-row", has=page.get_by_role("link", name="vse++", exact=True))
    assert row.locator("[tabulator-field=published]").inner_text() == "36.93"
    assert row.locator("[tabulator-field=delta]").inner_text() == "n/c"
    page = tab.open(made, "#/leaderboard?dataset=scenes-b")
    page.wait_for_selector(METHODS)
    assert set(page.locator("#rows .tabulator-row [tabulator-field=published]").all_inner_texts()) == {""}
    assert "Synthetic data (scenes-b)" in page.locator(".synthetic").inner_text()


def test_files_hold_the_selection(tab: Tab, made: Made) -> None:
    page = tab.open(made)
    page.wait_for_selector(METHODS)
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").click()
    lines = [*csv.DictReader(Path(download.value.path()).read_text(encoding="utf-8").splitlines())]
    assert [line["method"] for line in lines] == by_mr(rows_of(made, "ucm", "main"), -1)
    numbers = {row["method"]: row["numbers"] for row in rows_of(made, "ucm", "main")}
    assert lines[0]["i2t R@1"] == numbers[lines[0]["method"]]["i2t_r1"]["text"]
    with page.expect_download() as download:
        page.get_by_role("button", name="LaTeX").click()
    tex = Path(download.value.path()).read_text(encoding="utf-8")
    assert tex.count(r"\textbf{") == page.locator("#rows b").count()
    assert r"\caption{The \textless{}b\textgreater{}lab" in tex


def test_a_row_shows_its_record_as_it_is(tab: Tab, made: Made) -> None:
    page = tab.open(made, "#/cell/ucm/vse%2B%2B?seed=1")
    record = (made.project / "results/cells/lab/ucm/vse++/1/cell.json").read_text(encoding="utf-8")
    assert page.locator("pre.record").text_content() == record
    assert page.get_by_text("rsitr run cells/lab/ucm/vse++/1").is_visible()
    settings = page.locator("table.settings").first.locator("tbody tr").all_inner_texts()
    assert [line.split("\t") for line in settings] == [["margin", "0.2", "0.5"]]
    assert page.locator("section li").first.text_content() == NASTY
    page.locator(".chart[data-drawn]").first.wait_for()


def test_an_external_row_says_what_it_was_trained_on_and_is_never_bold(tab: Tab, made: Made) -> None:
    page = tab.open(made, "#/leaderboard?roles=main%2Cexternal")
    page.wait_for_selector(METHODS)
    assert page.locator(METHODS).first.inner_text() == "theirs"
    row = page.locator("#rows .tabulator-row").first
    assert row.locator("b").count() == 0
    assert row.locator("[tabulator-field=method] .mark").all_inner_texts() == ["‡", "external"]
    trained = "trained on rsicd, sydney (near duplicates of test images not counted in sydney)"
    assert row.locator("[tabulator-field=note]").inner_text().endswith(trained)
    page = tab.open(made, "#/cell/ucm/theirs")
    assert page.get_by_text(f"External: {trained}.").is_visible()
    assert page.locator(".command").count() == 0


def test_a_cut_record_is_named_and_the_rest_is_shown(tab: Tab, made: Made) -> None:
    page = tab.open(made, "#/cell/ucm/clip")
    assert [problem.split(" ")[0] for problem in made.problems] == [CUT]
    assert "1 thing could not be read" in page.locator(".problems summary").inner_text()
    assert page.locator("pre.record").text_content() == (made.project / CUT).read_text(encoding="utf-8")


@pytest.mark.parametrize("direction", ["i2t", "t2i"])
def test_the_first_ten_are_those_of_the_file(direction: str, tab: Tab, made: Made) -> None:
    page = tab.open(made, f"#/queries/ucm/vse/0/{direction}?q=3")
    folder = made.project / "results/cells/lab/ucm/vse/0"
    top, ranks = read_top(folder / "top.parquet"), read_ranks(folder / "ranks.parquet").ranks
    items = getattr(top, direction).items[3]
    names = (
        [f"{top.image_ids[i // 5]}#{i % 5 + 1}" for i in items] if direction == "i2t" else list(top.image_ids[items])
    )
    assert page.locator(".found li bdi").all_inner_texts() == names
    plain, counted = (getattr(ranks[column], direction)[3] for column in ("rank", "dup_rank"))
    assert f"plain {plain}, counted {counted}" in page.locator(".answer").inner_text()
    own = page.locator(".found li").evaluate_all("all => all.map(each => each.className === 'own')")
    image = 3 if direction == "i2t" else 0
    assert own == [(item // 5 if direction == "i2t" else item) == image for item in items]


def test_unkind_texts_are_text_and_identical_captions_are_marked(tab: Tab, made: Made) -> None:
    page = tab.open(made, "#/queries/scenes-b/vse/0/i2t?q=0")
    found = page.locator(".found li")
    texts = found.locator("bdi[dir=auto]").all_text_contents()
    assert {NASTY, RIGHT_TO_LEFT} <= {*texts}
    marks = dict(zip(texts, found.evaluate_all("all => all.map(each => each.className)"), strict=True))
    assert marks[NASTY] == "own"
    assert "same" not in marks[RIGHT_TO_LEFT]
    page = tab.open(made, "#/queries/scenes-b/vse/0/i2t?q=1")
    assert page.locator(".found li.same").count() > 0
    assert page.locator(".asked img").evaluate("image => image.decode().then(() => image.naturalWidth)") == 32
    assert page.evaluate("window.broken") is None


def test_two_rows_are_compared_both_ways(tab: Tab, made: Made) -> None:
    page = tab.open(made, "#/compare?a=vse&b=amfmn-sim&k=5")
    text = page.locator(".verdict").inner_text()
    assert text.startswith("−")
    assert "amfmn-sim scores higher" in text
    ranks = [
        read_ranks(made.project / f"results/cells/lab/ucm/{method}/0/ranks.parquet").ranks["rank"]
        for method in ("vse", "amfmn-sim")
    ]
    won = sum(((getattr(ranks[0], d) <= 5) & (getattr(ranks[1], d) > 5)).sum() for d in ("i2t", "t2i"))
    assert page.get_by_text(f"vse alone: {won}", exact=True).count() == 1
    page = tab.open(made, "#/compare?a=vse&b=scan-t2i")
    assert "Not compared. scan-t2i: seed" in page.locator(".note.bad").inner_text()


def test_lists_of_images_have_pictures_where_there_are_any(tab: Tab, made: Made) -> None:
    page = tab.open(made, "#/data")
    assert page.locator(".pair").count() == 3
    assert page.locator(".pair img").count() == 6
    assert RIGHT_TO_LEFT in page.locator(".notes").first.text_content()
    assert "results/tables/lab/ceiling.csv was not built" in page.locator("main").inner_text()


def test_a_missing_picture_is_no_harm(browser, made: Made, tmp_path: Path) -> None:
    copy = Made(made.project, tmp_path / "site", [])
    shutil.copytree(made.folder, copy.folder, ignore=shutil.ignore_patterns("*.jpg"))
    tab = Tab(browser)
    page = tab.open(copy, "#/queries/scenes-b/vse/0/i2t?q=1")
    page.locator(".gone").first.wait_for()
    assert page.locator(".found li").count() == 10
    tab.context.close()


def test_keys_alone_reach_a_row_and_sort(tab: Tab, made: Made) -> None:
    page = tab.open(made)
    page.wait_for_selector(METHODS)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.get_by_role("button", name="mR", exact=True).focus()
    page.keyboard.press("Enter")
    page.wait_for_function("location.hash.includes('dir=asc')")
    page.locator(METHODS).first.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("main[data-ready=cell]")


@pytest.mark.parametrize("place", PLACES)
def test_a_narrow_screen_shows_every_page_without_scrolling_sideways(place: str, browser, made: Made) -> None:
    tab = Tab(browser, viewport=NARROW)
    page = tab.open(made, place)
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
    assert tab.complaints == []
    tab.context.close()


@pytest.mark.skipif(not AXE.is_file(), reason="axe-core is not installed: npm ci")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_rule_of_accessibility_is_broken(scheme: str, browser, made: Made) -> None:
    tab = Tab(browser, color_scheme=scheme, bypass_csp=True)
    for place in PLACES:
        page = tab.open(made, place)
        page.add_script_tag(path=AXE)
        found = page.evaluate("axe.run().then(({violations}) => violations)")
        assert [(rule["id"], [node["html"][:200] for node in rule["nodes"]][:3]) for rule in found] == [], place
    tab.context.close()


def test_thousands_of_rows_are_sorted_at_once(tab: Tab, crowded: Made) -> None:
    page = tab.open(crowded)
    page.wait_for_selector(METHODS)
    assert page.locator(".count").inner_text() == f"{MANY} of {MANY} rows"
    assert page.locator("#rows .tabulator-row").count() < 200
    page.get_by_role("button", name="mR", exact=True).click()
    page.wait_for_function(f"document.querySelector({METHODS!r}).textContent === 'm0000'")


def test_nothing_of_a_dataset_is_in_the_site(made: Made) -> None:
    """Captions of real datasets are not even packed into it, nor any path of the machine."""
    import base64
    import gzip

    for path in made.folder.rglob("data/**/*.js"):
        text = path.read_text(encoding="utf-8")
        packed = text.partition(",")[2][1:-4] if text.count('"') == 4 else ""
        text += gzip.decompress(base64.b64decode(packed)).decode() if packed else ""
        assert "a caption that no page may show" not in text
        assert os.fspath(made.project) not in text
