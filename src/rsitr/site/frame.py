"""Where a site is written, and the pages and scripts that every site has."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rsitr.errors import ParamsError
from rsitr.site.vendored import vendored

PAGES = Path(__file__).with_name("pages")
INDEX, TYPED = "index.html", "site.json"
SEARCH = ("core.js", "parts.js", "tower.js", "scene.js", "search.js", "start.js")
"""The scripts of a site that has the search page alone."""
SCRIPT = re.compile(r'<script defer src="(?:pages|vendor)/([^"]+)"></script>\n')
OWN = re.compile(r'(?:src|href)="pages/([^"]+)"')
"""What ``index.html`` loads of ``PAGES``, in this order: scripts and styles. A new page is one more script."""


@contextmanager
def rewritten(out: Path) -> Iterator[Path]:
    """A folder to write a site into, which takes the place of ``out`` once the block ends without an error.

    Raises ``ParamsError`` where ``out`` is not a site and not empty.
    """
    if out.exists() and not (out / TYPED).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise ParamsError(f"{out} is not a site: name a new folder, or one that a site was written to")
    staging, old = (out.with_name(f".{out.name}.{of}") for of in ("part", "old"))
    for left in (staging, old):  # by a build that was killed
        shutil.rmtree(left, ignore_errors=True)
    staging.mkdir(parents=True)
    yield staging
    if out.exists():
        out.rename(old)  # what is half removed would be no site to the next build
    staging.rename(out)
    shutil.rmtree(old, ignore_errors=True)


def copy_pages(out: Path, scripts: Sequence[str] = ()) -> None:
    """Write ``index.html``, which loads ``scripts`` or else all there are, and everything that it asks for."""
    text = (PAGES / INDEX).read_text(encoding="utf-8")
    if scripts:
        text = SCRIPT.sub(lambda found: found[0] if found[1] in scripts else "", text)
    (out / INDEX).write_text(text, encoding="utf-8")
    for path in (*(PAGES / name for name in OWN.findall(text)), *vendored()):
        target = out / path.parent.name / path.name
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(path, target)
