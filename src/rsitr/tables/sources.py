"""Where every file of every dataset comes from: one row per file, as the source tables of the datasets state it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from rsitr.datasets import known, registry
from rsitr.datasets.base import Bundle
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


def _texts(bundle: Bundle) -> Iterator[tuple[str, ...]]:
    """The texts of a row for each file, in the order of ``COLUMNS``."""
    for source in bundle.sources:
        file = f"{source.file} (optional)" if source.optional else source.file
        where = " ".join([*([f"$RSITR_MIRROR/{source.mirror}"] if source.mirror else []), *source.urls])
        where = where or "a folder of the user's"
        revisions = " ".join(dict.fromkeys(filter(None, map(revision, source.urls)))) or "none"
        size = UNKNOWN if source.bytes is None else str(source.bytes)
        yield bundle.origin, file, where, revisions, size, source.sha256 or UNKNOWN, bundle.licence
    if bundle.origin == "generated":
        yield bundle.origin, "none", "drawn by rsitr", "none", "", "", bundle.licence


def listed(datasets: Sequence[str]) -> Iterator[Table]:
    """The ``datasets`` of an experiment and every other one that is fetched, not drawn.

    What a method was pretrained on also has a source.
    """
    found = known()
    others = [name for name, dataset in registry().items() if name not in datasets and not dataset.synthetic]
    cited = [(name, found[name]) for name in [*datasets, *others]]
    rows = [Row(name, tuple(map(Cell, (it.title, it.bundles[0].homepage, it.citation)))) for name, it in cited]
    groups = (Group("", ("title", "homepage", "citation")),)
    yield Table("Datasets", ABOUT_CITATIONS, "dataset", groups, tuple(rows))
    for title, names in (("Files of the datasets of the experiment", datasets), ("Files of other datasets", others)):
        texts = [(name, row) for name in names for bundle in found[name].bundles for row in _texts(bundle)]
        rows = [Row(name, tuple(map(Cell, row))) for name, row in texts]
        yield Table(title, CAPTION, "dataset", (Group("", COLUMNS),), tuple(rows))


TABLE = sheet(
    "sources",
    "Sources of {.name}",
    lambda material: listed(material.experiment.datasets),
    "Where the files of every dataset come from, with their sizes, hashes and licences.",
    made_from="sources",
)
