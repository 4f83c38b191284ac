"""A page that searches a user's own pictures, or a scene: the search page of the site and nothing else."""

from __future__ import annotations

from pathlib import Path

from rsitr import __version__
from rsitr.progress import Progress
from rsitr.records.files import write_text
from rsitr.search.index import Index
from rsitr.search_page.searched import of_index, write_tower
from rsitr.site.frame import INDEX, SEARCH, TYPED, copy_pages, rewritten
from rsitr.site.pictures import write_small
from rsitr.site.scripts import Folder, as_script_json


def write(out: Path, index: Index, command: str) -> Path:
    """Write the page of an index into ``out``; returns the file to open.

    ``command`` is what makes it. The thumbnails are made here. Raises ``ParamsError`` where ``out`` is another folder
    that is not empty.
    """
    name = index.pictures.place.resolve().name or "pictures"
    with rewritten(out) as staging:
        folder = Folder(staging)
        found = of_index(folder, name, index)
        if found.tower:
            write_tower(folder)
        numbers = {} if found.tiles else _thumbnails(staging / "pictures" / name, index)
        folder.pack("pictures", {name: numbers})
        site = {
            "experiment": name,
            "made_by": f"rsitr {__version__}",
            "reproduce": command,
            "problems": [f"{lost}: {reason}" for lost, reason in index.lost.items()],
            "searched": [found.model_dump(mode="json")],
            "datasets": [],
            "rows": [],
        }
        folder.write("site", site)
        write_text(staging / TYPED, as_script_json(site) + "\n")
        copy_pages(staging, SEARCH)
    return out / INDEX


def _thumbnails(out: Path, index: Index) -> dict[str, int]:
    out.mkdir(parents=True)
    with index.pictures.opened(), Progress("thumbnails", len(index.names)) as progress:
        for number, name in enumerate(index.names):
            write_small(index.pictures.picture(name), out, number)
            progress.advance()
    return {name: number for number, name in enumerate(index.names)}
