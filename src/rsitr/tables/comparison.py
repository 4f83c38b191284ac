"""The comparison table of an experiment: methods x datasets, built from the expected matrix and never from a glob.

A number in it is a mean over all the seeds that params.yaml asks for, or it is NA with the reason.
"""

from __future__ import annotations

import csv
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import mean, stdev

from rsitr.cells import Published, Record, read_record
from rsitr.errors import StaleRecord
from rsitr.params import CellId, Params
from rsitr.tables.layout import Cell, Group, Note, Row, Sheet, Table, write
from rsitr.tables.published import METRICS, describe, discrepancy, lookup

HEADERS = {metric: "mR" if metric == "mr" else metric.replace("_r", " R@") for metric in METRICS}
LONG_COLUMNS = (
    *("table", "dataset", "method", "variant", "metric", "seeds"),
    *("mean", "std", "published", "delta", "status", "reason", "overlap"),
)
BASELINE = "chance"
"""Never the best of a column: it knows nothing."""
ABSENT = Cell("–", notes=(Note("not part of this experiment"),))
Overlaps = Mapping[str, tuple[int, int] | None]


def command(experiment: str) -> str:
    """The command that makes every result of an experiment again."""
    return f"snakemake --cores 8 all --config experiment={shlex.quote(experiment)}"


@dataclass(frozen=True)
class Run:
    """One expected cell: its record, or None before the first run, and what is stale about it."""

    cell: CellId
    record: Record | None
    stale: list[str]

    @property
    def status(self) -> str:
        """ok, skipped, failed or missing."""
        return self.record.outcome.status if self.record else "missing"

    @property
    def staleness(self) -> str:
        """``made by other code and data than the present``; empty for a fresh record."""
        return f"made by other {' and '.join(self.stale)} than the present" if self.stale else ""

    @property
    def reason(self) -> str:
        """Why there is no number; empty when there is one."""
        if self.record is None:
            return "not run yet"
        if self.status == "ok":
            return ""
        reason = f"{self.status}: {' '.join(self.record.outcome.reason.split())}"
        return reason + (f" (record {self.staleness})" if self.stale else "")


@dataclass(frozen=True)
class Entry:
    """A method on a dataset: what its seeds give together."""

    dataset: str
    method: str
    runs: tuple[Run, ...]
    overlap: tuple[int, int] | None = None
    """Test images of the dataset with a near duplicate in train, and all of them; None where that is not known."""

    @cached_property
    def records(self) -> list[Record]:
        """Records of the seeds that ended well."""
        return [record for record in self.present if record.outcome.status == "ok"]

    @cached_property
    def present(self) -> list[Record]:
        """Records there are, however their cells ended."""
        return [run.record for run in self.runs if run.record]

    @property
    def complete(self) -> bool:
        """Whether every seed that the matrix asks for has its number."""
        return len(self.records) == len(self.runs)

    @property
    def status(self) -> str:
        """ok, stale, incomplete, or what happened to every seed: skipped, failed, missing (the worst, if mixed)."""
        if self.complete:
            return "stale" if self.staleness else "ok"
        found = {run.status for run in self.runs}
        return "incomplete" if "ok" in found else next(s for s in ("failed", "missing", "skipped") if s in found)

    @property
    def reason(self) -> str:
        """Why the entry is NA, with the seeds where they differ; empty when complete."""
        return self._by_seed({run.cell.seed: run.reason for run in self.runs})

    @property
    def staleness(self) -> str:
        """Which part of the numbers no longer describes the present; empty when none."""
        return self._by_seed({run.cell.seed: run.staleness for run in self.runs})

    @staticmethod
    def _by_seed(texts: dict[int, str]) -> str:
        if len(set(texts.values())) == 1:
            return next(iter(texts.values()))
        seeds: dict[str, list[str]] = {}
        for seed, text in texts.items():
            seeds.setdefault(text, []).append(str(seed))
        return "; ".join(
            f"seed{'s' if len(group) > 1 else ''} {', '.join(group)}: {text}" for text, group in seeds.items() if text
        )

    def unavailable(self, metric: str) -> str:
        """Why a metric is NA; empty when it has a mean."""
        return "" if self.values(metric) else self.reason or "not stated in the records"

    def values(self, metric: str) -> list[float]:
        """One value per seed, in percent; empty where the mean would rest on fewer seeds than expected."""
        values = [record.metrics[metric] for record in self.records if metric in record.metrics]
        return values if len(values) == len(self.runs) else []

    @property
    def trained(self) -> bool:
        """Whether anything was learned from the dataset's train split."""
        return any(record.parameters.get("trainable") for record in self.records)

    @property
    def leaks(self) -> str:
        """How much of the test split was seen in training; empty when nothing, or when that is not known."""
        images, of = self.overlap if self.trained and self.overlap else (0, 0)
        return f"{images:,} of {of:,} test images with a near duplicate in train (rule copies)" if images else ""

    @cached_property
    def deviations(self) -> list[str]:
        """Where the configuration differs from the published one."""
        return list(dict.fromkeys(text for record in self.present for text in record.deviations))

    @cached_property
    def key(self) -> Published | None:
        """The published row that stands beside this entry; synthetic data has none."""
        keys = (record.published for record in self.present if not record.data.get("synthetic"))
        return next((key for key in keys if key and lookup(key, self.dataset)), None)

    @cached_property
    def published(self) -> dict[str, float]:
        """Published recalls and mR, in percent; empty where there are none for this dataset."""
        return lookup(self.key, self.dataset) if self.key else {}

    def delta(self, metric: str) -> float | None:
        """Mean minus the published value, or None where the two are not comparable."""
        values, published = self.values(metric), self.published.get(metric)
        return mean(values) - published if values and published is not None and not self.deviations else None


