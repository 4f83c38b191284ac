"""``rsitr scenes``: priors, the scene classifiers that methods start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from rsitr.cells import Layout, PriorSpec, read_json
from rsitr.cli.reported import reported
from rsitr.cli.show import show
from rsitr.errors import ParamsError
from rsitr.params import PriorId, load_params
from rsitr.scenes.record import read_prior
from rsitr.scenes.run import check_priors, run_prior, spec_of_prior, stale_prior

scenes = typer.Typer(help="Train scene classifiers for methods to start from.", no_args_is_help=True)


def _spec(prior: str | None, path: Path | None) -> PriorSpec:
    if path:
        return read_json(PriorSpec, path)
    parts = (prior or "").split("/")
    if len(parts) != 2:
        raise ParamsError("name a prior as EXPERIMENT/NAME, e.g. demo/all")
    params, wanted = load_params(), PriorId(*parts)
    check_priors(params, [wanted])
    return spec_of_prior(params, wanted)


@scenes.command("train")
@reported
def scenes_train(
    prior: Annotated[str | None, typer.Argument(metavar="[EXPERIMENT/NAME]", help="The prior, e.g. demo/all.")] = None,
    spec: Annotated[
        Path | None, typer.Option(help="A spec file instead of a prior of params.yaml (as Snakemake does).")
    ] = None,
) -> None:
    """Train one prior; continues a run that was interrupted."""
    expected = _spec(prior, spec)
    outcome = run_prior(expected)
    print(f"{expected.path}: {outcome.status}" + (f" ({outcome.reason})" if outcome.reason else ""))
    record = read_prior(expected.id)
    if record and record.accuracy is not None:
        print(f"accuracy {record.accuracy:.2f} % of {record.images['held_out']} images held out")
        print(Layout.prior_weights(expected.id))


@scenes.command("report")
@reported
def scenes_report(
    experiment: Annotated[str | None, typer.Argument(help="Default: the experiment that params.yaml chooses.")] = None,
) -> None:
    """The priors of an experiment: what they learned from, what was left out and why, how well they tell scenes."""
    params = load_params()
    name = experiment or params.experiment
    table = Table("prior", "state", "accuracy %", "images", "held out", "left out", title=f"Priors of {name}")
    for prior in params.priors(name):
        record = read_prior(prior)
        if record is None:
            table.add_row(prior.path, "missing")
            continue
        stale = stale_prior(spec_of_prior(params, prior))
        state = " ".join([record.outcome.status, *(["stale:", *stale] if stale else [])])
        accuracy = "" if record.accuracy is None else f"{record.accuracy:.2f}"
        counts = (str(record.images.get(part, "")) for part in ("train", "held_out"))
        reasons = [f"{count} {reason}" for reason, count in record.left_out.items()]
        table.add_row(
            prior.path, state, accuracy, *counts, escape("\n".join([*reasons, record.outcome.reason]).strip())
        )
    show(table)
