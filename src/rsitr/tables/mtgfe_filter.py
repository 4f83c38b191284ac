"""MTGFE's Table 4: what a filter before the fusion encoder loses and how much faster it answers, from the records of
two-stage retrieval."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Protocol

from rsitr.cells import Outcome, Published
from rsitr.tables.entries import command
from rsitr.tables.layout import Cell, Group, Note, Row, Sheet, Table, write
from rsitr.tables.published import METRICS, RECALLS, lookup
from rsitr.tables.view import HEADERS

NAME = "mtgfe-table-4"
DATASET, SCORER, FILTER, LENGTH = "rsicd", "mtgfe", "retrieval-filter", 128
"""What the paper's rows are of."""
TIMES = {"time_ms_i2t": "i2t time (ms)", "time_ms_t2i": "t2i time (ms)"}
PRINTED = {**{name: HEADERS[name] for name in RECALLS[:3]}, "time_ms_i2t": TIMES["time_ms_i2t"]} | {
    **{name: HEADERS[name] for name in RECALLS[3:]},
    **{"time_ms_t2i": TIMES["time_ms_t2i"], "mr": HEADERS["mr"]},
}
"""The paper's columns in its order."""
GAINS = ("lost mR", "i2t times faster", "t2i times faster")
CAPTION = (
    "Retrieval in percent and the mean time of a query: of an expensive scorer alone, of the shortlists of a cheap "
    "filter sorted anew by it, and of the filter alone. K: length of the shortlists. Times: milliseconds from the "
    "encoding of the query on, both stages together. Lost mR, times faster: against the scorer alone, in the same run. "
    "Mean ± sample standard deviation over seeds."
)
ABOUT_PRINTED = (
    " Published: average search time of a query on four NVIDIA RTX 3090, of which the paper says no more; ours are "
    "comparable among themselves."
)


class Mean(Protocol):
    """Seconds of a query."""

    i2t: float
    t2i: float


class Answered(Protocol):
    """A way to answer queries, as a record of two-stage retrieval has it."""

    metrics: dict[str, float]

    @property
    def seconds(self) -> Mean:
        """Mean time of a query."""
        ...


class AnsweredK(Answered, Protocol):
    """With shortlists of one length."""

    k: int


class TwoStage(Protocol):
    """What the table reads of a record of two-stage retrieval (``rsitr.two_stage.record``)."""

    outcome: Outcome

    @property
    def exhaustive(self) -> Answered | None:
        """The scorer alone."""
        ...

    @property
    def filtered(self) -> Answered | None:
        """The filter alone."""
        ...

    @property
    def points(self) -> Sequence[AnsweredK]:
        """By length of the shortlists."""
        ...


@dataclass(frozen=True)
class Expected:
    """A two-stage retrieval over all its seeds."""

    dataset: str
    scorer: str
    filter: str
    records: tuple[TwoStage | None, ...]
    """One for each seed; None before its first run."""
    stale: tuple[str, ...] = ()
    """What of them has changed since, if anything."""
    synthetic: bool = False

    @property
    def reason(self) -> str:
        """Why there is no number; empty where every seed has its own."""
        texts = {
            "not run yet" if record is None else f"{record.outcome.status}: {record.outcome.reason}"
            for record in self.records
            if record is None or record.outcome.status != "ok"
        }
        return "; ".join(sorted(texts))

    def ways(self) -> Iterator[tuple[str, list[Answered]]]:
        """What was answered, one of each seed: ``""`` for the scorer alone, the length, ``"filter"``."""
        done = [record for record in self.records if record is not None]
        yield "", [record.exhaustive for record in done if record.exhaustive]
        for k in dict.fromkeys(point.k for record in done for point in record.points):
            yield str(k), [point for record in done for point in record.points if point.k == k]
        yield "filter", [record.filtered for record in done if record.filtered]


@dataclass(frozen=True)
class _Line:
    """A row: which way of which retrieval, ours and the printed row that it stands for."""

    label: str
    filter: str
    length: str
    ours: tuple[Answered, ...]
    against: tuple[Answered, ...] = ()
    reason: str = ""
    stale: tuple[str, ...] = ()
    printed: Published | None = None
    rule: bool = False


def _values(way: Answered) -> dict[str, float]:
    return {name: way.metrics[name] for name in METRICS} | {
        "time_ms_i2t": 1000 * way.seconds.i2t,
        "time_ms_t2i": 1000 * way.seconds.t2i,
    }


def _cell(values: Iterable[float], notes: tuple[Note, ...] = ()) -> Cell:
    found = list(values)
    return Cell(f"{mean(found):.2f}" + (f" ± {stdev(found):.2f}" if len(found) > 1 else ""), notes=notes)


