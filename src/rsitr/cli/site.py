"""``rsitr site``: the results of an experiment as pages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rsitr.cli.common import ExperimentArgument, opened


def site(
    experiment: ExperimentArgument = None,
    out: Annotated[Path | None, typer.Option(help="Default: results/site/EXPERIMENT.")] = None,
    pictures: Annotated[
        bool,
        typer.Option("--pictures", help="With captions and small pictures of the datasets here; not to be passed on."),
    ] = False,
) -> None:
    """Build the result site of an experiment: pages that open without a server and without a network."""
    from rsitr.site.build import build  # pandas, which other commands need not wait for

    params, name = opened(experiment)
    built = build(params, name, out, pictures)
    for problem in built.problems:
        print(problem)
    print(f"open {built.page}")
