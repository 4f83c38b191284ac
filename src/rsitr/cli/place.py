"""Before an experiment runs: whether this place can compute it, and fetching the pretrained weights that it needs."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from rsitr.cli.common import ExperimentArgument, opened, show
from rsitr.params import load_params
from rsitr.pipeline.doctor import examine
from rsitr.pipeline.weights import obtain, wanted, write_receipt


def doctor(experiment: ExperimentArgument = None) -> None:
    """Check this place: executor, GPUs, torch, locks, clocks, disks, memory, limits; exits with 1 on a failure.

    Of a cluster it is the login node that is checked, and by `srun rsitr doctor` a node.
    """
    params = load_params()
    name = experiment or params.experiment
    checks = [*examine(name, params[name])]
    table = Table("check", "state", "found", "what to do", title=f"This place, for {name}")
    for check in checks:
        table.add_row(check.name, check.state, escape(check.found), escape(check.advice))
    show(table)
    if any(check.state == "failure" for check in checks):
        raise typer.Exit(1)


def weights(
    experiment: ExperimentArgument = None,
    needed: Annotated[
        bool, typer.Option("--needed", help="Only for what is to be computed, as Snakemake does before it.")
    ] = False,
) -> None:
    """Fetch the pretrained weights of an experiment into the caches that cells read; exits with 1 where one is missing.

    With `missing_weights: skip` in params.yaml it exits with 0, and cells without their weights are skipped.
    """
    from rsitr.pipeline.targets import Graph  # pandas and pyarrow, which other commands need not wait for

    params, name = opened(experiment)
    graph = Graph(params.model_dump() | {"experiment": name})
    items = [*graph.outdated, *graph.without_weights] if needed else [*graph.specs]
    needs = dict.fromkeys(need for item in items for need in wanted(graph.specs[item]))
    found = []
    for each in obtain(needs) if needs else ():
        found.append(each)
        print(f"{each.need}: {f'missing: {each.problem}' if each.problem else 'fetched' if each.fetched else 'here'}")
    write_receipt(name, found)
    counts = Counter("missing" if each.problem else "fetched" if each.fetched else "here" for each in found)
    told = ", ".join(f"{counts[state]} {state}" for state in ("here", "fetched", "missing"))
    print(f"pretrained weights of {name}: {told if needs else 'none needed'}")
    if counts["missing"] and params[name].missing_weights == "skip":
        print("what needs the missing ones will be skipped, as missing_weights in params.yaml says")
    elif counts["missing"]:
        print(
            f"put the missing ones where the messages say, or set experiments.{name}.missing_weights to skip in "
            "params.yaml to do without what needs them"
        )
        raise typer.Exit(1)
