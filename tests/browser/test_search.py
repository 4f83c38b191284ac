"""The search page in a browser, as a file and served: what it finds is what Python finds."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

from rsitr.captions.words import words
from rsitr.datasets.splits import load_splits
from rsitr.localisation.heatmap import Grid, heatmap
from rsitr.localisation.places import best_places
from rsitr.localisation.windows import edges, window_rows
from rsitr.params.ids import CleanId
from rsitr.records.paths import Paths
from rsitr.search.index import Index
from rsitr.search.pictures import pictures_at
from rsitr.search_page import own, searched
from rsitr.search_page.serve import server
from rsitr.site.build import build
from tests.browser.conftest import AXE, NARROW, Made, Tab
from tests.helpers import made_site
from tests.helpers.made_site import NASTY, RIGHT_TO_LEFT
from tests.helpers.tower_model import TowerModel

pytestmark = pytest.mark.slow

SCRIPTED = '"it\'s" <script>window.broken = 1<.png'
QUERIES = ("two planes on a runway", "Dark-green forest, near a lake!", "airplane", "a tennis court in zzzzxq")
HEIGHT, WIDTH, WINDOW = 300, 427, 96
FOUND = ".tiles li bdi"


class Own(NamedTuple):
    """A page of pictures or of a scene, and the index that it is of."""

    site: Made
    index: Index

    def best(self, text: str, count: int = 10) -> list[tuple[str, str]]:
        """Names and cosines, as Python finds them."""
        (hits,) = self.index.search(self.index.model.encode_texts([text]), count)
        return [(hit.name, f"{hit.score:.3f}") for hit in hits]


def noise(height: int, width: int, seed: int) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height))


def written(folder: Path, place: Path, model: TowerModel, window: int = 256) -> Own:
    index = Index(folder / "index", pictures_at(place, window), model).update()
    return Own(Made(folder, own.write(folder / "site", index, "rsitr search").parent, []), index)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Own:
    folder = tmp_path_factory.mktemp("own")
    place = folder / "my <b>pictures & 'own'"
    place.mkdir()
    for number in range(23):
        name = {3: SCRIPTED, 4: f"{RIGHT_TO_LEFT}.png"}.get(number, f"{number:02}.png")
        noise(64, 64, number).save(place / name)
    return written(folder, place, TowerModel())


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Own:
    folder = tmp_path_factory.mktemp("scene")
    noise(HEIGHT, WIDTH, 1).save(folder / "scene.png")
    return written(folder, folder / "scene.png", TowerModel(), WINDOW)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The site of a small experiment, with the search page over its generated dataset."""
    project, before = tmp_path_factory.mktemp("searched"), Path.cwd()
    os.chdir(project)
    try:
        built = build(made_site.lay_out(), "lab", model=TowerModel())
    finally:
        os.chdir(before)
    return Made(project, project / built.page.parent, built.problems)


def shown(page) -> list[tuple[str, str]]:
    """Names and cosines on the page."""
    cosines = [text.split(" ")[-1] for text in page.locator(".tiles .place").all_text_contents()]
    return [*zip(page.locator(FOUND).all_text_contents(), cosines, strict=True)]


@pytest.mark.parametrize("text", QUERIES)
def test_the_first_ten_are_those_of_python_and_the_address_keeps_the_text(tab: Tab, pictures: Own, text: str) -> None:
    page = tab.open(pictures.site)
    page.get_by_label("Look for").fill(text)
    page.wait_for_selector(f".results[data-for={text!r}]")
    expected = pictures.best(text)
    assert shown(page) == expected
    again = tab.open(pictures.site, page.evaluate("location.hash"))
    assert again.get_by_label("Look for").input_value() == text
    assert shown(again) == expected
    said = again.get_by_role("status").inner_text()
    assert ("zzzzxq" in said) == ("zzzzxq" in text)


def test_the_tower_of_the_page_is_that_of_torch(tab: Tab, pictures: Own) -> None:
    page = tab.open(pictures.site)
    for text in QUERIES:
        ours = page.evaluate("text => RSITR.tower.encode(text).then(found => [...found.embedding])", text)
        np.testing.assert_allclose(ours, pictures.index.model.encode_texts([text])[0], atol=1e-5)
    odd = [*QUERIES, NASTY, RIGHT_TO_LEFT, "İstanbul K-9 don't_stop --a- 'b' ſ É", ""]
    assert page.evaluate("all => all.map(RSITR.tower.words)", odd) == [words(text) for text in odd]