Entries = dict[tuple[str, str], Entry]
"""(dataset, method) -> entry, for the pairs of the matrix."""


def collect(
    params: Params, experiment: str, cells_dir: Path, stale: Mapping[CellId, list[str]], overlaps: Overlaps
) -> Entries:
    """Read the record of every expected cell below ``cells_dir``."""

    def run(cell: CellId) -> Run:
        return Run(cell, read_record(cells_dir / cell.path / "cell.json"), list(stale.get(cell, [])))

    pairs: dict[tuple[str, str], list[Run]] = {}
    for cell in params.cells(experiment):
        pairs.setdefault((cell.dataset, cell.method), []).append(run(cell))
    return {
        pair: Entry(*pair, tuple(sorted(runs, key=lambda run: run.cell.seed)), overlaps.get(pair[0]))
        for pair, runs in pairs.items()
    }


def refuse(experiment: str, entries: Entries) -> None:
    """Raise ``StaleRecord`` when any cell is stale, failed or missing; a skipped one is an answer."""
    runs = [run for entry in entries.values() for run in entry.runs]
    wrong = [run for run in runs if run.stale or run.status in ("failed", "missing")]
    if wrong:
        lines = "\n".join(f"  {run.cell.path}: {run.reason or run.staleness}" for run in wrong)
        raise StaleRecord(
            f"{len(wrong)} of {len(runs)} cells of {experiment} have no result of the present code and data:\n"
            f"{lines}\nRun `{command(experiment)}`, `rsitr retry --failed` for failed ones, or leave out strict"
        )


