"""The command line: parse, call ``rsitr.pipeline``, print."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Column, Table

from rsitr import __version__
from rsitr.cli.captions import captions
from rsitr.cli.cells import CellArgument, cell_id
from rsitr.cli.certify import certify
from rsitr.cli.data import data
from rsitr.cli.dedup import dedup
from rsitr.cli.examples import examples
from rsitr.cli.locate import attention, locate
from rsitr.cli.opened import ExperimentArgument, opened
from rsitr.cli.peder import peder
from rsitr.cli.pretrain import pretrain
from rsitr.cli.reported import reported
from rsitr.cli.scenes import scenes
from rsitr.cli.show import show
from rsitr.errors import ParamsError
from rsitr.pipeline.run import run as run_artefact
from rsitr.pipeline.snakemake import snakemake
from rsitr.pipeline.specs import artefacts, check_cell, find, spec_of
from rsitr.pipeline.status import forget, status_of, summary
from rsitr.records.cell import Spec
from rsitr.records.certificates import Ledger
from rsitr.records.schemas import write_schemas
from rsitr.tables.declared import GROUPS

app = typer.Typer(
    help="The reproducible benchmark of remote sensing image-text retrieval. Run from the folder with the Snakefile.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for name, commands in (("data", data), ("dedup", dedup), ("captions", captions), ("scenes", scenes), ("peder", peder)):
    app.add_typer(commands, name=name)
for command in (locate, attention, examples, pretrain, certify):
    app.command()(command)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """What holds for every command."""


def _spec(cell: str) -> Spec:
    wanted = cell_id(cell)
    params, _ = opened(wanted.experiment)
    check_cell(params, wanted)
    return spec_of(params, wanted)


@app.command()
@reported
def run(
    item: Annotated[
        str,
        typer.Argument(
            metavar="KIND/EXPERIMENT/...",
            help="A folder below results: cells/demo/scenes-a/vse/0, scenes/demo/clean, two_stage/... or peder/...",
        ),
    ],
) -> None:
    """Compute whatever of a cell, a prior, a two-stage retrieval or a study is not current, and write its record."""
    kind, _, rest = item.partition("/")
    if kind == Spec.kind:
        spec = _spec(rest)
        print(run_artefact(spec).say(spec))
        return
    params, _ = opened(rest.partition("/")[0])
    found = find(params, item)
    if found is None:
        counts = Counter(spec.kind for spec in artefacts(params, params.experiment))
        known = ", ".join(f"{kind}/... ({count})" for kind, count in counts.items())
        raise ParamsError(f"{item} is not part of {params.experiment}, which has {known}: see `rsitr status`")
    print(run_artefact(found).say(found))


@app.command()
@reported
def train(cell: CellArgument) -> None:
    """Train one cell; continues a run that was interrupted."""
    spec = _spec(cell)
    print(run_artefact(spec, ("train",)).say(spec))


@app.command()
@reported
def evaluate(cell: CellArgument) -> None:
    """Evaluate a trained cell on its test split and write its record."""
    spec = _spec(cell)
    print(run_artefact(spec, ("evaluate",)).say(spec))


@app.command()
@reported
def tables(
    experiment: ExperimentArgument = None,
    only: Annotated[
        str | None,
        typer.Option(help=f"A table, or a group of them: {', '.join(GROUPS)}; default: all."),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse failed, missing and stale records.")] = False,
) -> None:
    """Build the tables and figures of an experiment from its records."""
    from rsitr.pipeline import report  # pandas and matplotlib, which other commands need not wait for

    params, name = opened(experiment)
    for path in report.build(params, name, only=only, strict=strict):
        print(path)
    if left := report.missing_data(params, name, only):
        print(f"left as they are, since all or some of their data is not here: {', '.join(left)}")


@app.command()
@reported
def schemas() -> None:
    """Write the JSON schemas of params.yaml and of records, for editors and other programs."""
    for path in write_schemas():
        print(path)


@app.command()
@reported
def status(experiment: ExperimentArgument = None) -> None:
    """Every cell, prior, two-stage retrieval and study: done, missing, skipped, failed, stale."""
    params, name = opened(experiment)
    rows = status_of(params, name)
    table = Table(Column("result", no_wrap=True), "state", "reason", title=summary(rows))
    for row in rows:
        table.add_row(escape(row.spec.path), row.state, escape(row.reason))
    show(table)
    for problem in Ledger.read().problems:
        print(problem)


@app.command()
@reported
def retry(
    experiment: ExperimentArgument = None,
    failed: Annotated[bool, typer.Option("--failed", help="What failed; training continues where it stopped.")] = False,
    skipped: Annotated[
        bool, typer.Option("--skipped", help="What was skipped, e.g. now that weights are here.")
    ] = False,
    cores: Annotated[int, typer.Option(help="Cores for Snakemake.")] = 2,
) -> None:
    """Compute what failed or was skipped in an experiment again, and only that, then its tables."""
    params, name = opened(experiment)
    states = {state for state, wanted in (("failed", failed), ("skipped", skipped)) if wanted}
    if not states:
        raise ParamsError("say which: --failed, --skipped or both")
    chosen = forget(params, name, states)
    print(f"{len(chosen)} results to compute again")
    if chosen:
        targets = [str(spec.record_file) for spec in chosen]
        raise typer.Exit(snakemake([*targets, f"results/tables/{name}/comparison.csv"], name, cores))
