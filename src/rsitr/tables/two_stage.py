"""Two-stage retrieval next to exhaustive scoring: recalls and times by length of the shortlists (MTGFE, Table 4)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from statistics import mean

from rsitr.figures import two_stage as figure
from rsitr.params import Params
from rsitr.params.ids import MAIN, Role, TwoStageId
from rsitr.records.cell import Published
from rsitr.records.paths import Paths
from rsitr.records.two_stage import TwoStageRecord, Way
from rsitr.tables.declared import Declared
from rsitr.tables.layout import Cell, Group, Note, Row, Table, labelled, noted, write_tables
from rsitr.tables.published import METRICS, lookup
from rsitr.tables.view import HEADERS, View, averaged, with_roles

ALL, ALONE = "all pairs", "filter alone"
TIMES = {"time_ms_i2t": "i2t ms", "time_ms_t2i": "t2i ms"}
COLUMNS = ("shortlist", "seeds", *HEADERS.values(), "Δ mR", "dup mR", *TIMES.values(), "i2t ×", "t2i ×")
PAPER = {
    ALL: Published(paper="mtgfe2023", table="table4", method="mtgfe"),
    128: Published(paper="mtgfe2023", table="table4", method="mtgfe+filter"),
}
"""What the paper prints, by length of the shortlists."""
PAPER_PAIR = ("mtgfe", "retrieval-filter")
PRINTED = HEADERS | TIMES
CAPTION = (
    "A filter shortlists items for each query, a scorer re-sorts them; all others follow in the order of the filter. "
    "Recall at K and mR on the test split in percent, mean ± sample standard deviation over seeds. Shortlist: its "
    "length, in images or in distinct captions (the paper counts all captions). Δ mR: against scoring all pairs. dup "
    "mR: mR with identical captions and pictures as positives. ms: mean time of a query by the scorer, the filter or "
    "both, with the gallery encoded beforehand and without encoding the query; ×: how many times faster than scoring "
    "all pairs in the same run."
)
OF_THE_PAPER = (
    " Published: as printed, with the encoders and on the hardware of the paper; no difference from it is shown."
)
Key = str | int
"""``ALL``, ``ALONE`` or the length of the shortlists."""


@dataclass(frozen=True)
class Series:
    """A scorer and a filter on a dataset, over all seeds that params.yaml asks for."""

    dataset: str
    scorer: str
    filter: str
    lengths: tuple[int, ...]
    records: Mapping[int, TwoStageRecord | None]
    """By seed; None before the first run."""
    stale: Mapping[int, Sequence[str]]
    role: Role = MAIN
    """``main`` if scorer and filter are, else that of the one that is not."""

    @property
    def keys(self) -> list[Key]:
        """The rows of the table."""
        return [ALL, *self.lengths, ALONE]

    @property
    def present(self) -> list[TwoStageRecord]:
        """Records with results."""
        return [record for record in self.records.values() if record and record.outcome.status == "ok"]

    @property
    def synthetic(self) -> bool:
        """Whether the dataset is generated."""
        return any(record.data.get("synthetic") for record in self.present)

    def reason(self, key: Key) -> str:
        """Why a row has no numbers; empty if it has."""
        reasons = []
        for seed, record in self.records.items():
            if record is None:
                reasons.append(f"seed {seed}: not run yet")
            elif record.outcome.status != "ok":
                reasons.append(f"seed {seed}: {record.outcome.status}: {record.outcome.reason}")
            elif way(record, key) is None:
                reasons.append(f"seed {seed}: its record has no shortlists of this length")
        return "; ".join(reasons)

    @property
    def notes(self) -> tuple[Note, ...]:
        """What is stale about the records."""
        texts = (
            f"made by other {' and '.join(parts)} than the present (seed {seed})"
            for seed, parts in self.stale.items()
            if parts
        )
        return tuple(Note(text, "†") for text in texts)

    def values(self, key: Key, name: str) -> list[float]:
        """A metric, or the time of a query (``TIMES``), per seed; empty unless all have it."""
        ways = [] if self.reason(key) else filter(None, (way(record, key) for record in self.present))
        if name in TIMES:
            return [1000 * getattr(found.seconds, name.removeprefix("time_ms_")) for found in ways]
        return [found.metrics[name] for found in ways if name in found.metrics]

    def against_all(self, key: Key, name: str) -> list[tuple[float, float]]:
        """``values`` of all pairs and of a row, by seed; empty unless all have both."""
        return list(zip(self.values(ALL, name), self.values(key, name), strict=False))

    def cell(self, key: Key, values: Sequence[float], form: str = ".2f") -> Cell:
        """The mean of a row's numbers, or why it has none."""
        return Cell(averaged(values, form), notes=self.notes) if values else noted("NA", self.reason(key))

    def printed(self, key: Key) -> Mapping[str, float]:
        """What the paper prints for a row of its own scorer and filter; empty elsewhere."""
        if self.synthetic or (self.scorer, self.filter) != PAPER_PAIR or key not in PAPER:
            return {}
        return lookup(PAPER[key], self.dataset, tuple(PRINTED))


def synthetic(series: Sequence[Series]) -> bool:
    """Whether any of a dataset's retrievals says that it is generated."""
    return any(each.synthetic for each in series)


