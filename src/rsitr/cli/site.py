"""``rsitr site``: the results of an experiment as pages."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rsitr.cli.common import ExperimentArgument, opened

if TYPE_CHECKING:
    from rsitr.external.models import Encoder


def site(
    experiment: ExperimentArgument = None,
    out: Annotated[Path | None, typer.Option(help="Default: results/site/EXPERIMENT.")] = None,
    pictures: Annotated[
        bool,
        typer.Option("--pictures", help="With captions and small pictures of the datasets here; not to be passed on."),
    ] = False,
    search: Annotated[
        bool, typer.Option("--search", help="With a page that searches the test images of the datasets that are shown.")
    ] = False,
    external: Annotated[bool, typer.Option("--external", help="Add what `rsitr assess` has recorded.")] = False,
) -> None:
    """Build the result site of an experiment: pages that open without a server and without a network."""
    from rsitr.site.build import build  # pandas, which other commands need not wait for

    params, name = opened(experiment)
    built = build(params, name, out, pictures, _shipped() if search else None, external)
    for problem in built.problems:
        print(problem)
    print(f"open {built.page}")


def _shipped() -> Encoder:
    from rsitr.external.models import open_model
    from rsitr.search.shipped import MODEL

    return open_model(str(MODEL))
