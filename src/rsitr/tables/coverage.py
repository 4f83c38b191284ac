"""What became of every number that the papers print: one of ours is next to it, or there is a reason why not.

The experiment decides, not its records: nothing has to be run to know what it can be compared with.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from rsitr.datasets import known as datasets
from rsitr.datasets.protocols import differences
from rsitr.methods.catalog import schemas
from rsitr.params import Experiment, Params
from rsitr.params.ids import CellId
from rsitr.records.cell import UNCLAIMED
from rsitr.records.files import write_csv
from rsitr.tables.declared import Declared, Shown, registry
from rsitr.tables.layout import Cell, Group, Row, Table, write_tables
from rsitr.tables.not_rebuilt import ELSEWHERE, KINDS, reasons
from rsitr.tables.published import SETTING, load

COMPARABLE, DIFFERENT, MEASURED, ABSENT = "comparable", "not comparable", "measured", "not in this experiment"
STATUSES = {name: name for name in (COMPARABLE, DIFFERENT, MEASURED)} | KINDS | {ABSENT: ABSENT}
"""What a value can be -> the head of its column."""
CAPTION = (
    "How many of the numbers that the papers print have a number of this experiment next to them, whether it has run "
    "or not. Comparable: a cell stands for the row, in the published configuration as far as is known before it runs. "
    "Not comparable: a table shows both, and the next one here says what keeps them apart. Measured: a count or a "
    "statistic of a dataset, next to ours. The other columns are kinds of reasons why no cell stands for a row; the "
    "last table has the reasons. Papers and tables are called as in published.csv."
)
ABOUT_DIFFERENT = (
    "A cell is not comparable if its method states a departure from the published one, if params.yaml changes a "
    "setting, if it trains on other images than the paper (another split protocol, near duplicates left out), or if "
    "our table of the paper says that the row differs. The numbers of a row are judged together, by all reasons that "
    "hold for it."
)
ABOUT_REASONS = (
    "From not_rebuilt.csv. Copied and contradicted numbers are counted here even where a table shows ours next to them."
)
Value = tuple[int, str]
"""Place of a row in ``published.csv``, and metric."""


@dataclass(frozen=True)
class Covered:
    """What became of a printed value."""

    status: str
    """Of ``STATUSES``."""
    ours: str = ""
    """The method, as a cell names it, or the table that measures the same; empty without either."""
    table: str = ""
    """The table of ours that shows both."""
    why: tuple[str, ...] = ()
    """The reasons why the two cannot be compared, or why we have no number."""
    role: str = ""
    """That of the cell of ours."""


def cover(params: Params, name: str) -> dict[Value, Covered]:
    """Every printed value, in the order of the file, with what the experiment ``name`` has for it.

    Raises ``DatasetError`` where ``not_rebuilt.csv`` does not fit ``published.csv``.
    """
    claims, without = claimed(params, name), reasons()
    frame = load()
    found = {}
    for value in zip(frame.index, frame["metric"], strict=True):
        line, claim = without.get(value[0]), claims.get(value)
        if line and (claim is None or line.kind in ELSEWHERE):
            found[value] = Covered(line.kind, why=(line.reason,))
        else:
            found[value] = claim or Covered(ABSENT)
    return found


def claimed(params: Params, name: str) -> dict[Value, Covered]:
    """The printed values that a table of the experiment shows next to a number of ours.

    Where it shows several of ours, the one whose method names the row comes first.
    """
    experiment = params[name]
    printed = load()[["paper", "variant"]].groupby(level=0).first()
    found: dict[Value, Covered] = {}
    for table in registry().values():
        for shown in table.shows(experiment) if table.files(experiment) else ():
            if shown.values and _has(experiment, shown):
                covered = _covered(params, name, shown, *printed.loc[shown.values[0][0]])
                for value in shown.values:
                    if value not in found or UNCLAIMED in found[value].why:
                        found[value] = covered
    return found


def _has(experiment: Experiment, shown: Shown) -> bool:
    """Whether the experiment has the number of ours; any dataset will do for a number without one."""
    if not shown.method:
        return shown.dataset in ("", *experiment.datasets)
    return any(shown.method in block.methods and shown.dataset in ("", *block.datasets) for block in experiment.matrix)


def _covered(params: Params, name: str, shown: Shown, paper: str, row: str) -> Covered:
    """What a table shows next to a number of a paper, of the variant ``row`` in published.csv."""
    why = [shown.differs] if shown.differs else []
    if not shown.method:
        return Covered(DIFFERENT if why else MEASURED, shown.table, shown.table, tuple(why))
    cells = (cell for cell in params.cells(name) if cell.method == shown.method)
    cell = next(cell for cell in cells if shown.dataset in ("", cell.dataset))
    why += _differences(params, cell, paper, row)
    status = DIFFERENT if why else COMPARABLE
    return Covered(status, shown.method, shown.table, tuple(why), params.role(cell))


def _differences(params: Params, cell: CellId, paper: str, row: str) -> Iterator[str]:
    """In what a cell differs from the paper, as far as that is known before it runs."""
    facts = schemas()[cell.method_name]
    # A variant that params.yaml alone knows is the method in other settings.
    variant = cell.variant if cell.variant in facts["variants"] else ""
    yield from facts["differences"][variant]
    fields = facts["schema"].get("properties", {})
    published = {field: about.get("default") for field, about in fields.items()} | facts["variants"].get(variant, {})
    settings = params.overlay(cell, fields)
    if any(value != published[field] for field, value in settings.items()):
        yield "other settings in params.yaml"
    if facts["trainable"] and params.tuned(cell):
        yield "tuned settings"
    if facts["trainable"]:
        yield from differences(paper, row, params.clean(cell))


def _counts(found: Mapping[Value, Covered]) -> Table:
    """A row for each table of a paper, and their sum."""
    places = list(zip(load()["paper"], load()["table"], strict=True))
    counted = Counter(zip(places, (covered.status for covered in found.values()), strict=True))
    sums = Counter(covered.status for covered in found.values())
    shown = {status: head for status, head in STATUSES.items() if sums[status]}
    rows = [
        _row(paper, table, *_written(counted[(paper, table), status] for status in shown))
        for paper, table in dict.fromkeys(places)
    ]
    rows.append(_row("all", "", *_written(sums[status] for status in shown)))
    return _table("Printed values", CAPTION, ("its table", "values", *shown.values()), rows)


def _written(numbers: Iterable[int]) -> list[str]:
    """A sum and its parts, with nothing for none."""
    parts = [*numbers]
    return [f"{number:,}" if number else "" for number in (sum(parts), *parts)]


def _different(found: Mapping[Value, Covered]) -> Table:
    """A row for each reason why numbers of a paper are not comparable, the most frequent first."""
    values: Counter[tuple[str, str]] = Counter()
    methods: dict[tuple[str, str], dict[str, None]] = {}
    for paper, covered in zip(load()["paper"], found.values(), strict=True):
        for why in covered.why if covered.status == DIFFERENT else ():
            values[paper, why] += 1
            methods.setdefault((paper, why), {})[covered.ours.partition("@")[0]] = None
    papers = list(dict.fromkeys(load()["paper"]))
    ordered = sorted(values.most_common(), key=lambda item: papers.index(item[0][0]))
    rows = (_row(*key, f"{count:,}", ", ".join(methods[key])) for key, count in ordered)
    return _table("Why numbers are not comparable", ABOUT_DIFFERENT, ("reason", "values", "ours"), rows)


def _reasons(found: Mapping[Value, Covered]) -> Table:
    """A row for each reason why no cell stands for rows of a table."""
    values: Counter[tuple[str, ...]] = Counter()
    for (place, _), covered in found.items():
        if covered.status in KINDS:
            line = reasons()[place]
            row = f"{line.method} {'' if line.variant == '*' else line.variant}".strip()
            values[line.paper, line.table, row, KINDS[line.kind], line.reason] += 1
    rows = (_row(*key[:3], f"{count:,}", *key[3:]) for key, count in values.items())
    columns = ("its table", "row", "values", "kind", "reason")
    return _table("Rows that no cell stands for", ABOUT_REASONS, columns, rows)


def _row(paper: str, *texts: str) -> Row:
    return Row(paper, tuple(map(Cell, texts)))


def _table(name: str, caption: str, columns: tuple[str, ...], rows: Iterable[Row]) -> Table:
    """A table with a line above each paper."""
    found = [*rows]
    apart = (place == 0 or row.label != found[place - 1].label for place, row in enumerate(found))
    lines = tuple(replace(row, rule=rule) for row, rule in zip(found, apart, strict=True))
    return Table(name, caption, "paper", (Group("", columns),), lines)


def write_values(found: Mapping[Value, Covered], path: Path) -> Path:
    """Write a line for each printed value."""
    frame = load()
    printed = (*SETTING[:6], "metric", "value")
    lines = zip(*(frame[name] for name in printed), found.values(), strict=True)
    columns = (*printed, "status", "ours", "role", "shown in", "why")
    rows = ((*line, it.status, it.ours, it.role, it.table, "; ".join(it.why)) for *line, it in lines)
    write_csv(path, columns, [*rows])
    return path


def build(params: Params, name: str, out_dir: Path) -> list[Path]:
    """Write ``coverage.csv``, ``.md``, ``.tex``, ``.html`` and ``.long.csv``."""
    found = cover(params, name)
    tables = [make(found) for make in (_counts, _different, _reasons)]
    shown = [table for table in tables if table.rows]
    written = write_tables(f"Coverage of the papers in {name}", shown, name, out_dir / "coverage")
    return [*written, write_values(found, out_dir / "coverage.long.csv")]


TABLE = Declared(
    "coverage",
    lambda material: build(material.params, material.name, material.out),
    "How many of the numbers that the papers print have a comparable number of ours next to them, and why the others "
    "have none.",
    "sources",
    others=("long.csv",),
    # Nothing is compared with synthetic data.
    concerns=lambda experiment: not all(datasets()[name].synthetic for name in experiment.datasets),
)
