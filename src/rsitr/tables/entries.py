"""What the cells of an experiment amount to: a method on a dataset over all the seeds that params.yaml asks for.

Entries are built from the expected matrix, never from a glob. A number is a mean over every seed, or missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from statistics import mean
from types import MappingProxyType
from typing import Any

from rsitr.datasets.table import read_facts
from rsitr.params import INSTRUCTION, Params
from rsitr.params.ids import EXTERNAL, MAIN, CellId, CleanId, prior_of
from rsitr.records.cell import UNCLAIMED, Published, Record
from rsitr.records.files import read_csv
from rsitr.records.paths import Paths
from rsitr.retrieval.rank_files import metrics_of, read_ranks
from rsitr.tables.not_rebuilt import NotRebuilt
from rsitr.tables.published import lookup

Overlap = tuple[int, int] | None
"""Test images with a near duplicate in given training images, and all test images; None if unknown."""
Overlaps = Mapping[tuple[str, str], Overlap]
"""Dataset and place of a prior -> ``Entry.prior_overlaps``; dataset and name of a clean table -> ``Entry.overlap``."""
NOT_EXPECTED = "not part of this experiment"


@dataclass(frozen=True)
class Run:
    """One expected cell: its record, or None before the first run, and what is stale about it."""

    cell: CellId
    record: Record | None
    stale: list[str]
    folder: Path
    """Where its record is, and next to it its ranks and epochs."""
    damage: str = ""
    """Why its files cannot be read, where a reader is to see the rest (``collect``)."""

    @property
    def status(self) -> str:
        """ok, skipped, failed or missing; failed as well where its files cannot be read."""
        if self.damage:
            return "failed"
        return self.record.outcome.status if self.record else "missing"

    @property
    def staleness(self) -> str:
        """``made by other code and data than the present``; empty for a fresh record."""
        return f"made by other {' and '.join(self.stale)} than the present" if self.stale else ""

    @property
    def reason(self) -> str:
        """Why there is no number; empty if there is one."""
        if self.damage:
            return self.damage
        if self.record is None:
            return "not run yet"
        if self.status == "ok":
            return ""
        reason = f"{self.status}: {' '.join(self.record.outcome.reason.split())}"
        return reason + (f" (record {self.staleness})" if self.stale else "")

    @property
    def history(self) -> list[dict[str, str]]:
        """Every epoch of its training, as written; none without a history."""
        return read_csv(self.folder / "history.csv")

    @cached_property
    def numbers(self) -> dict[str, float]:
        """Every number by name; none without a record.

        Its metrics, in percent, from its ranks; the seconds of each stage: ``encode_s``; and ``params_m``, the
        parameters in millions.
        """
        if self.record is None:
            return {}
        ranks = self.folder / "ranks.parquet"
        metrics = metrics_of(read_ranks(ranks).ranks) if self.status == "ok" and ranks.is_file() else {}
        seconds = {f"{stage}_s": value for stage, value in self.record.seconds.items()}
        total = self.record.parameters.get("total")
        millions = {} if total is None else {"params_m": round(total / 1e6, 2)}
        return self.record.metrics | metrics | seconds | millions


@dataclass(frozen=True)
class Entry:
    """A method on a dataset: the results of its seeds together."""

    dataset: str
    method: str
    runs: tuple[Run, ...] = ()
    """One for each seed; none if the method or the dataset is not part of the experiment."""
    overlap: Overlap = None
    """With what it is trained on."""
    key: Published | None = None
    """The published row that it is compared with."""
    prior_overlaps: Mapping[str, Overlap] = field(default_factory=dict)
    """With what each prior named in the records learned from; its name leaves out ``scenes://``."""
    source_overlaps: Mapping[str, Overlap] = field(default_factory=dict)
    """Of an external model: with the training images of each dataset that it was trained on."""
    differs: str = ""
    """How the published row's configuration differs from ours, whatever ours is."""
    clean: CleanId | None = None
    """The clean table that its cells read."""
    missing: NotRebuilt | None = None
    """Why nobody can rebuild it."""
    role: str | None = None
    """What it is in the experiment for (``Role``), or ``external``; None where it is not part of it."""

    @cached_property
    def records(self) -> list[Record]:
        """Records of the seeds that succeeded."""
        return [record for record in self.present if record.outcome.status == "ok"]

    @cached_property
    def present(self) -> list[Record]:
        """Existing records, however their cells ended."""
        return [run.record for run in self.runs if run.record]

    @property
    def complete(self) -> bool:
        """Whether every seed that the matrix asks for has its number."""
        return bool(self.runs) and len(self.records) == len(self.runs)

    def competes(self, seeds: int) -> bool:
        """Whether it may be the best of a column: role ``main``, and with all of its seeds, of which it has ``seeds``.

        Without training, one seed says what all would.
        """
        return self.role == MAIN and self.complete and (len(self.runs) >= seeds or not self.trained)

    @property
    def status(self) -> str:
        """ok, stale, incomplete, or what happened to every seed: skipped, failed, missing (the worst, if mixed).

        ``absent`` if nothing was expected, ``not rebuilt`` if nobody can rebuild the method.
        """
        if not self.runs:
            return "not rebuilt" if self.missing else "absent"
        if self.complete:
            return "stale" if self.staleness else "ok"
        found = {run.status for run in self.runs}
        return "incomplete" if "ok" in found else next(s for s in ("failed", "missing", "skipped") if s in found)

    @property
    def reason(self) -> str:
        """Why the entry is NA, with the seeds if they differ; empty if complete."""
        if not self.runs:
            return self.missing.text if self.missing else NOT_EXPECTED
        return self._by_seed({run.cell.seed: run.reason for run in self.runs})

    @property
    def staleness(self) -> str:
        """Which part of the numbers is out of date; empty if none is."""
        return self._by_seed({run.cell.seed: run.staleness for run in self.runs})

    @staticmethod
    def _by_seed(texts: dict[int, str]) -> str:
        if len(set(texts.values())) <= 1:
            return next(iter(texts.values()), "")
        seeds: dict[str, list[str]] = {}
        for seed, text in texts.items():
            seeds.setdefault(text, []).append(str(seed))
        return "; ".join(
            f"seed{'s' if len(group) > 1 else ''} {', '.join(group)}: {text}" for text, group in seeds.items() if text
        )

    def unavailable(self, metric: str) -> str:
        """Why a metric is NA; empty if it has a mean."""
        return "" if self.values(metric) else self.reason or "not stated in the records"

    def values(self, metric: str) -> list[float]:
        """One value per seed; empty where the mean would rest on fewer seeds than expected."""
        values = [run.numbers[metric] for run in self.runs if run.status == "ok" and metric in run.numbers]
        return values if len(values) == len(self.runs) else []

    @property
    def trained(self) -> bool:
        """Whether anything was learned from the dataset's train split."""
        return any(record.parameters.get("trainable") for record in self.records)

    @property
    def leaks(self) -> str:
        """How much of the test split was seen in training; empty if none was, or if that is unknown."""
        seen = {"train": self.overlap if self.trained else None}
        seen |= {f"train of {name}": overlap for name, overlap in self.source_overlaps.items()}
        seen |= {f"the images of the prior {name}": overlap for name, overlap in self.prior_overlaps.items()}
        return "; ".join(
            f"{overlap[0]:,} of {overlap[1]:,} test images with a near duplicate in {where} (rule copies)"
            for where, overlap in seen.items()
            if overlap and overlap[0]
        )

    @cached_property
    def deviations(self) -> list[str]:
        """Where the configuration differs from the published one."""
        known = dict.fromkeys(text for record in self.present for text in record.deviations)
        if self.key and any(record.published is None for record in self.records):
            known[UNCLAIMED] = None
        return [*known, *filter(None, [self.differs])]

    @cached_property
    def published(self) -> Mapping[str, float]:
        """Published recalls and mR, in percent; empty if there are none for this dataset."""
        return lookup(self.key, self.dataset) if self.key else {}

    def delta(self, metric: str) -> float | None:
        """Mean minus the published value, or None if the two are not comparable."""
        values, published = self.values(metric), self.published.get(metric)
        return mean(values) - published if values and published is not None and not self.deviations else None