def _cells(line: _Line) -> Iterator[Cell]:
    """Ours, in the columns of the paper and of the gains."""
    if not line.ours:
        text = "NA" if line.reason else "–"
        note = Note(line.reason or "not part of this experiment")
        yield from [Cell(text, notes=(note,))] * (len(PRINTED) + len(GAINS))
        return
    marks = (Note(f"made by other {' and '.join(line.stale)} than the present", "†"),) if line.stale else ()
    each = [_values(way) for way in line.ours]
    yield from (_cell((values[name] for values in each), marks) for name in PRINTED)
    if not line.against:
        yield from [Cell("")] * len(GAINS)
        return
    pairs = list(zip([_values(way) for way in line.against], each, strict=True))
    yield _cell((whole["mr"] - values["mr"] for whole, values in pairs), marks)
    for name in TIMES:
        yield _cell((whole[name] / values[name] for whole, values in pairs), marks)


def _theirs(line: _Line) -> list[Cell]:
    if line.printed is None:
        return [Cell("–", notes=(Note("not in the paper"),))] * len(PRINTED)
    values = lookup(line.printed, DATASET, tuple(PRINTED))
    return [Cell(f"{values[name]:.2f}") for name in PRINTED]


def _lines(expected: Expected) -> Iterator[_Line]:
    """The rows of one retrieval; without its seeds' numbers one row with the reason."""
    found = dict(expected.ways())
    if expected.reason:
        yield _Line(expected.scorer, expected.filter, "", (), reason=expected.reason, rule=True)
        return
    whole = tuple(found[""])
    for number, (length, answered) in enumerate(found.items()):
        alone, whole_set = length == "filter", len(answered) == len(expected.records)
        yield _Line(
            expected.filter if alone else expected.scorer,
            expected.filter if length and not alone else "",
            "" if alone else length,
            tuple(answered) if whole_set else (),
            whole if length else (),
            "" if whole_set else "not every seed has it",
            expected.stale,
            rule=number == 0,
        )


def _key(variant: str) -> Published:
    method = "mtgfe+filter" if variant else "mtgfe"
    return Published(paper="mtgfe2023", table="table4", method=method, variant=variant)


def _of_the_paper(lines: Sequence[_Line]) -> list[_Line]:
    """The paper's two rows, with ours where these are among the lines, and then all other lines."""
    wanted = (
        (("MTGFE", SCORER, "", ""), _key("")),
        (("MTGFE+Filter", SCORER, FILTER, str(LENGTH)), _key(f"k={LENGTH}")),
    )
    rest, first = list(lines), []
    for (label, scorer, filtered, length), key in wanted:
        ours = next((x for x in rest if (x.label, x.filter, x.length) == (scorer, filtered, length) and x.ours), None)
        base = ours or _Line(scorer, filtered, length, ())
        rest = [line for line in rest if line is not ours]
        first.append(_Line(label, filtered, length, base.ours, base.against, base.reason, base.stale, key))
    return [*first, *rest]


def _table(dataset: str, expected: Sequence[Expected], real: bool) -> Table:
    """The table of a dataset; the paper's numbers stand in that of its own."""
    lines = [line for each in expected for line in _lines(each)]
    compared = real and dataset == DATASET
    lines = _of_the_paper(lines) if compared else lines
    rows = tuple(
        Row(
            line.label,
            (Cell(line.filter), Cell(line.length), *_cells(line), *(_theirs(line) if compared else [])),
            line.rule,
        )
        for line in lines
    )
    columns = tuple(PRINTED.values())
    groups = [Group("", ("filter", "K")), Group("ours", (*columns, *GAINS))]
    groups += [Group("MTGFE", columns, "published")] if compared else []
    synthetic = any(each.synthetic for each in expected)
    name = f"MTGFE, Table 4: retrieval in two stages, {dataset}{' (synthetic)' if synthetic else ''}"
    return Table(name, CAPTION + (ABOUT_PRINTED if compared else ""), "scorer", tuple(groups), rows)


def build(expected: Sequence[Expected], experiment: str, title: str, out_dir: Path) -> list[Path]:
    """Write ``mtgfe-table-4`` as csv, md, tex and html; nothing for an experiment without two-stage retrieval."""
    if not expected:
        return []
    real = not all(each.synthetic for each in expected)
    by_dataset: Mapping[str, list[Expected]] = {
        dataset: [each for each in expected if each.dataset == dataset]
        for dataset in dict.fromkeys([*([DATASET] if real else []), *(each.dataset for each in expected)])
    }
    tables = tuple(_table(dataset, found, real) for dataset, found in by_dataset.items())
    return write(Sheet(title, tables, command(experiment)), out_dir / NAME)
