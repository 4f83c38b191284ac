"""Is a method better than its baseline? The comparisons that params.yaml asks for, in mR, with significance."""

from __future__ import annotations

from collections.abc import Sequence

from rsitr.tables import amfmn, mtgfe, pir, significance
from rsitr.tables.declared import sheet
from rsitr.tables.layout import Cell, Group, Row, Table, noted
from rsitr.tables.published import discrepancy, lookup
from rsitr.tables.view import View, with_roles

COLUMNS = ("seeds", "mR", *significance.COLUMNS)
CLAIM = "published Δ mR"
PAPERS = (*amfmn.TABLES, *pir.TABLES, *mtgfe.TABLES)
"""In the order in which they are searched for a pair."""
KINDS = {"": "", "dup_": ", identical captions counted"}
"""Prefix of metrics and ranks -> what its table is called."""
CAPTION = (
    "Test mR in percent, mean ± sample standard deviation over seeds. Δ mR: against the first row; "
    f"{significance.METHOD}"
)
COUNTED = " A caption identical to one of the image's own, or to one of an identical picture, counts as its own."
OF_CLAIMS = f" The {CLAIM} is the same difference in a paper's table, whose backbones and training differ from these."


def claim(dataset: str, method: str, baseline: str) -> Cell:
    """By how much a paper's table has a method above a baseline in mR: on a dataset, or noted as being of another one.

    Empty if no table has both.
    """
    found: dict[str, Cell] = {}
    for table in (table for table in PAPERS if "mr" in table.printed):
        keys = {row.method: row.published for row in table.rows}
        if not (ours := keys.get(method)) or not (theirs := keys.get(baseline)):
            continue
        for printed_on in table.datasets:
            high, low = (lookup(key, printed_on, ("mr",)).get("mr") for key in (ours, theirs))
            if high is None or low is None or printed_on in found:
                continue
            place = f"{ours.paper} {ours.table}" + (f", on {printed_on}" if printed_on != dataset else "")
            doubts = (discrepancy(key, printed_on) for key in (ours, theirs))
            found[printed_on] = noted(f"{high - low:+.2f}", place, *filter(None, doubts))
    return found.get(dataset) or next(iter(found.values()), Cell())


def _against(view: View, baseline: str, methods: Sequence[str], prefix: str) -> Table:
    """A baseline, and below it the methods that are compared with it, by one kind of ranks."""
    metric = f"{prefix}mr"
    pairs = {(d, m): (view.entry(d, m), view.entry(d, baseline)) for d in view.datasets for m in methods}
    differences = significance.Differences(
        {
            (*pair, metric): (significance.recorded(ours, prefix), significance.recorded(theirs, prefix))
            for pair, (ours, theirs) in pairs.items()
            if ours.values(metric) and theirs.values(metric)
        }
    )
    datasets = [dataset for dataset in view.datasets if any(view.entry(dataset, m).runs for m in methods)]
    # Papers count no identical captions, and nothing of theirs stands next to numbers of synthetic data.
    compared = [] if prefix else [dataset for dataset in datasets if not view.synthetic(dataset)]
    printed = {dataset: [Cell(), *(claim(dataset, method, baseline) for method in methods)] for dataset in compared}
    claims = {dataset: cells for dataset, cells in printed.items() if any(cell.text for cell in cells)}
    rows = []
    for place, method in enumerate((baseline, *methods)):
        cells: list[Cell] = []
        for dataset in datasets:
            cells += differences.row(view, [dataset], method, [metric])
            cells += [claims[dataset][place]] if dataset in claims else []
        rows.append(Row(method, tuple(cells), rule=place == 1))
    groups = [Group(view.heading(dataset), (*COLUMNS, *([CLAIM] if dataset in claims else []))) for dataset in datasets]
    caption = CAPTION + (COUNTED if prefix else "") + (OF_CLAIMS if claims else "") + view.of_synthetic()
    table = Table(f"Against {baseline}{KINDS[prefix]}", caption, "method", tuple(groups), tuple(rows))
    return with_roles(table, [view.role(method) for method in (baseline, *methods)])


TABLE = sheet(
    "baselines",
    "Methods of {.name} against their baselines",
    lambda material: [
        _against(material.view, baseline, methods, prefix)
        for baseline, methods in material.view.experiment.baselines.items()
        for prefix in KINDS
    ],
    "Methods next to the baseline that params.yaml names: test mR, the difference and its interval by paired "
    "bootstrap, with and without identical captions counted.",
    concerns=lambda experiment: experiment.baselines,
)
