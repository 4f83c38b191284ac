"""What the dynamic margin of AMFMN (section III-D, Eq. 29) changes: triplet losses with and without it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from rsitr.tables import significance
from rsitr.tables.declared import Declared
from rsitr.tables.entries import Entry, alike, config_of
from rsitr.tables.layout import Cell, Group, Row, Table, noted, write_tables
from rsitr.tables.view import View, with_roles

OF_THE_MARGIN = frozenset({"margin", "margin_type", "beta", "prior", "prior_bleu", "negatives"})
"""Fields in which a method may differ from the one it is compared with."""
NEGATIVES = {"hardest": "largest violation", "most-similar": "highest score", "all": "all"}
LATE = "all_negatives_epochs"
COLUMNS = ("seeds", "mR", *significance.COLUMNS)
CAPTION = (
    "Test mR in percent, mean ± sample standard deviation over seeds, of methods that differ only in the margin of "
    "their triplet loss. γ: largest margin; β: its decay (AMFMN, Eq. 29); S: the prior similarity. Negatives: which of "
    "the batch a query is pushed away from; with a fixed margin the largest violation is the highest score. Δ mR: "
    f"against the fixed margin; {significance.METHOD}"
)


def families(entries: Iterable[Entry]) -> Iterator[tuple[Entry | None, list[Entry]]]:
    """Among entries of one dataset, the matching one with a fixed margin and those with a dynamic margin, if any."""
    for members in alike(entries, OF_THE_MARGIN):
        dynamic = [entry for entry in members if config_of(entry)["margin_type"] == "dynamic"]
        if dynamic:
            yield next((entry for entry in members if config_of(entry)["margin_type"] == "fixed"), None), dynamic


def describe(config: Mapping[str, Any]) -> str:
    """The margin of a configuration in words."""
    if config["margin_type"] == "fixed":
        return f"fixed {config['margin']:g}"
    bleu = config["prior_bleu"]
    prior = f"{bleu:g} BLEU-4 + {1 - bleu:g} METEOR" if config["prior"] == "paper" else config["prior"]
    return f"γ {config['margin']:g}, β {config['beta']:g}, S {prior}"


def negatives(entry: Entry) -> str:
    """The negatives that training used, and in which epochs: ``all for 5 of 10 epochs, then largest violation``."""
    config = config_of(entry)
    kind, late = NEGATIVES[config["negatives"]], config.get(LATE, 0)
    total = next((record.selection["epochs"] for record in entry.records if "epochs" in record.selection), None)
    if not late or kind == NEGATIVES["all"]:
        return kind
    if total is not None and total <= late:
        return NEGATIVES["all"]
    return f"all for {late}{'' if total is None else f' of {total}'} epochs, then {kind}"


def _by_dataset(texts: Mapping[str, str]) -> Cell:
    """One text, or the first with all of them as a footnote."""
    named = "; ".join(f"{dataset}: {text}" for dataset, text in texts.items())
    return noted(next(iter(texts.values()), ""), named if len({*texts.values()}) > 1 else "")


def _row(view: View, differences: significance.Differences, method: str, datasets: list[str], first: bool) -> Row:
    """A method in all datasets; a line is above the ``first`` of a family."""
    entries = {dataset: view.entry(dataset, method) for dataset in datasets}
    made = {dataset: entry for dataset, entry in entries.items() if config_of(entry)}
    margins = _by_dataset({dataset: describe(config_of(entry)) for dataset, entry in made.items()})
    schedule = _by_dataset({dataset: negatives(entry) for dataset, entry in made.items()})
    return Row(method, (margins, schedule, *differences.row(view, datasets, method, ["mr"])), first)


def _table(view: View) -> Table:
    """The methods of every family, the fixed margin first."""
    found = [family for dataset in view.datasets for family in families(view.of(dataset))]
    differences = significance.Differences(
        {
            (entry.dataset, entry.method, "mr"): (significance.recorded(entry), significance.recorded(fixed))
            for fixed, dynamic in found
            for entry in dynamic
            if fixed and fixed.complete and entry.complete
        }
    )
    members = [[entry for entry in (fixed, *dynamic) if entry] for fixed, dynamic in found]
    datasets = list(dict.fromkeys(entry.dataset for entry in chain(*members)))
    methods = list(dict.fromkeys(entry.method for entry in chain(*members)))
    firsts = {family[0].method for family in members}
    rows = (_row(view, differences, method, datasets, method in firsts) for method in methods)
    groups = (Group("", ("margin", "negatives")), *(Group(view.heading(dataset), COLUMNS) for dataset in datasets))
    caption = CAPTION if datasets else "No method of this experiment has a result with a dynamic margin."
    table = Table("Dynamic margin", caption, "method", groups, tuple(rows))
    return with_roles(table, [view.role(method) for method in methods])


def build(view: View, out_dir: Path) -> list[Path]:
    """Write ``margin.csv``, ``.md``, ``.tex``, ``.html``, and ``margin.png``, the curves of the paper's Fig. 6."""
    from rsitr.figures.margin import draw

    written = write_tables(f"Margins of {view.name}", [_table(view)], view.name, out_dir / "margin")
    return [*written, draw(out_dir / "margin.png")]


TABLE = Declared(
    "margin",
    lambda material: build(material.view, material.out),
    "Triplet losses with a fixed margin and with the dynamic margin of AMFMN: test mR, the difference and its "
    "interval.",
    others=("png",),
)