def _stated(dataset: str, runs: Iterable[Run]) -> Published | None:
    """The published row that the records say they stand for; synthetic data has none."""
    keys = (run.record.published for run in runs if run.record and not run.record.data.get("synthetic"))
    return next((key for key in keys if key and lookup(key, dataset)), None)


def _priors(runs: Iterable[Run]) -> list[str]:
    """The priors that records say their models began with, as experiment/name."""
    records = (run.record for run in runs if run.record and "prior" in run.record.used)
    found = (prior_of(str(record.config.get(INSTRUCTION, ""))) for record in records)
    return list(dict.fromkeys(prior.path for prior in found if prior))


Entries = dict[tuple[str, str], Entry]
"""(dataset, method) -> entry, for the pairs of the matrix."""


def collect(
    params: Params,
    experiment: str,
    cells_dir: Path,
    stale: Mapping[CellId, list[str]],
    overlaps: Overlaps,
    damaged: Mapping[CellId, str] = MappingProxyType({}),
) -> Entries:
    """Read the record of every expected cell below ``cells_dir``.

    ``stale`` states for each cell what its record no longer agrees with (``Record.stale``). What is ``damaged`` is not
    read, and has the reason.
    """
    pairs: dict[tuple[str, str], list[Run]] = {}
    for cell in params.cells(experiment):
        folder, damage = cells_dir / cell.path, damaged.get(cell, "")
        record = None if damage else Record.read(folder / "cell.json")
        run = Run(cell, record, [*stale.get(cell, ())], folder, damage)
        pairs.setdefault((cell.dataset, cell.method), []).append(run)
    found = {}
    for (dataset, method), runs in pairs.items():
        clean = params.clean(runs[0].cell)
        found[dataset, method] = Entry(
            dataset,
            method,
            tuple(sorted(runs, key=lambda run: run.cell.seed)),
            overlaps.get((dataset, clean.name)),
            _stated(dataset, runs),
            {name: overlaps.get((dataset, name)) for name in _priors(runs)},
            clean=clean,
            role=params.role(runs[0].cell),
        )
    return found


