"""``rsitr search``: pictures of one's own, in words or by a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from rsitr.cli.common import show
from rsitr.errors import ParamsError

CACHE = Path("cache/search")
TOLD = 5
"""Pictures that cannot be read, which the command names."""


def search(
    place: Annotated[Path, typer.Argument(metavar="FOLDER", help="A folder of pictures, or the file of a scene.")],
    texts: Annotated[list[str] | None, typer.Argument(metavar="TEXT...", help="What to look for.")] = None,
    model: Annotated[
        str, typer.Option(help="As `rsitr assess` takes it. Default: the one that comes with rsitr, vse on RSICD.")
    ] = "",
    image: Annotated[list[Path] | None, typer.Option(help="A picture to look for; repeat for several.")] = None,
    weights: Annotated[str | None, typer.Option(help="Of open_clip:ARCHITECTURE: a file, or a tag.")] = None,
    count: Annotated[int, typer.Option("--top", min=1, help="Pictures to show for each query.")] = 10,
    page: Annotated[Path | None, typer.Option(help="Write the results with the pictures to this HTML file.")] = None,
    site: Annotated[
        Path | None, typer.Option(help="Write a page that searches the pictures in a browser into this folder.")
    ] = None,
    window: Annotated[int, typer.Option(min=16, help="Pixels of a window's side, in a scene.")] = 256,
    index: Annotated[Path | None, typer.Option(help="Folder of the index. Default: below cache/search.")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> None:
    """Find pictures by what they show. The first search encodes them; further ones encode what is new or changed."""
    from PIL import Image

    from rsitr.datasets.pictures import read_picture
    from rsitr.external.models import open_model
    from rsitr.records.files import write_text
    from rsitr.records.provenance import sha256_json
    from rsitr.search.index import Index
    from rsitr.search.page import Result
    from rsitr.search.page import page as page_of
    from rsitr.search.pictures import pictures_at
    from rsitr.search.shipped import MODEL

    if not texts and not image and not site:
        raise ParamsError("say what to look for: a text, or --image FILE; or write a page with --site FOLDER")
    pictures, encoder = pictures_at(place, window), open_model(model or str(MODEL), weights, device)
    key = sha256_json([str(place.resolve()), window, encoder.facts.kind, encoder.facts.weights.model_dump()])[:16]
    found = Index(index or CACHE / key, pictures, encoder).update()
    results = []
    if texts:
        hits = found.search(encoder.encode_texts(texts), count)
        results += [Result(text, each) for text, each in zip(texts, hits, strict=True)]
    if image:
        asked = [Image.fromarray(read_picture(path).rgb) for path in image]
        hits = found.search(encoder.encode_images(asked), count)
        results += [Result(path.name, each, picture) for path, each, picture in zip(image, hits, asked, strict=True)]
    for result in results:
        table = Table("", "cosine", "picture", title=escape(result.query))
        for place_of, hit in enumerate(result.hits, 1):
            table.add_row(str(place_of), f"{hit.score:.3f}", escape(hit.name))
        show(table)
    if page:
        write_text(page, page_of(pictures, len(found.names), encoder.facts.weights.location, results))
        print(page)
    if site:
        from rsitr.search_page.own import write

        print(f"open {write(site, found, f'rsitr search {place} --site {site}')}")
    print(f"{len(found.names):,} pictures of {place}, {found.new:,} of them new, {len(found.lost):,} unreadable")
    for name, reason in [*found.lost.items()][:TOLD]:
        print(f"unreadable: {name}: {reason}")
