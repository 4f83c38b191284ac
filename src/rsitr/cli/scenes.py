"""``rsitr scenes``: priors, the scene classifiers that methods start from."""

from __future__ import annotations

from rich.markup import escape
from rich.table import Table

from rsitr.cli.common import Commands, ExperimentArgument, show
from rsitr.params import load_params
from rsitr.pipeline.freshness import Present
from rsitr.pipeline.specs import prior_spec
from rsitr.records.prior import read_prior

scenes = Commands(help="Train scene classifiers for methods to start from.", no_args_is_help=True)


@scenes.command("report")
def scenes_report(experiment: ExperimentArgument = None) -> None:
    """The priors of an experiment: what they learned from, what was left out and why, how well they tell scenes."""
    params = load_params()
    name, present = experiment or params.experiment, Present()
    table = Table("prior", "state", "accuracy %", "images", "held out", "left out", title=f"Priors of {name}")
    for prior in params.priors(name):
        record = read_prior(prior)
        if record is None:
            table.add_row(prior.path, "missing")
            continue
        stale = present.stale(prior_spec(params, prior))
        state = " ".join([record.outcome.status, *(["stale:", *stale] if stale else [])])
        accuracy = "" if record.accuracy is None else f"{record.accuracy:.2f}"
        counts = (str(record.images.get(part, "")) for part in ("train", "held_out"))
        reasons = [f"{count} {reason}" for reason, count in record.left_out.items()]
        why = escape("\n".join([*reasons, record.outcome.reason]).strip())
        table.add_row(prior.path, state, accuracy, *counts, why)
    show(table)
