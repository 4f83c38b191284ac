"""What GaLR's multivariate re-ranking (``rsitr.retrieval.rerank``) changes: every method with and without it."""

from __future__ import annotations

from itertools import chain

from rsitr.tables import significance
from rsitr.tables.declared import sheet
from rsitr.tables.layout import Group, Row, Table
from rsitr.tables.published import METRICS
from rsitr.tables.view import HEADERS, View, with_roles

PREFIX = "rr_"
"""Of the metrics, and of the column of ranks, after re-ranking."""
COLUMNS = ("seeds", *HEADERS.values(), *significance.COLUMNS)
CAPTION = (
    "Recall at K and mR on the test split in percent, mean ± sample standard deviation over seeds, of the lists as the "
    "method sorts them and, in the row below, after multivariate re-ranking of their first 30 items (Yuan et al. 2022, "
    "GaLR) by the share of the query in the scores of a candidate, by the candidate's place, and by the query's place "
    "in the list that the candidate retrieves in turn. It uses the scores of all queries of the test split. Δ mR: what "
    f"re-ranking adds; {significance.METHOD}"
)


def _table(view: View) -> Table:
    """Two rows for each method."""
    differences = significance.Differences(
        {
            (*pair, f"{PREFIX}mr"): (significance.recorded(entry, PREFIX), significance.recorded(entry))
            for pair, entry in view.entries.items()
            if entry.values(f"{PREFIX}mr")
        }
    )
    methods = [*chain(*view.by_role())]
    rows = (
        Row(label, differences.row(view, view.datasets, method, [prefix + name for name in METRICS]), rule=not prefix)
        for method in methods
        for label, prefix in ((method, ""), (f"{method}, re-ranked", PREFIX))
    )
    groups = tuple(Group(view.heading(dataset), COLUMNS) for dataset in view.datasets)
    table = Table("Re-ranking", CAPTION, "method", groups, tuple(rows))
    return with_roles(table, [view.role(method) for method in methods for _ in ("", PREFIX)])


TABLE = sheet(
    "reranking",
    "Re-ranking in {.name}",
    lambda material: [_table(material.view)],
    "Every method before and after the multivariate re-ranking of GaLR: test recalls, the difference in mR and "
    "its interval.",
)
