"""Entries as a reader's tables: a row for each method, datasets side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import mean, multimode, stdev
from typing import get_args

from rsitr.params import Experiment
from rsitr.params.ids import EXTERNAL, MAIN, OFFICIAL, Role
from rsitr.tables.entries import NOT_EXPECTED, Entries, Entry
from rsitr.tables.layout import Cell, Group, Note, Table, labelled, noted
from rsitr.tables.published import METRICS

HEADERS = {metric: "mR" if metric == "mr" else metric.replace("_r", " R@") for metric in METRICS}
FORMS = dict.fromkeys(("encode_s", "score_s"), ".3f") | {"params_m": "g"}
FORMS |= dict.fromkeys(
    ("inference_s", "inference_time_s", "cosine_matched", "cosine_unmatched", "two_encoders_s"), ".4f"
)
"""How to write numbers that are not percentages; percentages have two decimals."""
UNRANKED = frozenset({"params_m", "cosine_matched", "cosine_unmatched"})
"""Numbers without a best one."""
ROLES = (*get_args(Role), EXTERNAL)
"""In the order of tables."""
BOLD = (
    " Bold: best of the column, among two or more rows of role main with all their seeds and no fewer than most main "
    "rows here have on the dataset (any number without training)."
)
"""What a caption says where a row may be the best of a column."""
ABSENT = noted("–", NOT_EXPECTED)


def is_time(metric: str) -> bool:
    """Whether a number is in seconds, so that less is better."""
    return metric.endswith("_s")


def best_of(values: Sequence[float], metric: str) -> str:
    """The best value of a column as printed; empty if there is none."""
    if not values or metric in UNRANKED:
        return ""
    return written(min(values) if is_time(metric) else max(values), metric)


def written(value: float, metric: str) -> str:
    """A value as printed."""
    return format(value, FORMS.get(metric, ".2f"))


def averaged(values: Sequence[float], form: str = ".2f") -> str:
    """``mean ± sample standard deviation``; one value has no deviation. A sign in ``form`` is for the mean alone."""
    spread = f" ± {stdev(values):{form.removeprefix('+')}}" if len(values) > 1 else ""
    return f"{mean(values):{form}}{spread}"


def absent(entry: Entry) -> Cell:
    """What replaces the numbers of an entry without runs."""
    return noted("NA", entry.reason) if entry.status == "not rebuilt" else ABSENT


def seeds(entry: Entry) -> Cell:
    """How many seeds are behind the numbers of an entry: ``3``, or ``2/3`` if one of them has none."""
    if not entry.runs:
        return absent(entry)
    return Cell(str(len(entry.runs)) if entry.complete else f"{len(entry.records)}/{len(entry.runs)}")


def with_roles(table: Table, roles: Sequence[str], place: int = 0) -> Table:
    """The table with the role of each row, at a place among the columns that describe it, unless all are main."""
    if {*roles} <= {"", MAIN}:
        return table
    first, *others = (Group("", ()), *table.groups) if table.groups[0].title else table.groups
    columns = (*first.columns[:place], "role", *first.columns[place:])
    rows = (
        replace(row, cells=(*row.cells[:place], Cell(role), *row.cells[place:]))
        for row, role in zip(table.rows, roles, strict=True)
    )
    return replace(table, groups=(replace(first, columns=columns), *others), rows=tuple(rows))


def incomparable(entry: Entry) -> str:
    """Why an entry is not compared with its published row; empty if it is."""
    return f"not comparable with the published value: {'; '.join(entry.deviations)}" if entry.deviations else ""


def _marks(entry: Entry, metric: str) -> tuple[Note, ...]:
    leaks = "" if is_time(metric) else entry.leaks
    return tuple(Note(text, symbol) for text, symbol in ((entry.staleness, "†"), (leaks, "‡")) if text)


class View:
    """The entries of an experiment, with all its methods or with those of a table."""

    def __init__(self, name: str, experiment: Experiment, entries: Entries, methods: Sequence[str] | None = None):
        self.name, self.experiment, self.entries = name, experiment, entries
        self.title, self.datasets = experiment.title, experiment.datasets
        self.methods = experiment.methods if methods is None else methods
        self._best: dict[tuple[str, str], str] = {}

    def entry(self, dataset: str, method: str) -> Entry:
        """A pair of the matrix, or an entry without runs."""
        return self.entries.get((dataset, method)) or Entry(dataset, method)

    def of(self, dataset: str) -> list[Entry]:
        """Entries of a dataset in the order of the methods."""
        return [self.entries[dataset, method] for method in self.methods if (dataset, method) in self.entries]

    def role(self, method: str) -> str:
        """What a method is there for: ``main``, or ``main (ucm), sweep (rsicd)``; empty if it is not."""
        found: dict[str, list[str]] = {}
        for dataset in self.datasets:
            if role := self.entry(dataset, method).role:
                found.setdefault(role, []).append(dataset)
        named = [f"{role} ({', '.join(found[role])})" for role in ROLES if role in found]
        return ", ".join(named if len(found) > 1 else found)

    def by_role(self) -> list[list[str]]:
        """The methods of each role, main ones first; one with several is where the first of them is."""
        groups: dict[str, list[str]] = {role: [] for role in ROLES}
        for method in self.methods:
            groups[self.role(method).partition(" ")[0] or MAIN].append(method)
        return [methods for methods in groups.values() if methods]

    def synthetic(self, dataset: str) -> bool:
        """Whether any record says that the dataset is generated."""
        return any(record.data.get("synthetic") for entry in self.of(dataset) for record in entry.present)

    def heading(self, dataset: str) -> str:
        """The dataset, labelled if synthetic."""
        return labelled(dataset, self.synthetic(dataset))

    def best(self, dataset: str, metric: str) -> str:
        """The best mean of a column as printed; empty when nothing is to be compared."""
        if (dataset, metric) not in self._best:
            seeds, entries = self.usual_seeds(dataset), self.of(dataset)
            means = [mean(e.values(metric)) for e in entries if e.values(metric) and e.competes(seeds)]
            self._best[dataset, metric] = best_of(means, metric) if len(means) > 1 else ""
        return self._best[dataset, metric]

    def usual_seeds(self, dataset: str) -> int:
        """How many seeds most main entries of a dataset are to have; the larger of two numbers as frequent."""
        found = [len(entry.runs) for entry in self.of(dataset) if entry.role == MAIN]
        return max(multimode(found), default=0)

    def value(self, entry: Entry, metric: str) -> Cell:
        """mean ± std, marked if stale or if test images leak, or NA with the reason."""
        if not entry.runs:
            return absent(entry)
        values = entry.values(metric)
        if not values:
            return noted("NA", entry.unavailable(metric))
        contends = entry.competes(self.usual_seeds(entry.dataset))
        best = contends and written(mean(values), metric) == self.best(entry.dataset, metric)
        return Cell(averaged(values, FORMS.get(metric, ".2f")), best, _marks(entry, metric))

    def plain(self, entry: Entry, metric: str) -> Cell:
        """``value`` where nothing is the best of a column."""
        return replace(self.value(entry, metric), bold=False)

    def difference(self, entry: Entry, metric: str) -> Cell:
        """Mean minus published value, or why there is no difference."""
        if not entry.runs:
            return self.value(entry, metric)
        if entry.deviations:
            return noted("n/c", incomparable(entry))
        delta = entry.delta(metric)
        return self.value(entry, metric) if delta is None else Cell(f"{delta:+.2f}", notes=_marks(entry, metric))

    def of_synthetic(self) -> str:
        """A sentence for a caption: which data is synthetic; empty if none."""
        found = [dataset for dataset in self.datasets if self.synthetic(dataset)]
        return f" Synthetic data ({', '.join(found)}): not comparable with any published number." if found else ""

    def of_splits(self) -> str:
        """A sentence for a caption: which cells have other splits than the official; empty if none has."""
        found: dict[str, dict[str, None]] = {}
        for entry in (entry for dataset in self.datasets for entry in self.of(dataset)):
            if entry.clean and entry.clean.split_protocol != OFFICIAL:
                found.setdefault(entry.clean.split_protocol, {})[entry.method] = None
        named = "; ".join(f"{protocol}: {', '.join(methods)}" for protocol, methods in found.items())
        return f" Train and val by another split protocol than the official one: {named}." if named else ""

    def of_uncounted(self) -> str:
        """A sentence for a caption: where near duplicates were not searched for; empty if they were everywhere."""
        found = [d for d in self.datasets if any(e.trained and e.overlap is None for e in self.of(d))]
        train = f" Near duplicates of test images in train were not counted for {', '.join(found)}." if found else ""
        priors = (
            (d, name, overlap) for d in self.datasets for e in self.of(d) for name, overlap in e.prior_overlaps.items()
        )
        unknown = dict.fromkeys(f"{name} ({d})" for d, name, overlap in priors if overlap is None)
        what = " Near duplicates of test images in what priors learned from were not counted for "
        return train + (f"{what}{', '.join(unknown)}." if unknown else "") + self._of_external()

    def _of_external(self) -> str:
        """What is not known of the training of external rows."""
        rows = [entry for dataset in self.datasets for entry in self.of(dataset) if entry.role == EXTERNAL]
        unsaid = dict.fromkeys(entry.method for entry in rows if not entry.source_overlaps)
        unknown = dict.fromkeys(
            f"{name} ({e.method} on {e.dataset})" for e in rows for name, n in e.source_overlaps.items() if n is None
        )
        said = f" Nothing is known of what {', '.join(unsaid)} learned from." if unsaid else ""
        return said + (
            f" Near duplicates of test images in train of these were not counted: {', '.join(unknown)}."
            if unknown
            else ""
        )