def test_a_text_without_a_known_word_finds_nothing_and_says_so(tab: Tab, pictures: Own) -> None:
    page = tab.open(pictures.site)
    page.get_by_label("Look for").fill(NASTY.replace("script", "qqzzx"))
    page.get_by_role("button", name="Search").click()
    page.get_by_label("Look for").fill(f"qqzzx {RIGHT_TO_LEFT}")
    page.get_by_text("The tower knows none of these words").wait_for()
    assert page.locator(FOUND).count() == 0
    page.get_by_label("Look for").fill("")
    page.get_by_text("23 pictures. Type what to look for").wait_for()
    assert page.evaluate("window.broken") is None


def test_keys_alone_search_and_choose_a_picture(tab: Tab, pictures: Own) -> None:
    page = tab.open(pictures.site)
    page.get_by_label("Look for").focus()
    page.keyboard.type("planes")
    page.keyboard.press("Enter")
    page.wait_for_selector(".results[data-for=planes]")
    page.locator(".tiles a").first.focus()
    page.keyboard.press("Enter")
    first = pictures.best("planes")[0][0]
    page.get_by_role("heading", name="Similar pictures").wait_for()
    assert page.locator(".asked h2").text_content() == first
    page.go_back()
    page.wait_for_selector(".results[data-for=planes]")


@pytest.mark.parametrize("name", [SCRIPTED, f"{RIGHT_TO_LEFT}.png", "07.png"])
def test_similar_pictures_are_those_of_python_whatever_the_name(tab: Tab, pictures: Own, name: str) -> None:
    page = tab.open(pictures.site)
    page.locator(".tiles a", has=page.get_by_text(name, exact=True)).click()
    page.get_by_role("heading", name="Similar pictures").wait_for()
    row = pictures.index.embeddings[pictures.index.names.index(name)].astype(np.float32)
    (hits,) = pictures.index.search(torch.from_numpy(row)[None], 11)
    assert [found for found, _ in shown(page)] == [hit.name for hit in hits if hit.name != name]
    assert page.locator(".asked img").evaluate("image => image.decode().then(() => image.naturalWidth)") == 64
    assert page.evaluate("window.broken") is None


def test_a_missing_thumbnail_is_no_harm(browser, pictures: Own, tmp_path: Path) -> None:
    copy = Made(tmp_path, tmp_path / "site", [])
    shutil.copytree(pictures.site.folder, copy.folder, ignore=shutil.ignore_patterns("*.jpg"))
    tab = Tab(browser)
    page = tab.open(copy, "#/search?text=planes")
    page.locator(".gone").first.wait_for()
    assert shown(page) == pictures.best("planes")
    tab.context.close()


def test_captions_of_an_image_are_those_of_python(tab: Tab, dataset: Made) -> None:
    page = tab.open(dataset, "#/search/scenes-b?image=14.png")
    assert "There is no picture 14.png here" in page.locator(".note.bad").inner_text()
    name = 'a "quoted" <i>.png'
    page.get_by_role("link", name="Search", exact=True).click()
    page.locator(".tiles a", has=page.get_by_text(name, exact=True)).click()
    page.get_by_role("heading", name="Captions that fit best").wait_for()
    captions = [*dict.fromkeys(load_splits(dataset.project / Paths.clean(CleanId("scenes-b")))[0]["test"].captions)]
    model, opened = TowerModel(), Image.open(dataset.project / "data/extracted/scenes-b" / name)
    texts, image = (each.half().double() for each in (searched.encoded(model, captions), model.encode_images([opened])))
    scores = (texts @ image[0]).numpy()
    expected = [captions[place] for place in np.argsort(-scores, kind="stable")[:10]]
    assert {NASTY, RIGHT_TO_LEFT} <= {*captions}
    assert page.locator(".found li bdi[dir=auto]").all_text_contents() == expected
    assert page.evaluate("window.broken") is None


