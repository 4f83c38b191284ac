"""What a table module declares, once: its name, what it is made from, its files and its caption.

The command line, the Snakefile and the workflow's report read this. A new table is one module with a ``TABLE``.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from rsitr.errors import ParamsError
from rsitr.params import Experiment, Params
from rsitr.params.ids import CellId, TuningId
from rsitr.tables.layout import Table, write_tables

if TYPE_CHECKING:
    from rsitr.tables.two_stage import Series
    from rsitr.tables.view import View

Source = Literal["records", "canonical", "near duplicates", "sources"]
"""Records of artefacts; canonical tables alone; these and the pairs of near duplicates; what params.yaml and the
modules of datasets and methods state."""
GROUPS: dict[str, Source] = {"facts": "canonical", "records": "records"}
"""Names of groups of tables that are made from the same."""


class _Material(Protocol):
    """What tables need of ``rsitr.pipeline.report.Material``, which says what everything is."""

    name: str
    experiment: Experiment
    params: Params
    out: Path

    def write_overlaps(self) -> Path: ...
    @property
    def view(self) -> View: ...
    @property
    def series(self) -> Sequence[Series]: ...
    @property
    def studied(self) -> Mapping[CellId, Sequence[str]]: ...
    @property
    def tunings(self) -> Mapping[TuningId, Sequence[str]]: ...
    @property
    def scenes(self) -> Mapping[str, Sequence[str]]: ...
    @property
    def canonical(self) -> Mapping[str, Path]: ...
    @property
    def compared(self) -> Mapping[str, Path]: ...
    @property
    def near_duplicates(self) -> Mapping[tuple[str, str], Path]: ...
    @property
    def threads(self) -> int: ...


class Shown(NamedTuple):
    """Printed values that a table shows next to a number of ours."""

    table: str
    """Name of its files."""
    values: Sequence[tuple[int, str]]
    """Place of the row in ``published.csv``, and metric."""
    dataset: str
    """Empty for numbers that the paper gives for all datasets together, or without any."""
    method: str = ""
    """That of our cells; empty where the number is a measure of something else."""
    differs: str = ""
    """Why the two are not comparable, whatever the configuration."""


@dataclass(frozen=True)
class Declared:
    """A table, or a few that belong together."""

    name: str
    build: Callable[[_Material], list[Path]]
    caption: str
    """For the workflow's report."""
    made_from: Source = "records"
    others: tuple[str, ...] = ()
    """Files that are written with those of every format: ``png`` for ``NAME.png``."""
    concerns: Callable[[Experiment], object] = lambda experiment: True
    """Whether the table is part of an experiment."""
    listed: Callable[[Experiment], Iterable[str]] | None = None
    """Names of its files, if they are not those of one table in every format."""
    shows: Callable[[Experiment], Iterable[Shown]] = lambda experiment: ()
    """The printed values that it shows next to ours."""

    def files(self, experiment: Experiment) -> list[str]:
        """Names of its files; none where it is not part of an experiment."""
        if not self.concerns(experiment):
            return []
        return [*(self.listed(experiment) if self.listed else rendered(self.name, *self.others))]


def sheet(name: str, title: str, tables: Callable[[_Material], Iterable[Table]], caption: str, **rest: Any) -> Declared:
    """Tables of one sheet, written as ``NAME.csv``, ``.md``, ``.tex`` and ``.html``; nothing without any table.

    ``title`` is a format for the material, such as ``Sources of {.name}``; ``rest`` are other fields of ``Declared``.
    """

    def build(material: _Material) -> list[Path]:
        found = [*tables(material)]
        return write_tables(title.format(material), found, material.name, material.out / name) if found else []

    return Declared(name, build, caption, **rest)


def rendered(name: str, *others: str) -> list[str]:
    """Files of a table in every format, and others that are written with it."""
    return [f"{name}.{kind}" for kind in ("csv", "md", "tex", "html", *others)]


@cache
def registry() -> dict[str, Declared]:
    """Every declared table by name."""
    import rsitr.tables as package

    modules = (
        importlib.import_module(f"{package.__name__}.{each.name}") for each in pkgutil.iter_modules(package.__path__)
    )
    return {module.TABLE.name: module.TABLE for module in modules if hasattr(module, "TABLE")}


def chosen(only: str | None) -> list[Declared]:
    """The tables of a name or a group; all where none is given. Raises ``ParamsError`` for an unknown name."""
    known = registry()
    if only is None:
        return list(known.values())
    if only in GROUPS:
        return [table for table in known.values() if table.made_from == GROUPS[only]]
    if only not in known:
        raise ParamsError(f"unknown table {only!r}: the known ones are {', '.join([*GROUPS, *known])}")
    return [known[only]]
