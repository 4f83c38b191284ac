"""mR of PIR-ITR against the centre scale of its affiliation loss and the filter size of its hard belief."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from rsitr.figures import curves
from rsitr.records.cell import Published
from rsitr.tables.declared import Declared
from rsitr.tables.entries import alike, config_of
from rsitr.tables.pir import TABLE_4
from rsitr.tables.published import lookup
from rsitr.tables.view import View

METHODS = ("pir-itr-hard", "pir-itr-soft")
"""Those whose mR is drawn."""
SETTINGS = {"affiliation": "centre scale λ (Eq. 17)", "keep": "filter size K (Eq. 4)"}
"""Fields of a configuration and what the paper calls them."""


def _ours(view: View, field: str) -> Iterator[curves.Curve]:
    """The methods for which the matrix also has other values of a setting."""
    for dataset in view.datasets:
        for members in alike(view.of(dataset), {field}):
            points = {float(config_of(entry)[field]): tuple(entry.values("mr")) for entry in reversed(members)}
            known = tuple((value, seeds) for value, seeds in sorted(points.items()) if seeds)
            if len(known) > 1 and any(not entry.method.partition("@")[2] for entry in members):
                name = members[0].runs[0].cell.method_name
                yield curves.Curve(f"{name}, {view.heading(dataset)}", known)


def _published(keys: Sequence[Published], dataset: str) -> curves.Curve:
    """Table IV, the rows of the hard belief: ``k=10 hard``."""
    points = [(float(key.variant.split()[0].removeprefix("k=")), (lookup(key, dataset)["mr"],)) for key in keys]
    return curves.Curve(f"pir-itr-hard, {dataset}, published", tuple(sorted(points)), published=True)


def panels(view: View) -> list[curves.Panel]:
    """A panel for each setting, with the published curve where the experiment has its dataset."""
    panels = []
    for field, name in SETTINGS.items():
        found = list(_ours(view, field))
        keys = [row.published for row in TABLE_4.rows if row.published and row.published.variant.endswith("hard")]
        for dataset in TABLE_4.datasets if field == "keep" else ():
            if dataset in view.datasets and not view.synthetic(dataset):
                found.append(_published(keys, dataset))
        panels.append(curves.Panel(name, tuple(found)))
    return panels


def build(view: View, out_dir: Path) -> list[Path]:
    """Write ``pir-curves.png`` from the records."""
    return [curves.draw(f"{view.name}: mR against settings of PIR-ITR", panels(view), out_dir / "pir-curves.png")]


TABLE = Declared(
    "pir-curves",
    lambda material: build(material.view, material.out),
    "mR of PIR-ITR against the centre scale of its affiliation loss and the filter size of its hard belief.",
    concerns=lambda experiment: any(method.partition("@")[0] in METHODS for method in experiment.methods),
    listed=lambda experiment: ("pir-curves.png",),
)