def test_the_map_of_a_scene_is_that_of_python_and_its_places_can_be_chosen(tab: Tab, scene: Own) -> None:
    text = "a green field"
    asked: list[str] = []
    tab.page.on("request", lambda request: asked.append(request.url))
    page = tab.open(scene.site, "#/search?text=a+green+field")
    rows = window_rows(HEIGHT, WIDTH, [WINDOW])
    query = scene.index.model.encode_texts([text])[0].double().numpy()
    scores = dict(zip(scene.index.names, scene.index.embeddings.astype(np.float64) @ query, strict=True))
    names = [[f"{row.top},{left} {row.height}x{row.width}" for left in row.lefts.tolist()] for row in rows]
    parts = [np.array([[scores[name]] for name in each]) for each in names]
    grid = Grid(*edges(rows, HEIGHT, WIDTH))
    valid = np.ones((len(grid.rows) - 1, len(grid.columns) - 1), dtype=bool)
    expected = heatmap(rows, parts, grid, valid, 1)
    ours = page.evaluate(
        """async (text) => {
          const [about] = RSITR.site().searched, { grid } = RSITR.scene, { cosines, encode, numbers } = RSITR.tower;
          const [found, { embedding }] = await Promise.all([RSITR.load(about.file), encode(text)]);
          const scores = cosines(numbers(found.embeddings), embedding);
          const { rows, columns, means } = grid(found.boxes, scores, about.tiles);
          return [rows, columns, [...means]];
        }""",
        text,
    )
    assert ours[0] == grid.rows.tolist()
    assert ours[1] == grid.columns.tolist()
    np.testing.assert_allclose(np.reshape(ours[2], expected.means[0].shape), expected.means[0], atol=1e-6)
    places = [f"{each.rank}. row {each.row}, column {each.column}" for each in best_places(rows, parts, 0)]
    assert [line.split(" · ")[0] for line in page.locator(".places button").all_inner_texts()] == places
    page.locator(".places button").first.focus()
    page.keyboard.press("Enter")
    page.locator(".outline").wait_for()
    assert any("/tiles/scene.png/" in url for url in asked)


@pytest.fixture(scope="module")
def served(pictures: Own) -> Iterator[str]:
    with server(pictures.site.folder, pictures.index.model) as running:
        Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}/"
        running.shutdown()


def test_a_served_page_asks_the_model_and_nobody_else(browser, pictures: Own, served: str) -> None:
    tab = Tab(browser)
    tab.page.goto(f"{served}#/search?text=two+planes")
    tab.page.wait_for_selector(".results[data-for='two planes']")
    assert "The model itself answers" in tab.page.locator("main").inner_text()
    assert shown(tab.page) == pictures.best("two planes")
    assert {url.startswith(served) for url in tab.outside} == {True}
    assert f"{served}embed" in tab.outside
    assert tab.complaints == []
    tab.context.close()


def test_a_page_of_another_model_says_what_to_do_and_shows_similar_pictures(tab: Tab, pictures: Own, tmp_path) -> None:
    other = written(tmp_path, pictures.index.pictures.place, TowerModel("another"))
    page = tab.open(other.site)
    assert page.get_by_label("Look for").is_disabled()
    assert "Open this folder by rsitr serve" in page.locator("main").inner_text()
    page.locator(".tiles a").first.click()
    page.get_by_role("heading", name="Similar pictures").wait_for()
    assert page.locator(FOUND).count() == 10
    assert not (other.site.folder / "data/search/tower.js").exists()


PLACES = ("#/search", "#/search?text=planes")


def places(pictures: Own, scene: Own, dataset: Made) -> list[tuple[Made, str]]:
    sites = [(site, place) for site in (pictures.site, scene.site) for place in PLACES]
    return [*sites, (pictures.site, "#/search?image=07.png"), (dataset, "#/search/scenes-b?image=13.png")]


def test_a_narrow_screen_does_not_scroll_sideways(browser, pictures: Own, scene: Own, dataset: Made) -> None:
    tab = Tab(browser, viewport=NARROW)
    for site, place in places(pictures, scene, dataset):
        page = tab.open(site, place)
        assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"], place
    assert (tab.complaints, tab.outside) == ([], [])
    tab.context.close()


@pytest.mark.skipif(not AXE.is_file(), reason="axe-core is not installed: npm ci")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_rule_of_accessibility_is_broken(scheme: str, browser, pictures: Own, scene: Own, dataset: Made) -> None:
    tab = Tab(browser, color_scheme=scheme, bypass_csp=True)
    for site, place in places(pictures, scene, dataset):
        page = tab.open(site, place)
        page.add_script_tag(path=AXE)
        found = page.evaluate("axe.run().then(({violations}) => violations)")
        assert [(rule["id"], [node["html"][:200] for node in rule["nodes"]][:3]) for rule in found] == [], place
    tab.context.close()
