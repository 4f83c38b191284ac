"""One browser and one site for all tests here; without a browser they are skipped."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from rsitr.records.code import PACKAGE
from rsitr.site.build import build
from rsitr.site.scripts import Folder
from tests.helpers import made_site

playwright = pytest.importorskip("playwright.sync_api")
AXE = PACKAGE.parents[1] / "node_modules/axe-core/axe.min.js"
WIDE, NARROW = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
MANY = 5000


class Made(NamedTuple):
    """A site that was built once."""

    project: Path
    folder: Path
    problems: list[str]

    def address(self, place: str = "") -> str:
        """Where a browser finds a page."""
        return f"{(self.folder / 'index.html').as_uri()}{place}"


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    project, before = tmp_path_factory.mktemp("made"), Path.cwd()
    os.chdir(project)
    try:
        built = build(made_site.lay_out(), "lab", external=True)
    finally:
        os.chdir(before)
    return Made(project, project / built.page.parent, built.problems)


@pytest.fixture(scope="session")
def crowded(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The same with thousands of rows."""
    import json

    folder = tmp_path_factory.mktemp("crowded") / "site"
    shutil.copytree(made.folder, folder)
    site = json.loads((folder / "site.json").read_text(encoding="utf-8"))
    rows = [row for row in site["rows"] if row["dataset"] == "ucm" and row["role"] == "main" and row["numbers"]]
    site["rows"] = [rows[number % len(rows)] | {"method": f"m{number:04}"} for number in range(MANY)]
    for number, row in enumerate(site["rows"]):
        row["numbers"] = row["numbers"] | {"mr": row["numbers"]["mr"] | {"mean": number * 7919 % MANY / 100}}
    Folder(folder).write("site", site)
    return Made(made.project, folder, [])


@pytest.fixture(scope="session")
def browser() -> Iterator[object]:
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no browser: install Debian's chromium (`apt-get install chromium`)")
    with playwright.sync_playwright() as running:
        started = running.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield started
        started.close()


class Tab:
    """A page of a browser, with everything that it complained about or asked for."""

    def __init__(self, browser, **options):
        self.context = browser.new_context(**options)
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.outside: list[str] = []
        self.page.on("console", lambda message: self._heard(message.type, message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self._asked(request.url))

    def _heard(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.complaints.append(text)

    def _asked(self, url: str) -> None:
        if not url.startswith(("file:", "data:", "blob:")):
            self.outside.append(url)

    def open(self, site: Made, place: str = ""):
        """Open a page of a site and wait until it is drawn."""
        self.page.goto("about:blank")
        self.page.goto(site.address(place))
        self.page.wait_for_selector("main[data-ready]")
        return self.page


@pytest.fixture
def tab(browser) -> Iterator[Tab]:
    """A tab in which nothing went wrong and nothing was asked of another machine."""
    opened = Tab(browser, viewport=WIDE)
    yield opened
    opened.context.close()
    assert opened.complaints == []
    assert opened.outside == []
