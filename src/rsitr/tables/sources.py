"""Where every file of every dataset comes from: one row per file, as the source tables of the datasets state it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rsitr.datasets import registry
from rsitr.datasets.base import Bundle, Dataset, Source
from rsitr.tables.declared import Declared
from rsitr.tables.layout import Cell, Group, Row, Table, write_tables

COLUMNS = ("origin", "file", "where", "revision", "bytes", "sha256", "licence")
UNKNOWN = "not published"
CAPTION = (
    "Addresses are tried in order; gdrive is Google Drive, hf is Hugging Face, and RSITR_MIRROR names a local mirror. "
    "Sizes and checksums that nobody has published are not made up here. Revision: the commit or branch that the "
    "address names."
)


def revision(url: str) -> str:
    """The commit or branch that a Hugging Face or GitHub address names; empty if an address has none."""
    match = re.match(r"hf://(?:datasets/)?[^/]+/[^/@]+@([^/]+)/", url)
    match = match or re.search(r"githubusercontent\.com/(?:media/)?[^/]+/[^/]+/([^/]+)/", url)
    return match[1] if match else ""


def _texts(bundle: Bundle, source: Source) -> tuple[str, ...]:
    """The texts of a file's row, in the order of ``COLUMNS``."""
    mirror = [f"$RSITR_MIRROR/{source.mirror}"] if source.mirror else []
    revisions = dict.fromkeys(filter(None, map(revision, source.urls)))
    return (
        bundle.origin,
        f"{source.file} (optional)" if source.optional else source.file,
        " ".join([*mirror, *source.urls]),
        " ".join(revisions) or "none",
        UNKNOWN if source.bytes is None else str(source.bytes),
        source.sha256 or UNKNOWN,
        bundle.licence,
    )


def _files(name: str) -> Iterator[Row]:
    for bundle in registry()[name].bundles:
        for source in bundle.sources:
            yield Row(name, tuple(map(Cell, _texts(bundle, source))))
        if bundle.origin == "generated":
            yield Row(name, tuple(map(Cell, ("generated", "none", "drawn by rsitr", "none", "", "", bundle.licence))))


def _table_of_files(title: str, names: Sequence[str]) -> Table:
    rows = tuple(row for name in names for row in _files(name))
    return Table(title, CAPTION, "dataset", (Group("", COLUMNS),), rows)


def _table_of_citations(datasets: Mapping[str, type[Dataset]]) -> Table:
    texts = {name: (each.title, each.bundles[0].homepage, each.citation) for name, each in datasets.items()}
    rows = tuple(Row(name, tuple(map(Cell, cells))) for name, cells in texts.items())
    caption = "What to cite for a dataset, in addition to this benchmark."
    return Table("Datasets", caption, "dataset", (Group("", ("title", "homepage", "citation")),), rows)


def build(datasets: Sequence[str], experiment: str, out_dir: Path) -> list[Path]:
    """Write ``sources.csv``, ``.md``, ``.tex`` and ``.html`` into ``out_dir``.

    They list the ``datasets`` of the experiment and every other one that is fetched, not drawn, since what a method was
    pretrained on also has a source.
    """
    others = [name for name, dataset in registry().items() if name not in datasets and not dataset.synthetic]
    tables = (
        _table_of_citations({name: registry()[name] for name in [*datasets, *others]}),
        _table_of_files("Files of the datasets of the experiment", datasets),
        _table_of_files("Files of other datasets", others),
    )
    return write_tables(f"Sources of {experiment}", tables, experiment, out_dir / "sources")


TABLE = Declared(
    "sources",
    lambda material: build(material.experiment.datasets, material.name, material.out),
    "Where the files of every dataset come from, with their sizes, hashes and licences.",
    "sources",
)