def by_dataset(series: Iterable[Series]) -> dict[str, list[Series]]:
    """The retrievals of each dataset."""
    found: dict[str, list[Series]] = {}
    for each in series:
        found.setdefault(each.dataset, []).append(each)
    return found


def way(record: TwoStageRecord, key: Key) -> Way | None:
    """What a record says about scoring all pairs, the filter alone, or shortlists of a length."""
    if key == ALL:
        return record.exhaustive
    if key == ALONE:
        return record.filtered
    return next((point for point in record.points if point.k == key), None)


def collect(params: Params, experiment: str, stale: Mapping[TwoStageId, Sequence[str]]) -> list[Series]:
    """Every scorer with every filter of an experiment, in the order of params.yaml."""
    found: dict[tuple[str, str, str], list[TwoStageId]] = {}
    lengths = params.two_stages(experiment)
    for wanted in lengths:
        found.setdefault((wanted.dataset, wanted.scorer, wanted.filter), []).append(wanted)
    return [
        Series(
            *names,
            lengths=tuple(sorted({k for wanted in group for k in lengths[wanted]})),
            records={wanted.seed: TwoStageRecord.read(Paths.two_stage(wanted)) for wanted in group},
            stale={wanted.seed: stale.get(wanted, ()) for wanted in group},
            role=next((role for cell in group[0].cells if (role := params.role(cell)) != MAIN), MAIN),
        )
        for names, group in found.items()
    ]


def _cells(series: Series, key: Key) -> Iterator[Cell]:
    found, seeds = sum(way(record, key) is not None for record in series.present), len(series.records)
    yield Cell(str(key))
    yield Cell(f"{found}/{seeds}" if series.reason(key) else str(seeds))
    yield from (series.cell(key, series.values(key, metric)) for metric in METRICS)
    lost = [short - whole for whole, short in series.against_all(key, "mr")]
    yield Cell() if key == ALL else series.cell(key, lost, "+.2f")
    yield series.cell(key, series.values(key, "dup_mr"))
    yield from (series.cell(key, series.values(key, name)) for name in TIMES)
    for name in TIMES:
        faster = [whole / short for whole, short in series.against_all(key, name)]
        yield Cell() if key == ALL else series.cell(key, faster, ".1f")


def _rows(series: Sequence[Series], published: bool) -> Iterator[Row]:
    for each in series:
        for key in each.keys:
            printed = each.printed(key) if published else {}
            paper = [Cell(f"{printed[name]:.2f}" if name in printed else "") for name in PRINTED] if published else []
            label = f"{each.scorer}, {each.filter}"
            yield Row(label, (*_cells(each, key), *paper), rule=key == ALL)


def _table(dataset: str, series: Sequence[Series]) -> Table:
    published = any(each.printed(key) for each in series for key in each.keys)
    groups = [Group("", COLUMNS), *([Group("", tuple(PRINTED.values()), "published")] if published else [])]
    caption = CAPTION + (OF_THE_PAPER if published else "")
    caption += " Synthetic data: not comparable with any published number." if synthetic(series) else ""
    heading = labelled(dataset, synthetic(series))
    table = Table(heading, caption, "scorer, filter", tuple(groups), tuple(_rows(series, published)))
    return with_roles(table, [each.role for each in series for _ in each.keys])


def _curve(label: str, lengths: tuple[int, ...], values: Callable[[Key, str], Sequence[float]]) -> figure.Curve:
    times = {name.removeprefix("time_ms_"): tuple(mean(values(k, name)) for k in lengths) for name in TIMES}
    whole = {name.removeprefix("time_ms_"): mean(values(ALL, name)) for name in TIMES}
    mr = tuple(tuple(values(k, "mr")) for k in lengths)
    return figure.Curve(label, lengths, mr, times, mean(values(ALL, "mr")), whole)


def curves(series: Series) -> Iterator[figure.Curve]:
    """A series as the figure draws it, and the paper's next to its own scorer and filter."""
    if known := tuple(k for k in series.lengths if not series.reason(k)):
        yield _curve(f"{series.filter}, then {series.scorer}", known, series.values)
    if lengths := tuple(k for k in PAPER if isinstance(k, int) and series.printed(k)):
        label = "MTGFE and its filter, published (other hardware)"
        yield _curve(label, lengths, lambda k, name: [series.printed(k)[name]])._replace(published=True)


def build(view: View, series: Sequence[Series], out_dir: Path) -> list[Path]:
    """Write ``two-stage.csv``, ``.md``, ``.tex``, ``.html`` and ``.png``."""
    tables = [_table(*group) for group in by_dataset(series).items()]
    groups = zip(tables, by_dataset(series).values(), strict=True)
    panels = [figure.Panel(table.name, tuple(chain(*map(curves, members)))) for table, members in groups]
    written = write_tables(f"Two-stage retrieval in {view.name}", tables, view.name, out_dir / "two-stage")
    return [*written, figure.draw(f"{view.name}: two-stage retrieval", panels, out_dir / "two-stage.png")]


TABLE = Declared(
    "two-stage",
    lambda material: build(material.view, material.series, material.out),
    "A filter makes shortlists, an expensive scorer sorts them again: test recalls and time of a query by length of "
    "the shortlist.",
    others=("png",),
    concerns=lambda experiment: experiment.two_stage,
)
