"""Where every file of every dataset comes from: one row per file, as the source tables of the datasets state it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import chain

from rsitr.datasets import registry
from rsitr.datasets.base import Bundle, Source
from rsitr.tables.declared import sheet
from rsitr.tables.layout import Cell, Group, Row, Table

COLUMNS = ("origin", "file", "where", "revision", "bytes", "sha256", "licence")
UNKNOWN = "not published"
ABOUT_CITATIONS = "What to cite for a dataset, in addition to this benchmark."
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


def _texts(bundle: Bundle, source: Source) -> Iterator[str]:
    """The texts of a file's row, in the order of ``COLUMNS``."""
    yield bundle.origin
    yield f"{source.file} (optional)" if source.optional else source.file
    yield " ".join([*([f"$RSITR_MIRROR/{source.mirror}"] if source.mirror else []), *source.urls])
    yield " ".join(dict.fromkeys(filter(None, map(revision, source.urls)))) or "none"
    yield from (UNKNOWN if source.bytes is None else str(source.bytes), source.sha256 or UNKNOWN, bundle.licence)


def _files(name: str) -> Iterator[Row]:
    for bundle in registry()[name].bundles:
        for source in bundle.sources:
            yield Row(name, tuple(map(Cell, _texts(bundle, source))))
        if bundle.origin == "generated":
            yield Row(name, tuple(map(Cell, ("generated", "none", "drawn by rsitr", "none", "", "", bundle.licence))))


def listed(datasets: Sequence[str]) -> Iterator[Table]:
    """The ``datasets`` of an experiment and every other one that is fetched, not drawn.

    What a method was pretrained on also has a source.
    """
    known = registry()
    others = [name for name, dataset in known.items() if name not in datasets and not dataset.synthetic]
    cited = [(name, known[name]) for name in [*datasets, *others]]
    rows = [Row(name, tuple(map(Cell, (it.title, it.bundles[0].homepage, it.citation)))) for name, it in cited]
    groups = (Group("", ("title", "homepage", "citation")),)
    yield Table("Datasets", ABOUT_CITATIONS, "dataset", groups, tuple(rows))
    for title, names in (("Files of the datasets of the experiment", datasets), ("Files of other datasets", others)):
        yield Table(title, CAPTION, "dataset", (Group("", COLUMNS),), tuple(chain(*map(_files, names))))


TABLE = sheet(
    "sources",
    "Sources of {.name}",
    lambda material: listed(material.experiment.datasets),
    "Where the files of every dataset come from, with their sizes, hashes and licences.",
    made_from="sources",
)
