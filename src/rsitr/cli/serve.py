"""``rsitr serve``: a site on this machine, whose search page asks a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def serve(
    folder: Annotated[Path, typer.Argument(help="What `rsitr search --site` or `rsitr site --search` has written.")],
    model: Annotated[
        str,
        typer.Option(help="What encoded the pictures, as `rsitr search` takes it. Default: the shipped one."),
    ] = "",
    weights: Annotated[str | None, typer.Option(help="Of open_clip:ARCHITECTURE: a file, or a tag.")] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 for a free one.")] = 8765,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> None:
    """Serve a site on 127.0.0.1, with a model that encodes what its search page is asked. Ctrl-C ends it."""
    from rsitr.external.models import open_model
    from rsitr.search.shipped import MODEL
    from rsitr.search_page.serve import HOST, server, site_at

    site_at(folder)  # before a model is loaded for nothing
    with server(folder, open_model(model or str(MODEL), weights, device), port) as running:
        print(f"open http://{HOST}:{running.server_address[1]}/#/search", flush=True)
        try:
            running.serve_forever()
        except KeyboardInterrupt:
            print("closed")
