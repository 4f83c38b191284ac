"""The curves of the papers, as data for Vega-Lite."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import mean
from typing import Any

import numpy as np

from rsitr.captions.margin import margin
from rsitr.figures.margin import BETA, BETAS, GAMMA, GAMMAS
from rsitr.pipeline.report import Material
from rsitr.site.models import Chart
from rsitr.site.scripts import Folder
from rsitr.tables import pir_curves, two_stage
from rsitr.tables.margin import families

POINTS = 101
Rows = list[dict[str, Any]]


def charts(material: Material, folder: Folder, series: Sequence[two_stage.Series]) -> list[Chart]:
    """Those of which there is data."""
    found = (
        ("margin", "AMFMN: the dynamic margin against the similarity (Eq. 29)", _margin(material)),
        ("pir-curves", "PIR: mR against settings", _settings(material)),
        ("two-stage", "MTGFE: two-stage retrieval by length of the shortlist", _two_stage(series)),
    )
    return [
        Chart(name=name, title=title, file=folder.pack(f"charts/{name}", panels))
        for name, title, each in found
        if (panels := [panel for panel in each if panel["rows"]])
    ]


def _panel(title: str, x: str, y: str, rows: Rows, **rest: Any) -> dict[str, Any]:
    return {"title": title, "x": x, "y": y, "rows": rows, **rest}


def _margin(material: Material) -> Iterator[dict[str, Any]]:
    """Both panels of the paper's Fig. 6, where the experiment has a dynamic margin."""
    if not any([*families(material.view.of(dataset))] for dataset in material.view.datasets):
        return
    s = np.linspace(0, 1, POINTS)
    axes = ("similarity S of caption and image", "margin α")
    for title, settings in (
        (f"γ = {GAMMA:g}", [(f"β = {beta:g}", GAMMA, beta) for beta in BETAS]),
        (f"β = {BETA:g}", [(f"γ = {gamma:g}", gamma, BETA) for gamma in GAMMAS]),
    ):
        curves = ((label, margin(s, gamma, beta).tolist()) for label, gamma, beta in settings)
        rows = [{"series": label, "x": x, "y": y} for label, ys in curves for x, y in zip(s.tolist(), ys, strict=True)]
        yield _panel(title, *axes, rows)


def _settings(material: Material) -> Iterator[dict[str, Any]]:
    for panel in pir_curves.panels(material.view):
        rows = [
            {"series": curve.label, "x": x, "y": mean(seeds), "published": curve.published}
            for curve in panel.curves
            for x, seeds in curve.points
        ]
        yield _panel("", panel.setting, "mR on the test split, %", rows, points=True)


def _two_stage(series: Sequence[two_stage.Series]) -> Iterator[dict[str, Any]]:
    for dataset, members in two_stage.by_dataset(series).items():
        found = [curve for each in members for curve in two_stage.curves(each)]
        mr = [
            {"series": curve.label, "x": k, "y": mean(seeds), "published": curve.published}
            for curve in found
            for k, seeds in zip(curve.lengths, curve.mr, strict=True)
        ]
        times = [
            {"series": f"{curve.label}, {direction}", "x": k, "y": value, "published": curve.published}
            for curve in found
            for direction, values in curve.milliseconds.items()
            for k, value in zip(curve.lengths, values, strict=True)
        ]
        title = f"{dataset} (synthetic)" if two_stage.synthetic(members) else dataset
        yield _panel(title, "length of the shortlist", "mR on the test split, %", mr, points=True, log=True)
        yield _panel(title, "length of the shortlist", "milliseconds a query", times, points=True, log=True)
