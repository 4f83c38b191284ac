"""The tables and figures of an experiment, all of them or one, from what lies in the project; nothing needs torch."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Literal, get_args

from rsitr.cells import Layout
from rsitr.errors import StaleRecord
from rsitr.needs import peder_cells
from rsitr.overlap import built, found_copies, training_overlaps
from rsitr.params import Params
from rsitr.pipeline import cores, scenes_of_priors, spec_of, status, two_stage_specs
from rsitr.present import stale_parts
from rsitr.tables.entries import collect, command
from rsitr.two_stage.run import stale_two_stage, status_of_two_stages

GROUPS = {
    "facts": ("datasets", "ceiling", "splits", "mtgfe-table-1"),
    "records": (
        *("comparison", "baselines", "margin", "reranking", "selection", "prior-leak", "two-stage"),
        *("amfmn", "pir", "mtgfe", "peder"),
    ),
}
"""Tables that are made of the same: of the canonical tables, and of the records."""
TableName = Literal[
    "facts",
    "datasets",
    "ceiling",
    "splits",
    "mtgfe-table-1",
    "records",
    "comparison",
    "baselines",
    "margin",
    "reranking",
    "selection",
    "prior-leak",
    "two-stage",
    "amfmn",
    "pir",
    "mtgfe",
    "peder",
    "sources",
    "statistics",
    "dedup",
    "leakage",
]
"""A table, the tables of a paper, or a group of them."""
CELLS = Path("results/cells")


def build(params: Params, experiment: str, *, only: TableName | None = None, strict: bool = False) -> list[Path]:
    """Tables and figures of an experiment, or some of them.

    Those of ``GROUPS["records"]`` come from its records, ``sources`` from the source tables of the datasets, ``dedup``
    and ``leakage`` from the images that were compared, the others from the canonical tables. ``strict`` writes nothing
    from records unless all of them are of the present (``refuse``).
    """
    from rsitr.tables import ceiling, datasets, dedup, leakage, mtgfe_datasets, sources, splits

    wanted = {*get_args(TableName)} if only is None else {*GROUPS.get(only, (only,))}
    out, written = Layout.tables(experiment), []
    facts_of = built(params[experiment].datasets)
    compared = built([*params[experiment].datasets, *params[experiment].sources])
    copies = found_copies(params, experiment)
    if "sources" in wanted:
        written += sources.build(params[experiment].datasets, experiment, out)
    for name, facts in (("datasets", datasets), ("ceiling", ceiling), ("splits", splits)):
        if name in wanted:
            written += facts.build(facts_of, experiment, out)
    if "mtgfe-table-1" in wanted and mtgfe_datasets.concerns(params[experiment].methods):
        written += mtgfe_datasets.build(facts_of, experiment, out)
    if "dedup" in wanted:
        written += dedup.build(compared, copies, experiment, out)
    if "leakage" in wanted:
        written += leakage.build(compared, copies, experiment, out)
        written.append(leakage.write_training(training_overlaps(params, experiment), Layout.overlaps(experiment)))
    if "statistics" in wanted:
        from rsitr.tables import statistics  # nltk takes a second, which the others need not pay

        written += statistics.build(facts_of, experiment, out, min(2, cores()))
    if wanted & {*GROUPS["records"]}:
        if strict:
            refuse(params, experiment)
        written += _from_records(params, experiment, wanted)
    return written


def refuse(params: Params, experiment: str) -> None:
    """Raise ``StaleRecord`` when a cell or a two-stage retrieval is stale, failed or missing; skipped is an answer."""
    rows = [(cell.path, state, reason) for cell, state, reason in status(params, experiment)]
    rows += status_of_two_stages(two_stage_specs(params, experiment))
    wrong = [row for row in rows if row[1] not in ("ok", "skipped")]
    if wrong:
        lines = "\n".join(f"  {path}: {state}{f' ({reason})' if reason else ''}" for path, state, reason in wrong)
        raise StaleRecord(
            f"{len(wrong)} of {len(rows)} results of {experiment} are not of the present code, parameters and data:\n"
            f"{lines}\nRun `{command(experiment)}`, `rsitr retry --failed` for failed ones, or leave out strict"
        )


def _from_records(params: Params, experiment: str, wanted: Collection[str]) -> list[Path]:
    from rsitr.tables import (
        amfmn,
        baselines,
        comparison,
        leakage,
        margin,
        metrics,
        mtgfe,
        mtgfe_filter,
        paper_table,
        peder,
        pir,
        pir_curves,
        prior_leak,
        reranking,
        selection,
        two_stage,
    )
    from rsitr.tables.view import View

    out, written = Layout.tables(experiment), []
    stale = {cell: stale_parts(spec_of(params, cell)) for cell in params.cells(experiment)}
    path = Layout.overlaps(experiment)
    # As the table ``leakage`` wrote it down, so that a clone without data has it.
    overlaps = leakage.read_training(path) if path.is_file() else {}
    seen = View(experiment, params[experiment], collect(params, experiment, CELLS, stale, overlaps))
    stale_stages = {spec.id: stale_two_stage(spec) for spec in two_stage_specs(params, experiment)}
    series = two_stage.collect(params, experiment, stale_stages)
    if "comparison" in wanted:
        written += comparison.build(seen, out) + metrics.build(seen, out)
    tables = (("margin", margin), ("reranking", reranking), ("baselines", baselines), ("selection", selection))
    for name, table in tables:
        if name in wanted:
            written += table.build(seen, out)
    if "prior-leak" in wanted:
        written += prior_leak.build(seen, out, scenes_of_priors(params))
    for name, paper in (("amfmn", amfmn), ("pir", pir), ("mtgfe", mtgfe)):
        if name in wanted:
            written += paper_table.build(paper.TABLES, seen, out)
    if "pir" in wanted:
        written += pir_curves.build(seen, out)
    if "peder" in wanted:
        written += peder.build(seen, peder_cells(params, experiment), out)
    for name, of_stages in (("two-stage", two_stage), ("mtgfe", mtgfe_filter)):
        if name in wanted:
            written += of_stages.build(seen, series, out)
    return written
