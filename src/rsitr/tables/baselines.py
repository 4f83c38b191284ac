"""Is a method better than its baseline? The comparisons that params.yaml asks for, in mR, with significance."""

from __future__ import annotations

from collections.abc import Sequence

from rsitr.tables import significance
from rsitr.tables.declared import sheet
from rsitr.tables.layout import Group, Row, Table
from rsitr.tables.view import View, with_roles

COLUMNS = ("seeds", "mR", *significance.COLUMNS)
KINDS = {"": "", "dup_": ", identical captions counted"}
"""Prefix of metrics and ranks -> what its table is called."""
CAPTION = (
    "Test mR in percent, mean ± sample standard deviation over seeds. Δ mR: against the first row; "
    f"{significance.METHOD}"
)
COUNTED = " A caption identical to one of the image's own, or to one of an identical picture, counts as its own."


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
    rows = (
        Row(method, differences.row(view, datasets, method, [metric]), rule=place == 1)
        for place, method in enumerate((baseline, *methods))
    )
    groups = tuple(Group(view.heading(dataset), COLUMNS) for dataset in datasets)
    caption = CAPTION + (COUNTED if prefix else "") + view.of_synthetic()
    table = Table(f"Against {baseline}{KINDS[prefix]}", caption, "method", groups, tuple(rows))
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
