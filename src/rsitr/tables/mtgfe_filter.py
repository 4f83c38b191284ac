"""MTGFE's Table 4 in its own columns: what a filter before the fusion encoder loses, and how much faster it is.

Every length and the filters alone are in the table ``two-stage``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rsitr.params import Experiment
from rsitr.tables.declared import Shown, sheet
from rsitr.tables.layout import Cell, Group, Row, Table, labelled, noted
from rsitr.tables.paper_table import NOT_PRINTED, OTHER_HARDWARE
from rsitr.tables.published import METRICS, RECALLS, lookup, places
from rsitr.tables.two_stage import ALL, ALONE, PAPER, PAPER_PAIR, TIMES, Key, Series, by_dataset, synthetic
from rsitr.tables.view import ABSENT, HEADERS, with_roles

DATASET = "rsicd"
"""That of the paper's numbers."""
LABELS: dict[Key, str] = {ALL: "MTGFE", 128: "MTGFE+Filter"}
"""The paper's rows."""
COLUMNS = {
    **{name: HEADERS[name] for name in RECALLS[:3]},
    "time_ms_i2t": "i2t time (ms)",
    **{name: HEADERS[name] for name in RECALLS[3:]},
    "time_ms_t2i": "t2i time (ms)",
    "mr": HEADERS["mr"],
}
"""The paper's columns in its order."""
GAINS = {"mr": "lost mR", "time_ms_i2t": "i2t times faster", "time_ms_t2i": "t2i times faster"}
CAPTION = (
    "An expensive scorer on all pairs, and on only the K best of a cheap filter. Retrieval in percent; time: mean "
    "milliseconds per query by both stages together, with gallery and query already encoded. Lost mR, times faster: "
    "against all pairs in the same run. Mean ± sample standard deviation over seeds."
)
OF_THE_PAPER = (
    " Published: as printed; time is the average search time of a query on the paper's hardware, about which it says "
    "no more. Where a backbone has no class token, or that of a frozen text encoder says nothing, our filter reads the "
    "mean of the tokens instead of the class features of section 3.4. Rows below the line are not in the paper."
)


def _ours(key: Key, series: Series | None) -> Iterator[Cell]:
    """In the paper's columns, then what is lost and gained."""
    if series is None:
        yield from [ABSENT] * (len(COLUMNS) + len(GAINS))
        return
    yield from (series.cell(key, series.values(key, name)) for name in COLUMNS)
    for name in GAINS:
        pairs = series.against_all(key, name)
        values = [whole - short if name == "mr" else whole / short for whole, short in pairs]
        yield Cell() if key == ALL and values else series.cell(key, values)


def _row(label: str, cheap: str, key: Key, series: Series | None, theirs: Sequence[Cell], rule: bool = False) -> Row:
    """One way of one retrieval; without a series if the experiment does not have it."""
    facts = ("", "all") if key == ALL else (cheap, str(key))
    return Row(label, (*map(Cell, facts), *_ours(key, series), *theirs), rule)


def _rows(series: Sequence[Series], published: bool) -> Iterator[tuple[Row, str]]:
    """All pairs and every length of each retrieval, with their roles.

    The paper's rows come first, with ours if the experiment has them.
    """
    found = {(each.scorer, each.filter, key): each for each in series for key in each.keys if key != ALONE}
    for key, label in LABELS.items() if published else ():
        values = lookup(PAPER[key], DATASET, tuple(COLUMNS))
        printed = [Cell(f"{values[name]:.2f}") for name in COLUMNS]
        ours = found.pop((*PAPER_PAIR, key), None)
        yield _row(label, PAPER_PAIR[1], key, ours, printed), ours.role if ours else ""
    theirs = [noted("–", NOT_PRINTED)] * len(COLUMNS) if published else []
    for number, ((scorer, cheap, key), each) in enumerate(found.items()):
        yield _row(scorer, cheap, key, each, theirs, key == ALL or (published and number == 0)), each.role


def _table(dataset: str, series: Sequence[Series], published: bool) -> Table:
    groups = [Group("", ("filter", "K")), Group("ours", (*COLUMNS.values(), *GAINS.values()))]
    groups += [Group("MTGFE", tuple(COLUMNS.values()), "published")] if published else []
    name = f"MTGFE, Table 4: retrieval filter, {labelled(dataset, synthetic(series))}"
    caption = CAPTION + (OF_THE_PAPER if published else "")
    rows, roles = zip(*_rows(series, published), strict=True)
    return with_roles(Table(name, caption, "scorer", tuple(groups), rows), roles, place=1)


def tables(series: Sequence[Series]) -> Iterator[Table]:
    """One for each dataset; none for an experiment without two-stage retrieval.

    The paper's numbers are shown whether or not the experiment has its dataset, unless it has only synthetic ones.
    """
    of, real = by_dataset(series), not all(each.synthetic for each in series)
    for dataset in dict.fromkeys([*([DATASET] if real else []), *of]):
        yield _table(dataset, of.get(dataset, []), real and dataset == DATASET)


def shows(experiment: Experiment) -> Iterator[Shown]:
    """The paper's rows, where the experiment has its scorer and its filter on its dataset."""
    lengths = {
        length
        for stage in experiment.two_stage
        if (stage.scorer, stage.filter) == PAPER_PAIR and DATASET in stage.datasets
        for length in (ALL, *stage.shortlists)
    }
    for key in PAPER:
        if key in lengths:
            method = PAPER_PAIR[0 if key == ALL else 1]
            yield Shown("mtgfe-table-4", places(PAPER[key], DATASET, METRICS), DATASET, method)
            yield Shown("mtgfe-table-4", places(PAPER[key], DATASET, [*TIMES]), DATASET, method, OTHER_HARDWARE)


TABLE = sheet(
    "mtgfe-table-4",
    "{.experiment.title}",
    lambda material: tables(material.series),
    "Table 4 of MTGFE: what the retrieval filter gains in time and costs in recall, as printed and ours.",
    concerns=lambda experiment: experiment.two_stage,
    shows=shows,
)
