"""The result site next to the page that it replaces, the table `comparison.html` of the same experiment.

    python benchmarks/site.py                  experiment laptop
    python benchmarks/site.py demo

Both are built in processes of their own from the records that are here, and opened in a headless Chromium as files,
without a server. First view: from the request to the first row of the table, the median of five new tabs. Sort: a click
on the head of a column of 1,000 rows, from the event to the second frame after it; `comparison.html` cannot sort.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from playwright.sync_api import sync_playwright

from rsitr.records.paths import Paths
from rsitr.site.scripts import Folder
from table import Row, machine, print_rows, write_rows

RESULT = Path(__file__).parents[1] / "results" / "benchmarks" / "site.csv"
PEER = "comparison.html"
OPENED, MANY = 5, 1000
SORT = """() => new Promise((done) => {
  const head = [...document.querySelectorAll("button.sort")].find((each) => each.textContent === "mR");
  const begun = performance.now();
  head.click();
  requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - begun)));
})"""


def run(*command: str) -> float:
    """Seconds of a command of `rsitr`."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-m", "rsitr", *command], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


@contextmanager
def browser() -> Iterator[Any]:
    """A headless Chromium; Playwright's own where the system has none."""
    with sync_playwright() as running:
        found = shutil.which("chromium") or shutil.which("google-chrome")
        started = running.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield started
        started.close()


def first_view(opened: Any, page: Path, selector: str) -> float:
    """Milliseconds until an element is there, the median over new tabs."""
    taken = []
    for _ in range(OPENED):
        context = opened.new_context(viewport={"width": 1440, "height": 900})
        tab = context.new_page()
        begun = time.perf_counter()
        tab.goto(page.as_uri(), wait_until="commit")
        tab.wait_for_selector(selector)
        taken.append(1000 * (time.perf_counter() - begun))
        context.close()
    return median(taken)


def sorting(opened: Any, site: Path) -> float:
    """Milliseconds to sort a table of ``MANY`` rows."""
    facts = json.loads((site / "site.json").read_text(encoding="utf-8"))
    rows = [row for row in facts["rows"] if row["role"] == "main" and "mr" in row["numbers"]]
    place = {"dataset": facts["datasets"][0]["name"]}
    facts["rows"] = [rows[number % len(rows)] | place | {"method": f"method-{number}"} for number in range(MANY)]
    for number, row in enumerate(facts["rows"]):
        mr = row["numbers"]["mr"] | {"mean": number * 7919 % MANY / 10}
        row["numbers"] = row["numbers"] | {"mr": mr}
    Folder(site).write("site", facts)
    tab = opened.new_page()
    tab.goto((site / "index.html").as_uri())
    tab.wait_for_selector("#rows .tabulator-row")
    return median(tab.evaluate(SORT) for _ in range(OPENED))


def measured(experiment: str) -> list[Row]:
    """All of one experiment."""
    with tempfile.TemporaryDirectory() as folder, browser() as opened:
        site = Path(folder) / "site"
        peer = (Paths.tables(experiment) / PEER).resolve()
        seconds = run("site", experiment, "--out", str(site)), run("tables", experiment, "--only", "comparison")
        size = sum(path.stat().st_size for path in site.rglob("*") if path.is_file())
        views = (
            first_view(opened, site / "index.html", "#rows .tabulator-row"),
            first_view(opened, peer, "tbody tr"),
        )
        ordered = sorting(opened, site)
    facts = machine()
    return [
        Row(experiment, "build", "s", seconds[0], PEER, seconds[1], facts),
        Row(experiment, "size", "MiB", size / 2**20, PEER, peer.stat().st_size / 2**20, facts),
        Row(experiment, "first view", "ms", views[0], PEER, views[1], facts),
        Row(experiment, "sort of 1,000 rows", "ms", ordered, "", None, facts),
    ]


def main() -> None:
    """Measure, show and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", nargs="?", default="laptop")
    rows = measured(parser.parse_args().experiment)
    print_rows("The result site", rows)
    write_rows(RESULT, rows)


if __name__ == "__main__":
    main()