def external_cells(datasets: Iterable[str]) -> list[CellId]:
    """What others have made for some datasets (``rsitr.external``), in the order of their names."""
    paths = [path for dataset in datasets for path in sorted(Paths.external(dataset).glob("*/cell.json"))]
    return [CellId(EXTERNAL, path.parent.parent.name, path.parent.name, 0) for path in paths]


def external(datasets: Iterable[str], damaged: Mapping[CellId, str] = MappingProxyType({})) -> Entries:
    """The entries of ``external_cells``; ``damaged`` as ``collect`` takes it.

    A record is stale where its data is not that of the clean table here.
    """
    found: Entries = {}
    for cell in external_cells(datasets):
        clean, folder, damage = CleanId(cell.dataset), Paths.external(cell.dataset) / cell.method, damaged.get(cell, "")
        here = read_facts(Paths.clean(clean)).data_sha if Paths.clean(clean).is_file() else None
        record = None if damage else Record.read(folder / "cell.json")
        run = Run(cell, record, ["data"] if record and here not in (None, record.data_sha) else [], folder, damage)
        leaks = record.data["leaks"] if record else {}
        seen = {name: count and tuple(count) for name, count in leaks.items()}
        found[cell.dataset, cell.method] = Entry(
            cell.dataset, cell.method, (run,), source_overlaps=seen, clean=clean, role=EXTERNAL
        )
    return found


def config_of(entry: Entry) -> dict[str, Any]:
    """The configuration of an entry; empty before its first record."""
    return next((record.config for record in entry.present if record.config), {})


def alike(entries: Iterable[Entry], apart: Set[str]) -> list[list[Entry]]:
    """Groups of entries of one dataset: those of one method that agree in every setting except ``apart``.

    Groups come in the order of their first members, and members in the order given. Entries without a record, or
    without all the settings of ``apart``, are in no group.
    """
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        config = config_of(entry)
        if apart <= config.keys():
            same = sorted((name, repr(value)) for name, value in config.items() if name not in apart)
            groups.setdefault(repr((entry.runs[0].cell.method_name, same)), []).append(entry)
    return list(groups.values())
