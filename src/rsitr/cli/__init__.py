"""The command line: parse, call ``rsitr.pipeline``, print."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Column, Table

from rsitr import __version__
from rsitr.cli.assess import assess
from rsitr.cli.captions import captions
from rsitr.cli.common import CellArgument, Commands, ExperimentArgument, ExperimentOption, cell_id, opened, show
from rsitr.cli.data import data
from rsitr.cli.dedup import dedup
from rsitr.cli.peder import peder
from rsitr.cli.pictures import attention, examples, locate
from rsitr.cli.place import doctor, weights
from rsitr.cli.search import search
from rsitr.cli.serve import serve
from rsitr.cli.site import site
from rsitr.errors import ParamsError, RsitrError
from rsitr.params import load_params
from rsitr.params.ids import PRETRAINING, TuningId, pretraining_of
from rsitr.pipeline.freshness import Present
from rsitr.pipeline.litter import sweep_project
from rsitr.pipeline.process import warm_up
from rsitr.pipeline.rehearsal import MINUTES, figures, planned
from rsitr.pipeline.rehearsal import rehearse as rehearsed
from rsitr.pipeline.rehearsal import summary as rehearsal_summary
from rsitr.pipeline.run import run as run_artefact
from rsitr.pipeline.snakemake import PROFILE, snakemake
from rsitr.pipeline.specs import artefacts, check_cell, find, pretraining_spec, prior_spec, spec_of, tuning_spec
from rsitr.pipeline.status import forget, status_of, summary
from rsitr.progress import by_reason
from rsitr.records.cell import Spec
from rsitr.records.certificates import Ledger
from rsitr.records.prior import SceneRecord
from rsitr.records.schemas import write_schemas
from rsitr.tables.declared import GROUPS

app = Commands(
    help="The reproducible benchmark of remote sensing image-text retrieval. Commands work in the current folder, or "
    "in the project that RSITR_HOME names.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
scenes = Commands(help="Train scene classifiers for methods to start from.", no_args_is_help=True)
for name, commands in (("data", data), ("dedup", dedup), ("captions", captions), ("scenes", scenes), ("peder", peder)):
    app.add_typer(commands, name=name)
app.command(project="optional")(assess)
app.command(project="none")(search)
app.command(project="none", extra="search")(serve)
app.command(extra="site")(site)
for command in (locate, attention, examples, weights, doctor):
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


@app.command(project="none")
def init(folder: Annotated[Path, typer.Argument(help="A new folder, or one without a project.")]) -> None:
    """Lay out a project outside the repository: the graph, params.yaml, and nothing computed yet."""
    from rsitr.pipeline.project import lay_out

    print(f"{folder}: {len(lay_out(folder))} files; go there and run `snakemake --cores 2 all`")


def _spec(cell: str) -> Spec:
    wanted = cell_id(cell)
    params, _ = opened(wanted.experiment)
    check_cell(params, wanted)
    return spec_of(params, wanted)


@app.command()
def run(
    items: Annotated[
        list[str],
        typer.Argument(
            metavar="KIND/EXPERIMENT/...",
            help="Folders below results: cells/demo/scenes-a/vse/0, scenes/demo/clean, pretraining/..., tuning/..., "
            "two_stage/... or peder/...",
        ),
    ],
) -> None:
    """Compute whatever of cells, priors, pretrainings, tunings, two-stage retrievals or studies is not current.

    Several are computed one after another, on a CPU in forks of one process that has imported torch once. One that
    cannot be computed does not stop the others; the command then exits with 1.
    """
    if len(items) == 1:
        return _run(items[0])
    params = load_params()
    (experiment,) = items[0].split("/")[1:2] or [params.experiment]
    warm_up(params[experiment].threads, commands=False)
    errors = 0
    for item in items:
        try:
            _run(item)
        except RsitrError as error:
            errors += 1
            print(f"rsitr: {error}", file=sys.stderr)
    if errors:
        raise typer.Exit(1)


def _run(item: str) -> None:
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
def train(cell: CellArgument) -> None:
    """Train one cell; continues a run that was interrupted."""
    spec = _spec(cell)
    print(run_artefact(spec, ("train",)).say(spec))


@app.command()
def evaluate(cell: CellArgument) -> None:
    """Evaluate a trained cell on its test split and write its record."""
    spec = _spec(cell)
    print(run_artefact(spec, ("evaluate",)).say(spec))


@app.command()
def tune(
    tuning: Annotated[
        str, typer.Argument(metavar="EXPERIMENT/DATASET/METHOD", help="What to tune, e.g. demo/scenes-a/vse.")
    ],
) -> None:
    """Search for the settings of a method on a dataset by trials judged on val; continues one that was interrupted."""
    parts = tuning.split("/")
    if len(parts) != 3:
        raise ParamsError("name a tuning as EXPERIMENT/DATASET/METHOD, e.g. demo/scenes-a/vse")
    params, _ = opened(parts[0])
    spec = tuning_spec(params, TuningId(*parts))
    print(run_artefact(spec).say(spec))


@app.command(extra="site")
def tables(
    experiment: ExperimentArgument = None,
    only: Annotated[
        str | None, typer.Option(help=f"A table, or a group of them: {', '.join(GROUPS)}; default: all.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse failed, missing and stale records.")] = False,
    external: Annotated[
        bool, typer.Option("--external", help="Add what `rsitr assess` has recorded, in results/tables/NAME+external.")
    ] = False,
) -> None:
    """Build the tables and figures of an experiment from its records."""
    from rsitr.pipeline import report  # pandas and matplotlib, which other commands need not wait for

    params, name = opened(experiment)
    sweep_project()
    for path in report.build(params, name, only=only, strict=strict, external=external):
        print(path)
    if left := report.missing_data(params, name, only):
        print(f"left as they are, since all or some of their data is not here: {', '.join(left)}")


@app.command()
def schemas() -> None:
    """Write the JSON schemas of params.yaml and of records, for editors and other programs."""
    for path in write_schemas():
        print(path)


@app.command()
def status(experiment: ExperimentArgument = None) -> None:
    """Every cell, prior, pretraining, tuning, two-stage retrieval and study: done, missing, skipped, failed, stale."""
    params, name = opened(experiment)
    rows = status_of(params, name)
    table = Table(Column("result", no_wrap=True), "state", "reason", title=summary(rows))
    for row in rows:
        table.add_row(escape(row.spec.path), row.state, escape(row.reason))
    show(table)
    for problem in Ledger.read().problems:
        print(problem)


@app.command("verify")
def verify_command(experiment: ExperimentArgument = None) -> None:
    """Check that every file of an experiment is as it was written; exits with 1 where one is damaged.

    Nothing is changed. Each damage comes with the command that makes the file again.
    """
    from rsitr.pipeline.targets import Graph  # pandas and pyarrow, which other commands need not wait for
    from rsitr.pipeline.verify import verify

    params, name = opened(experiment)
    found = verify(Graph(params.model_dump() | {"experiment": name}))
    for damage in found.damages:
        print(damage)
    print(found.summary())
    if found.damages:
        raise typer.Exit(1)


@scenes.command("report")
def scenes_report(experiment: ExperimentArgument = None) -> None:
    """The priors of an experiment: what they learned from, what was left out and why, how well they tell scenes."""
    params = load_params()
    name, present = experiment or params.experiment, Present()
    table = Table("prior", "state", "accuracy %", "images", "held out", "left out", title=f"Priors of {name}")
    for prior in params.priors(name):
        spec = prior_spec(params, prior)
        record = SceneRecord.read(spec.record_file)
        if record is None:
            table.add_row(prior.path, "missing")
            continue
        stale = present.stale(spec)
        state = " ".join([record.outcome.status, *(["stale:", *stale] if stale else [])])
        accuracy = "" if record.accuracy is None else f"{record.accuracy:.2f}"
        counts = (str(record.images.get(part, "")) for part in ("train", "held_out"))
        reasons = [f"{count} {reason}" for reason, count in record.left_out.items()]
        why = escape("\n".join([*reasons, record.outcome.reason]).strip())
        table.add_row(prior.path, state, accuracy, *counts, why)
    show(table)


@app.command()
def retry(
    experiment: ExperimentArgument = None,
    failed: Annotated[bool, typer.Option("--failed", help="What failed; training continues where it stopped.")] = False,
    skipped: Annotated[
        bool, typer.Option("--skipped", help="What was skipped, e.g. now that weights are here.")
    ] = False,
    cores: Annotated[int | None, typer.Option(help="Cores for Snakemake; 2 without a profile.")] = None,
    profile: Annotated[
        str, typer.Option(envvar=PROFILE, help="Of Snakemake, such as workflow/profiles/slurm: where jobs run.")
    ] = "",
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
        raise typer.Exit(snakemake([*targets, f"results/tables/{name}/comparison.csv"], name, cores, profile))


@app.command(project="optional")
def pretrain(
    spec: Annotated[
        str,
        typer.Argument(
            help="EXPERIMENT/NAME of a pretraining in params.yaml, or a YAML file (see rsitr.pretraining.spec)."
        ),
    ],
) -> None:
    """Pre-train a CLIP model on webdataset shards in one process; continues a run that was interrupted.

    On several GPUs: torchrun --nproc-per-node N -m rsitr.pretraining FILE. Of a pretraining in params.yaml the file is
    checkpoints/pretraining/EXPERIMENT/NAME/spec.yaml, and this command then records the result.
    """
    path = Path(spec)
    is_file = path.exists() or path.suffix in (".yaml", ".yml", ".json")
    if not is_file and (named := pretraining_of(f"{PRETRAINING}://{spec}")):
        params, _ = opened(named.experiment)
        found = pretraining_spec(params, named)
        print(run_artefact(found).say(found))
        return
    from rsitr.pretraining.spec import load_spec

    wanted = load_spec(path)
    from rsitr.pretraining.loop import pretrain as train_clip  # torch, which a mistake need not wait for

    record = train_clip(wanted)
    left_out = by_reason(record.skipped)
    print(
        f"{wanted.out}: {record.steps} steps, loss {record.history[-1].loss:.4f}, "
        f"{record.samples_per_second:.1f} samples/s" + (f", left out: {left_out}" if left_out else "")
    )


@app.command()
def rehearse(
    experiment: ExperimentArgument = None,
    minutes: Annotated[float, typer.Option(min=0.1, help="That one configuration may take.")] = MINUTES,
    only: Annotated[
        list[str] | None, typer.Option(help="An item, as cells/demo/scenes-a/vse/0; several times.")
    ] = None,
) -> None:
    """Run a few steps of every configuration on this CPU, at real shapes, with made-up weights and drawn data.

    An interrupted run continues. Nothing is downloaded, and no result is touched.
    """
    params, name = opened(experiment)
    specs = planned(params, name, only or ())
    found = rehearsed(specs, minutes)
    reports = {report.item: report for report in found}
    columns = ("parameters", "peak MiB", "s", "s/step", "real steps", "h on this CPU")
    table = Table("configuration", "outcome", *(Column(each, justify="right") for each in columns))
    for spec in specs:
        if report := reports.get(spec.item):
            table.add_row(escape(spec.item), report.outcome.status, *figures(spec, report))
    show(table)
    print(rehearsal_summary(specs, found))
    if any(report.outcome.status == "failed" for report in found):
        raise typer.Exit(1)


@app.command()
def certify(
    base: Annotated[str, typer.Argument(help="The commit whose records are current, e.g. HEAD~3.")],
    experiment: ExperimentOption = None,
    workers: Annotated[int, typer.Option(help="Replays at a time.")] = 2,
    only: Annotated[
        list[str] | None, typer.Option(help="An item, as cells/demo/scenes-a/vse/0; several times.")
    ] = None,
    also: Annotated[list[str] | None, typer.Option(help="An item to replay as well, for what it runs.")] = None,
) -> None:
    """Replay what changed since BASE in both trees, and certify what computes the same numbers bit for bit.

    An interrupted run continues. The certificates are added to results/certificates.csv: commit it.
    """
    from rsitr.pipeline.certify import Certification
    from rsitr.pipeline.judging import summary as judged

    _, name = opened(experiment)
    verdicts, added = Certification(base, name, workers, only or (), also or ()).certify()
    print(judged(verdicts) if verdicts else f"nothing to certify: all code behind {name} is that of {base}")
    print(f"{added} certificates added")
    if any(verdict.state != "certified" for verdict in verdicts):
        raise typer.Exit(1)


@app.command()
def repeat(
    items: Annotated[list[str], typer.Argument(help="Cells or tunings, as cells/demo/scenes-a/vse/0.")],
) -> None:
    """Compute cells or tunings again, whole, and certify their configurations where they come out the same.

    For what `rsitr certify` refuses: one seed then stands for the others. Of a tuning, the last trial is run again.
    """
    from rsitr.pipeline.repeat import Repetition

    failed = False
    for item in items:
        repetition = Repetition(load_params(), item)
        if not repetition.changed:
            print(f"{item}: current, not repeated")
            continue
        repetition.run()
        if difference := repetition.difference():
            failed = True
            print(f"{item}: {difference}: what the change altered has to be computed again")
        else:
            print(f"{item}: the same, {repetition.certify()} certificates added")
    if failed:
        raise typer.Exit(1)
