"""``rsitr certify``: keep records current over a change of code that changes no number."""

from __future__ import annotations

from typing import Annotated

import typer

from rsitr.cli.opened import opened
from rsitr.cli.reported import reported


@reported
def certify(
    base: Annotated[str, typer.Argument(help="The commit whose records are current, e.g. HEAD~3.")],
    experiment: Annotated[str | None, typer.Option(help="Of params.yaml [the chosen one].")] = None,
    workers: Annotated[int, typer.Option(help="Replays at a time.")] = 2,
    only: Annotated[
        list[str] | None, typer.Option(help="An item, as cells/demo/scenes-a/vse/0; several times.")
    ] = None,
    also: Annotated[list[str] | None, typer.Option(help="An item to replay as well, for what it runs.")] = None,
) -> None:
    """Replay what changed since BASE in both trees, and certify what computes the same numbers bit for bit.

    An interrupted run continues. The certificates are added to results/certificates.csv: commit it.
    """
    from rsitr.pipeline.certify import certify as run
    from rsitr.pipeline.judging import summary

    _, name = opened(experiment)
    verdicts, added = run(base, name, workers, only or (), also or ())
    print(summary(verdicts) if verdicts else f"nothing to certify: all code behind {name} is that of {base}")
    print(f"{added} certificates added")
    if any(verdict.state != "certified" for verdict in verdicts):
        raise typer.Exit(1)