class View:
    """The entries of an experiment as a reader's tables."""

    def __init__(self, params: Params, experiment: str, entries: Entries):
        self.name = experiment
        self.title = params[experiment].title
        self.datasets = params[experiment].datasets
        self.methods = params[experiment].methods
        self.entries = entries

    def of(self, dataset: str) -> list[Entry]:
        """Entries of a dataset in the order of the methods."""
        return [self.entries[dataset, method] for method in self.methods if (dataset, method) in self.entries]

    def synthetic(self, dataset: str) -> bool:
        """Whether any record says that the dataset is generated."""
        return any(run.record and run.record.data.get("synthetic") for entry in self.of(dataset) for run in entry.runs)

    def heading(self, dataset: str) -> str:
        """The dataset, labelled when synthetic."""
        return f"{dataset} (synthetic)" if self.synthetic(dataset) else dataset

    def ceiling(self, dataset: str, metric: str) -> float | None:
        """The largest value that repeated captions allow, in percent, from the first record that states it."""
        found = (record.metrics.get(f"ceiling_{metric}") for entry in self.of(dataset) for record in entry.records)
        return next((value for value in found if value is not None), None)

    def best(self, dataset: str, metric: str) -> str:
        """The best mean of a column as printed; empty when nothing is to be compared."""
        means = [mean(e.values(metric)) for e in self.of(dataset) if e.values(metric) and e.method != BASELINE]
        return f"{max(means):.2f}" if means else ""

    def value(self, entry: Entry, metric: str) -> Cell:
        """mean ± std, marked when stale or when test images leak, or NA with the reason."""
        values = entry.values(metric)
        if not values:
            return Cell("NA", notes=(Note(entry.unavailable(metric)),))
        centre = f"{mean(values):.2f}"
        spread = f" ± {stdev(values):.2f}" if len(values) > 1 else ""
        bold = entry.method != BASELINE and centre == self.best(entry.dataset, metric)
        return Cell(centre + spread, bold, _marks(entry))

    def with_published(self, dataset: str) -> bool:
        """Whether any method has a published number on the dataset."""
        return any(entry.published for entry in self.of(dataset))

    def columns(self, dataset: str) -> tuple[str, ...]:
        """Headers of a dataset in the main table."""
        return ("seeds", *HEADERS.values(), *(("published mR", "Δ mR") if self.with_published(dataset) else ()))

    def beside(self, entry: Entry) -> list[Cell]:
        """The published mR with its source, and the difference or why there is none."""
        if not entry.key:
            return [Cell(), Cell()]
        doubt = discrepancy(entry.key, entry.dataset)
        source = f"published in {describe(entry.key)}" + (f"; {doubt}" if doubt else "")
        published = Cell(f"{entry.published['mr']:.2f}", notes=(Note(source),))
        if entry.deviations:
            return [published, Cell("n/c", notes=(Note(_incomparable(entry)),))]
        delta = entry.delta("mr")
        if delta is None:
            return [published, self.value(entry, "mr")]
        return [published, Cell(f"{delta:+.2f}", notes=_marks(entry))]

    def main_cells(self, dataset: str, method: str) -> Iterator[Cell]:
        """Cells of a method in the columns of a dataset."""
        entry = self.entries.get((dataset, method))
        if entry is None:
            yield from [ABSENT] * len(self.columns(dataset))
            return
        yield Cell(str(len(entry.runs)) if entry.complete else f"{len(entry.records)}/{len(entry.runs)}")
        yield from (self.value(entry, metric) for metric in METRICS)
        if self.with_published(dataset):
            yield from self.beside(entry)

    def main_table(self) -> Table:
        """Recalls as the field defines them."""
        caption = (
            "Recall at K and mR, the mean of the six recalls, on the test split in percent: mean ± sample standard "
            "deviation over seeds; one seed has no deviation. Bold: best of the column."
        )
        if any(map(self.with_published, self.datasets)):
            caption += " Δ mR: mean minus published value; n/c: the configurations are not comparable."
        if synthetic := [dataset for dataset in self.datasets if self.synthetic(dataset)]:
            caption += f" Synthetic data ({', '.join(synthetic)}): not comparable with any published number."
        if unknown := [d for d in self.datasets if any(e.trained and e.overlap is None for e in self.of(d))]:
            caption += f" Near duplicates of test images in train were not counted for {', '.join(unknown)}."
        rows = (Row(m, tuple(cell for d in self.datasets for cell in self.main_cells(d, m))) for m in self.methods)
        groups = tuple(Group(self.heading(dataset), self.columns(dataset)) for dataset in self.datasets)
        return Table("Recall", caption, "method", groups, tuple(rows))

    def duplicate_cells(self, dataset: str, method: str) -> list[Cell]:
        """Duplicate-aware recalls of a method on a dataset."""
        entry = self.entries.get((dataset, method))
        return [self.value(entry, f"dup_{metric}") if entry else ABSENT for metric in METRICS]

    def ceiling_cells(self, dataset: str) -> list[Cell]:
        """Ceilings of a dataset; empty where none was measured."""
        values = [self.ceiling(dataset, metric) for metric in METRICS]
        return [Cell("" if value is None else f"{value:.2f}") for value in values]

    def duplicate_table(self) -> Table:
        """What identical captions of different images do to the recalls of the main table."""
        rows = [Row(m, tuple(cell for d in self.datasets for cell in self.duplicate_cells(d, m))) for m in self.methods]
        ceilings = tuple(cell for dataset in self.datasets for cell in self.ceiling_cells(dataset))
        return Table(
            "Duplicate-aware recall",
            "As above, but a caption identical to one of the image's own counts as its own. Last row: the ceiling that "
            "identical captions of different images set for the recalls above.",
            "method",
            tuple(Group(self.heading(dataset), tuple(HEADERS.values())) for dataset in self.datasets),
            (*rows, Row("caption ceiling", ceilings, rule=True)),
        )

    def sheet(self) -> Sheet:
        """Both tables."""
        return Sheet(self.title, (self.main_table(), self.duplicate_table()), command(self.name))


