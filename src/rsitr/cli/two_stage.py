"""``rsitr two-stage``: retrieval by two trained cells, shortlist and re-rank."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from rsitr import pipeline
from rsitr.cells import read_json
from rsitr.cli.reported import reported
from rsitr.cli.show import show
from rsitr.errors import ParamsError
from rsitr.params import load_params
from rsitr.two_stage.record import TwoStageRecord, TwoStageSpec, Way, read_two_stage
from rsitr.two_stage.run import run_two_stage

FORM = "EXPERIMENT/DATASET/SCORER/FILTER/SEED"


def _spec(name: str | None, path: Path | None) -> TwoStageSpec:
    if path:
        return read_json(TwoStageSpec, path)
    params, experiment = load_params(), (name or "").partition("/")[0]
    if (name or "").count("/") != 4:
        raise ParamsError(f"name a two-stage retrieval as {FORM}")
    params = pipeline.open_params(params.model_dump() | {"experiment": params[experiment] and experiment})
    specs = {spec.id.path: spec for spec in pipeline.two_stage_specs(params, experiment)}
    if name not in specs:
        known = ", ".join(specs) or "none"
        raise ParamsError(f"unknown two-stage retrieval {name!r}: experiments.{experiment}.two_stage has {known}")
    return specs[name]


def _shown(record: TwoStageRecord) -> Table:
    table = Table("shortlist", "mR", "i2t ms", "t2i ms", title=record.id.path)

    def add(label: str, way: Way | None) -> None:
        if way:
            times = (f"{1000 * seconds:.2f}" for seconds in (way.seconds.i2t, way.seconds.t2i))
            table.add_row(label, f"{way.metrics['mr']:.2f}", *times)

    add(f"all, by {record.scorer}", record.exhaustive)
    for point in record.points:
        add(str(point.k), point)
    add(f"none, by {record.filter}", record.filtered)
    return table


@reported
def two_stage(
    name: Annotated[str | None, typer.Argument(metavar=f"[{FORM}]", help="Two cells, as params.yaml has them.")] = None,
    spec: Annotated[Path | None, typer.Option(help="A spec file instead (as Snakemake does).")] = None,
) -> None:
    """Shortlist by one trained cell, re-rank by another, and record recalls and times at every shortlist length."""
    expected = _spec(name, spec)
    outcome = run_two_stage(expected)
    print(f"{expected.path}: {outcome.status}" + (f" ({outcome.reason})" if outcome.reason else ""))
    record = read_two_stage(expected.id)
    if record and record.points:
        show(_shown(record))
