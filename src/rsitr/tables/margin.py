"""What the dynamic margin of AMFMN (section III-D, Eq. 29) changes: triplet losses with and without it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rsitr.tables import significance
from rsitr.tables.alike import alike, config_of
from rsitr.tables.declared import Declared, rendered
from rsitr.tables.entries import Entry, command
from rsitr.tables.layout import Cell, Group, Note, Row, Sheet, Table, write
from rsitr.tables.view import ABSENT, View, seeds

OF_THE_MARGIN = frozenset({"margin", "margin_type", "beta", "prior", "prior_bleu", "negatives"})
"""Fields in which a method may differ from the one it is compared with."""
NEGATIVES = {"hardest": "largest violation", "most-similar": "highest score", "all": "all"}
COLUMNS = ("seeds", "mR", *significance.COLUMNS)
CAPTION = (
    "Test mR in percent, mean ± sample standard deviation over seeds, of methods that differ only in the margin of "
    "their triplet loss. γ: largest margin; β: its decay (AMFMN, Eq. 29); S: the prior similarity. Negative: which one "
    "of the batch a query is pushed away from; with a fixed margin the largest violation is the highest score. Δ mR: "
    f"against the fixed margin; {significance.METHOD}"
)


@dataclass(frozen=True)
class Family:
    """The entries of one method on one dataset that differ only in the margin."""

    fixed: Entry | None
    dynamic: tuple[Entry, ...]


def families(entries: Iterable[Entry]) -> Iterator[Family]:
    """Among entries of one dataset, those with a dynamic margin together with the matching one with a fixed margin."""
    for members in alike(entries, OF_THE_MARGIN):
        dynamic = tuple(entry for entry in members if config_of(entry)["margin_type"] == "dynamic")
        fixed = [entry for entry in members if config_of(entry)["margin_type"] == "fixed"]
        if dynamic:
            yield Family(fixed[0] if fixed else None, dynamic)


def describe(config: Mapping[str, Any]) -> str:
    """The margin of a configuration in words."""
    if config["margin_type"] == "fixed":
        return f"fixed {config['margin']:g}"
    bleu = config["prior_bleu"]
    prior = f"{bleu:g} BLEU-4 + {1 - bleu:g} METEOR" if config["prior"] == "paper" else config["prior"]
    return f"γ {config['margin']:g}, β {config['beta']:g}, S {prior}"


class _Margins:
    """The rows of an experiment."""

    def __init__(self, view: View):
        self.view = view
        self.families = {dataset: list(families(view.of(dataset))) for dataset in view.datasets}
        self.datasets = [dataset for dataset, found in self.families.items() if found]
        self.differences = significance.Differences(
            {
                (dataset, entry.method): significance.compare(*map(significance.recorded, (entry, family.fixed)))
                for dataset in self.datasets
                for family in self.families[dataset]
                for entry in family.dynamic
                if family.fixed and family.fixed.complete and entry.complete
            }
        )

    def methods(self) -> list[str]:
        """Methods of any family, in the experiment's order."""
        inside = {
            entry.method
            for found in self.families.values()
            for family in found
            for entry in (family.fixed, *family.dynamic)
            if entry
        }
        return [method for method in self.view.methods if method in inside]

    def cells(self, dataset: str, method: str) -> Iterator[Cell]:
        """Cells of a method in the columns of a dataset."""
        entry = self.view.entry(dataset, method)
        if not entry.runs:
            yield from [ABSENT] * len(COLUMNS)
            return
        yield seeds(entry)
        yield replace(self.view.value(entry, "mr"), bold=False)
        yield from self.differences.cells((dataset, method))

    def row(self, method: str) -> Row:
        """A method in all datasets."""
        entries = (self.view.entries.get((dataset, method)) for dataset in self.datasets)
        configs = [config_of(entry) for entry in entries if entry and entry.present]
        texts = dict.fromkeys(describe(config) for config in configs)
        notes = (Note(f"by dataset: {'; '.join(texts)}"),) if len(texts) > 1 else ()
        kind = Cell(next(iter(texts), ""), notes=notes)
        negatives = Cell(NEGATIVES[configs[0]["negatives"]] if configs else "")
        rule = bool(configs) and configs[0]["margin_type"] == "fixed"
        cells = (cell for dataset in self.datasets for cell in self.cells(dataset, method))
        return Row(method, (kind, negatives, *cells), rule)

    def table(self) -> Table:
        """The complete table."""
        groups = [Group(self.view.heading(dataset), COLUMNS) for dataset in self.datasets]
        caption = CAPTION if self.datasets else "No method of this experiment has a result with a dynamic margin."
        rows = tuple(self.row(method) for method in self.methods())
        return Table("Dynamic margin", caption, "method", (Group("", ("margin", "negative")), *groups), rows)


def build(view: View, out_dir: Path) -> list[Path]:
    """Write ``margin.csv``, ``.md``, ``.tex``, ``.html``, and ``margin.png``, the curves of the paper's Fig. 6."""
    from rsitr.figures.margin import draw

    sheet = Sheet(f"Margins of {view.name}", (_Margins(view).table(),), command(view.name))
    return [*write(sheet, out_dir / "margin"), draw(out_dir / "margin.png")]


TABLE = Declared(
    name="margin",
    made_from="records",
    files=lambda experiment: rendered("margin", "margin.png"),
    build=lambda material: build(material.view, material.out),
    caption="Triplet losses with a fixed margin and with the dynamic margin of AMFMN: test mR, the difference and its "
    "interval.",
)
