"""The command line: parse, call ``rsitr.pipeline``, print."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Column, Table

from rsitr import pipeline, report
from rsitr.cells import Layout, Outcome, Spec, read_spec
from rsitr.cli.captions import captions
from rsitr.cli.cells import cell_id
from rsitr.cli.data import data
from rsitr.cli.dedup import dedup
from rsitr.cli.examples import examples
from rsitr.cli.locate import attention, locate
from rsitr.cli.peder import peder
from rsitr.cli.pretrain import pretrain
from rsitr.cli.reported import reported
from rsitr.cli.scenes import scenes
from rsitr.cli.show import show
from rsitr.cli.two_stage import two_stage
from rsitr.errors import ParamsError
from rsitr.params import Params, load_params
from rsitr.schemas import write_schemas
from rsitr.two_stage.run import status_of_two_stages

app = typer.Typer(
    help="The reproducible benchmark of remote sensing image-text retrieval. Run from the folder with the Snakefile.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for name, commands in (("data", data), ("dedup", dedup), ("captions", captions), ("scenes", scenes), ("peder", peder)):
    app.add_typer(commands, name=name)
for command in (locate, attention, examples, pretrain, two_stage):
    app.command()(command)

CellArgument = Annotated[
    str | None, typer.Argument(metavar="[EXPERIMENT/DATASET/METHOD/SEED]", help="The cell, e.g. demo/scenes-a/vse/0.")
]
SpecOption = Annotated[
    Path | None, typer.Option(help="A spec file instead of a cell of params.yaml (as Snakemake does).")
]
ExperimentArgument = Annotated[str | None, typer.Argument(help="Default: the experiment that params.yaml chooses.")]


def _experiment(name: str | None) -> tuple[Params, str]:
    params = load_params()
    name = name or params.experiment
    return pipeline.open_params(params.model_dump() | {"experiment": params[name] and name}), name


def _spec(cell: str | None, path: Path | None) -> Spec:
    if path:
        return read_spec(path)
    wanted = cell_id(cell or "")
    params, _ = _experiment(wanted.experiment)
    pipeline.check_cell(params, wanted)
    return pipeline.spec_of(params, wanted)


def _say(spec: Spec, outcome: Outcome) -> None:
    print(f"{spec.cell.path}: {outcome.status}" + (f" ({outcome.reason})" if outcome.reason else ""))


@app.command()
@reported
def train(cell: CellArgument = None, spec: SpecOption = None) -> None:
    """Train one cell; continues a run that was interrupted."""
    expected = _spec(cell, spec)
    _say(expected, pipeline.run_cell_stage("train", expected))


@app.command()
@reported
def evaluate(cell: CellArgument = None, spec: SpecOption = None) -> None:
    """Evaluate a trained cell on its test split and write its record."""
    expected = _spec(cell, spec)
    _say(expected, pipeline.run_cell_stage("evaluate", expected))


@app.command()
@reported
def tables(
    experiment: ExperimentArgument = None,
    only: Annotated[
        report.TableName | None,
        typer.Option(help="A table, or a group of them: facts, records; default: all."),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse failed, missing and stale records.")] = False,
) -> None:
    """Build the tables and figures of an experiment from its records."""
    params, name = _experiment(experiment)
    for path in report.build(params, name, only=only, strict=strict):
        print(path)


@app.command()
@reported
def schemas() -> None:
    """Write the JSON schemas of params.yaml and of records, for editors and other programs."""
    for path in write_schemas():
        print(path)


@app.command()
@reported
def status(experiment: ExperimentArgument = None) -> None:
    """The expected matrix of cells, and two-stage retrieval by them: done, missing, skipped, failed, stale."""
    params, name = _experiment(experiment)
    rows = pipeline.status(params, name)
    table = Table(Column("cell", no_wrap=True), "state", "reason", title=pipeline.summary(rows))
    for cell, state, reason in rows:
        table.add_row(cell.path, state, escape(reason))
    for row in status_of_two_stages(pipeline.two_stage_specs(params, name)):
        table.add_row(*map(escape, row))
    show(table)


@app.command()
@reported
def retry(
    experiment: ExperimentArgument = None,
    failed: Annotated[
        bool, typer.Option("--failed", help="Cells that failed; training continues where it stopped.")
    ] = False,
    skipped: Annotated[
        bool, typer.Option("--skipped", help="Cells that were skipped, e.g. now that weights are here.")
    ] = False,
    cores: Annotated[int, typer.Option(help="Cores for Snakemake.")] = 2,
) -> None:
    """Run the failed or skipped cells of an experiment again, and only those, then its tables."""
    params, name = _experiment(experiment)
    states = {state for state, wanted in (("failed", failed), ("skipped", skipped)) if wanted}
    if not states:
        raise ParamsError("say which cells: --failed, --skipped or both")
    cells = pipeline.forget(params, name, states)
    print(f"{len(cells)} cells to run again")
    if cells:
        targets = [str(Layout.cell(cell) / "cell.json") for cell in cells]
        raise typer.Exit(pipeline.snakemake([*targets, f"results/tables/{name}/comparison.csv"], name, cores))