def _marks(entry: Entry) -> tuple[Note, ...]:
    return tuple(Note(text, symbol) for text, symbol in ((entry.staleness, "†"), (entry.leaks, "‡")) if text)


def _incomparable(entry: Entry) -> str:
    return f"not comparable with the published value: {'; '.join(entry.deviations)}" if entry.deviations else ""


def _number(value: float | None) -> str:
    return "" if value is None else repr(round(value, 6))


def long_rows(entries: Iterable[Entry]) -> Iterator[tuple[str, ...]]:
    """Tidy rows: one for each pair of the matrix and metric. Recalls, deviations and differences in percent."""
    for entry in entries:
        method, _, variant = entry.method.partition("@")
        doubts = [entry.staleness if entry.complete else "", _incomparable(entry) if entry.key else ""]
        for metric in (prefix + metric for prefix in ("", "dup_", "ceiling_") for metric in METRICS):
            values = entry.values(metric)
            yield (
                *("comparison", entry.dataset, method, variant, metric, str(len(entry.records))),
                _number(mean(values) if values else None),
                _number(stdev(values) if len(values) > 1 else None),
                _number(entry.published.get(metric)),
                _number(entry.delta(metric)),
                *(entry.status, "; ".join(filter(None, [entry.unavailable(metric), *doubts]))),
                str(entry.overlap[0]) if entry.trained and entry.overlap else "",
            )


def write_long(entries: Iterable[Entry], path: Path) -> Path:
    """Write the tidy table. It is read by machines, so nothing but rows is in it."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(LONG_COLUMNS)
        writer.writerows(long_rows(entries))
    return path


def draw(view: View, path: Path) -> Path:
    """Write the picture of the mR columns."""
    from rsitr.figures import comparison as figure  # matplotlib takes a second, which readers of tables need not pay

    def bar(dataset: str, method: str) -> figure.Bar:
        entry = view.entries.get((dataset, method))
        if entry is None:
            return figure.Bar(method, (), blank=ABSENT.text)
        paper = entry.key.paper if entry.key else ""
        numbers = tuple(entry.values("mr")), entry.published.get("mr")
        return figure.Bar(method, *numbers, paper, not entry.deviations, bool(entry.staleness))

    panels = [
        figure.Panel(
            view.heading(dataset),
            tuple(bar(dataset, method) for method in view.methods),
            view.ceiling(dataset, "mr"),
        )
        for dataset in view.datasets
    ]
    title = f"{view.name}: {view.title}"
    if all(map(view.synthetic, view.datasets)):
        title += " (synthetic data)"
    return figure.draw(title, panels, path)


def build(
    params: Params,
    experiment: str,
    cells_dir: Path,
    out_dir: Path,
    stale: Mapping[CellId, list[str]],
    strict: bool = False,
    overlaps: Overlaps | None = None,
) -> list[Path]:
    """Write ``comparison.csv``, ``.md``, ``.tex``, ``.html``, ``.long.csv`` and ``.png`` into ``out_dir``.

    ``stale`` names for a cell what its record no longer agrees with (``Record.stale``), ``overlaps`` is by dataset
    (``Entry.overlap``). ``strict`` raises ``StaleRecord`` and writes nothing when a cell is stale, failed or missing.
    """
    entries = collect(params, experiment, cells_dir, stale, overlaps or {})
    if strict:
        refuse(experiment, entries)
    view = View(params, experiment, entries)
    ordered = [entry for dataset in view.datasets for entry in view.of(dataset)]
    paths = write(view.sheet(), out_dir / "comparison")
    return [*paths, write_long(ordered, out_dir / "comparison.long.csv"), draw(view, out_dir / "comparison.png")]
