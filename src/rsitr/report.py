"""The tables and figures of an experiment, all of them or one, from what lies in the project; nothing needs torch."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from rsitr.cells import Layout
from rsitr.errors import StaleRecord
from rsitr.needs import peder_cells
from rsitr.overlap import built, found_copies, training_overlaps
from rsitr.params import Params
from rsitr.pipeline import cores, scenes_of_priors, spec_of, stale_parts, status, two_stage_specs
from rsitr.tables.entries import command
from rsitr.two_stage.run import stale_two_stage, status_of_two_stages

TableName = Literal[
    "comparison",
    "margin",
    "reranking",
    "baselines",
    "amfmn",
    "pir",
    "mtgfe",
    "peder",
    "selection",
    "prior-leak",
    "two-stage",
    "datasets",
    "statistics",
    "ceiling",
    "splits",
    "mtgfe-table-1",
    "sources",
    "dedup",
    "leakage",
]
FROM_RECORDS = (
    *("comparison", "margin", "reranking", "baselines", "selection", "prior-leak", "two-stage"),
    *("amfmn", "pir", "mtgfe", "peder"),
)
CELLS = Path("results/cells")


def build(params: Params, experiment: str, *, only: TableName | None = None, strict: bool = False) -> list[Path]:
    """Tables and figures of an experiment, or one of them.

    Those of ``FROM_RECORDS`` come from its records, ``sources`` from the source tables of the datasets, ``dedup`` and
    ``leakage`` from the images that were compared, the others from the canonical tables. ``strict`` writes nothing from
    records unless all of them are of the present (``refuse``).
    """
    from rsitr.tables import ceiling, datasets, dedup, leakage, mtgfe_datasets, sources, splits, statistics

    out, written = Layout.tables(experiment), []
    facts_of = built(params[experiment].datasets)
    compared = built([*params[experiment].datasets, *params[experiment].sources])
    copies = found_copies(params, experiment)
    if only in (None, "sources"):
        written += sources.build(params[experiment].datasets, experiment, out)
    for name, facts in (("datasets", datasets), ("ceiling", ceiling), ("splits", splits)):
        if only in (None, name):
            written += facts.build(facts_of, experiment, out)
    if only in (None, "mtgfe-table-1") and mtgfe_datasets.concerns(params[experiment].methods):
        written += mtgfe_datasets.build(facts_of, experiment, out)
    if only in (None, "dedup"):
        written += dedup.build(compared, copies, experiment, out)
    if only in (None, "leakage"):
        written += leakage.build(compared, copies, experiment, out)
        written.append(leakage.write_training(training_overlaps(params, experiment), Layout.overlaps(experiment)))
    if only in (None, "statistics"):
        written += statistics.build(facts_of, experiment, out, min(2, cores()))
    if only is None or only in FROM_RECORDS:
        if strict:
            refuse(params, experiment)
        written += _from_records(params, experiment, only)
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


def _from_records(params: Params, experiment: str, only: TableName | None) -> list[Path]:
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

    out, written = Layout.tables(experiment), []
    stale = {cell: stale_parts(spec_of(params, cell)) for cell in params.cells(experiment)}
    path = Layout.overlaps(experiment)
    # As the table ``leakage`` wrote it down, so that a clone without data has it.
    overlaps = leakage.read_training(path) if path.is_file() else {}
    if only in (None, "comparison"):
        written += comparison.build(params, experiment, CELLS, out, stale, overlaps)
        written += metrics.build(params, experiment, CELLS, out)
    tables = (("margin", margin), ("reranking", reranking), ("baselines", baselines), ("selection", selection))
    for name, table in tables:
        if only in (None, name):
            written += table.build(params, experiment, CELLS, out, stale, overlaps)
    if only in (None, "prior-leak"):
        written += prior_leak.build(params, experiment, CELLS, out, stale, overlaps, scenes_of_priors(params))
    for name, paper in (("amfmn", amfmn), ("pir", pir), ("mtgfe", mtgfe)):
        if only in (None, name):
            written += paper_table.build(paper.TABLES, params, experiment, CELLS, out, stale, overlaps)
    if only in (None, "pir"):
        written += pir_curves.build(params, experiment, CELLS, out, stale)
    if only in (None, "peder"):
        written += peder.build(params, experiment, peder_cells(params, experiment), CELLS, out, stale, overlaps)
    stale_stages = {spec.id: stale_two_stage(spec) for spec in two_stage_specs(params, experiment)}
    for name, of_stages in (("two-stage", two_stage), ("mtgfe", mtgfe_filter)):
        if only in (None, name):
            written += of_stages.build(params, experiment, out, stale_stages)
    return written
