"""The rows of the leaderboard, from the entries that the tables are made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from statistics import mean, stdev

from rsitr.methods import registry
from rsitr.params.ids import EXTERNAL
from rsitr.site.models import Number, PublishedRow, Row
from rsitr.tables.entries import Entry, config_of
from rsitr.tables.groups import PREFIXES, Compared
from rsitr.tables.published import METRICS, describe, discrepancy
from rsitr.tables.view import FORMS, View, averaged, incomparable

COSTS = {
    "train_s": "training, s",
    "evaluate_s": "evaluation, s",
    "params_m": "parameters, million",
    "inference_s": "one image and one caption, s",
}
"""What a method costs, as the records state it -> name and unit."""
CLOCK = ".2f"
"""How seconds of a stage are written."""


def row(view: View, entry: Entry, compared: Mapping[str, Compared]) -> Row:
    """A method on a dataset; ``compared`` by prefix of the metric."""
    method = entry.method.partition("@")[0]
    ours = entry.role != EXTERNAL
    return Row(
        dataset=entry.dataset,
        method=entry.method,
        base=method,
        family=registry()[method].module.rpartition(".")[2] if ours and method in registry() else "",
        backbone=_backbone(entry) if ours else "",
        role=entry.role or "",
        status=entry.status,
        reason="" if entry.complete else entry.reason,
        stale=entry.staleness,
        leaks=entry.leaks,
        trained_on=dict(entry.source_overlaps),
        seeds=len(entry.records),
        expected=len(entry.runs),
        ended=_ended(entry) if ours else "",
        numbers=_numbers(view, entry, compared),
        published=_published(entry),
        incomparable=incomparable(entry) if entry.key else "",
    )


def _backbone(entry: Entry) -> str:
    config = config_of(entry)
    return str(config.get("image_backbone") or config.get("model") or "")


def _ended(entry: Entry) -> str:
    if not entry.records or not entry.complete:
        return ""
    if not entry.trained:
        return "no training"
    found = Counter(str(record.selection.get("ended") or "") for record in entry.records)
    return "" if "" in found else ", ".join(f"{count} {how}" for how, count in found.most_common())


def _numbers(view: View, entry: Entry, compared: Mapping[str, Compared]) -> dict[str, Number]:
    """Every mean there is; none that would rest on a part of the seeds."""
    found = {}
    for prefix in PREFIXES:
        for name in METRICS:
            metric = prefix + name
            if values := entry.values(metric):
                found[metric] = _number(values, bold=view.value(entry, metric).bold)
        if f"{prefix}mr" in found and entry.method in compared[prefix].intervals:
            number = found[f"{prefix}mr"]
            number.low, number.high = compared[prefix].intervals[entry.method]
            number.group = compared[prefix].letters.get(entry.method, "")
    for cost in COSTS:
        if values := entry.values(cost):
            found[cost] = _number(values, FORMS.get(cost, CLOCK))
    return found


def _number(values: list[float], form: str = ".2f", bold: bool = False) -> Number:
    spread = stdev(values) if len(values) > 1 else None
    return Number(mean=mean(values), std=spread, text=averaged(values, form), best=bold)


def _published(entry: Entry) -> PublishedRow | None:
    if not entry.key:
        return None
    deltas = {metric: entry.delta(metric) for metric in METRICS}
    return PublishedRow(
        paper=entry.key.paper,
        text=describe(entry.key),
        values=dict(entry.published),
        wrong=discrepancy(entry.key, entry.dataset),
        deltas={metric: delta for metric, delta in deltas.items() if delta is not None},
    )
