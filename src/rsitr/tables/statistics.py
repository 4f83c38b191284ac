"""Statistics of captions: the numbers of AMFMN's Fig. 9 next to the published ones, and the maps of Fig. 7."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from rsitr.captions.similarity_map import SimilarityMap, similarity_map
from rsitr.captions.statistics import Image, describe, images_of
from rsitr.datasets.layouts import read_annotation, reasons
from rsitr.datasets.table import read_table
from rsitr.errors import DatasetError
from rsitr.figures import similarity, statistics
from rsitr.figures.near_duplicates import draw_notice
from rsitr.records.cell import Published
from rsitr.tables.declared import Declared, Shown, rendered
from rsitr.tables.layout import Cell, Group, Note, Row, Sheet, Table, command, labelled, noted, write
from rsitr.tables.published import lookup, places


class Column(NamedTuple):
    """A number of every dataset."""

    title: str
    form: str
    """How it is written: a format specification."""
    published: str = ""
    """Its metric in ``published.csv``; empty if the paper has no such number."""


COLUMNS = {
    "captions": Column("captions", ".0f"),
    "images": Column("images", ".0f", "images"),
    "sentence_length": Column("sentence length", ".2f", "avg_sentence_length"),
    "diversity": Column("diversity", ".2f", "diversity"),
    "words": Column("words", ".0f", "words"),
    "classes": Column("classes", ".0f", "classes"),
    "similarity": Column("average similarity (val)", ".3f", "avg_similarity"),
    "similarity_test": Column("average similarity (test)", ".3f"),
}
PANELS = ("images", "sentence_length", "diversity", "similarity", "words", "classes")
"""In the order of Fig. 9."""
SPLITS = {"similarity": "val", "similarity_test": "test"}
"""Fig. 7 and Fig. 9(d) are of the validation splits (section IV-A); methods are compared on the test splits."""
PAPER = Published(paper="amfmn2022", table="fig9", method="dataset")
PRINTED = tuple(column.published for column in COLUMNS.values() if column.published)
PUBLISHED_PART = {"sydney": ("train", "val")}
"""Splits that the paper counts, if not all."""
CAPTION = (
    "Sentence length: words per caption on average, punctuation marks included. Diversity: captions that differ in any "
    "character, per image. Words: distinct ones in lower case, punctuation marks included. All splits count here. "
    "Average similarity: the prior as AMFMN's authors released it, over all captions and all images of the validation "
    "split, and of the test split."
)
PUBLISHED_CAPTION = (
    "AMFMN, Fig. 9. Its sentence lengths are cut after two decimals, so ours, which are rounded, may be 0.01 higher."
)
REMARKS = {
    "sydney": {
        "images": "the paper counts 555 images, as many as in the training and validation splits; its diversity and "
        "words are those of these two"
    },
    "rsicd": {
        "classes": "the class list of RSICD's authors distinguishes playfields from playground",
        "similarity": "not a slip, though twice the average of the test split: the paper's averages are of the "
        "validation splits (section IV-A), and the captions of RSICD's are shorter and more similar",
    },
    "rsitmd": {"classes": "six images are of a class plane; the paper's Table I counts them among its 140 of airport"},
}
"""What explains a published number, by dataset and column."""
NOTHING: Mapping[str, float] = MappingProxyType({})
NOT_STATED = Note("the annotation states no classes")


class Measured(NamedTuple):
    """A row: every known number of a set of images, and the reason for every unknown one."""

    dataset: str
    label: str
    ours: Mapping[str, float | Note]
    """By column; those left out do not apply to this row."""
    part: tuple[str, ...] = ()
    """Splits that count, if not all."""
    published: Mapping[str, float] = NOTHING
    map: SimilarityMap | None = None

    @property
    def unknown(self) -> str:
        """Why no number is known; empty where one is."""
        notes = dict.fromkeys(value.text for value in self.ours.values() if isinstance(value, Note))
        known = any(not isinstance(value, Note) for value in self.ours.values())
        return "" if known else "; ".join(notes)

    def texts(self) -> dict[str, str]:
        """Title of each column and our number, for a terminal."""
        return {column.title: self.cell(key).text for key, column in COLUMNS.items()}

    def cell(self, key: str) -> Cell:
        """Our number."""
        value = self.ours.get(key, float("nan"))
        if isinstance(value, Note):
            return Cell("NA", notes=(value,))
        return Cell(format(value, COLUMNS[key].form) if key in self.ours else "")

    def published_cells(self, key: str) -> Iterator[Cell]:
        """The published number and the difference; empty if there is none."""
        if key not in self.published:
            yield from (Cell(), Cell())
            return
        ours, published, form = self.ours.get(key), self.published[key], COLUMNS[key].form
        yield noted(format(published, form), REMARKS.get(self.dataset, {}).get(key, ""))
        yield Cell(_signed(ours - published, form) if isinstance(ours, float | int) else "")


def _signed(difference: float, form: str) -> str:
    text = format(difference, f"+{form}")
    return text if float(text) else text[1:]


def published_numbers(dataset: str) -> dict[str, float]:
    """What Fig. 9 prints for a dataset, by column; empty if it has nothing."""
    values = lookup(PAPER, dataset, PRINTED)
    return {key: values[column.published] for key, column in COLUMNS.items() if column.published in values}


def _similarity(images: Sequence[Image], split: str, threads: int, title: str) -> SimilarityMap | Note:
    try:
        chosen = [image for image in images if image.split == split]
        return similarity_map(chosen, threads, f"{title} {split} similarity")
    except DatasetError as error:
        return Note(f"{split}: {error}")


def _counts(images: Sequence[Image]) -> dict[str, float | Note]:
    found: dict[str, float | Note] = dict(describe(images)._asdict())
    return found | ({} if found["classes"] else {"classes": NOT_STATED})


def measure(
    name: str, images: Sequence[Image], threads: int = 1, *, label: str = "", published: Mapping[str, float] = NOTHING
) -> list[Measured]:
    """The row of a dataset, and a second one for the splits that the paper counts, if not all.

    The rows are called ``label``, or ``name``. Raises ``DatasetError`` if no image has a caption.
    """
    label, counts = label or name, _counts(images)
    maps = {key: _similarity(images, split, threads, name) for key, split in SPLITS.items()}
    averages = {key: found if isinstance(found, Note) else found.average for key, found in maps.items()}
    shown = found if isinstance(found := maps["similarity"], SimilarityMap) else None
    whole, part = counts | averages, PUBLISHED_PART.get(name)
    if not published or part is None:
        return [Measured(name, label, whole, published=published, map=shown)]
    counted = _counts([image for image in images if image.split in part]) | {"similarity": averages["similarity"]}
    return [
        Measured(name, label, whole, map=shown),
        Measured(name, f"{label} {' + '.join(part)}", counted, part, published),
    ]


def measure_annotation(path: Path, threads: int = 1) -> tuple[list[Measured], list[str]]:
    """The row of a user's own annotation in any layout, and what of it was left out, by reason.

    Raises ``DatasetError`` for an annotation in no layout, or of nothing.
    """
    read = read_annotation(path)
    images = [Image(row.image_id, row.split, row.class_name, row.captions) for row in read.rows]
    return measure(path.stem, images, threads), reasons(read.lost)


def _measure_table(name: str, path: Path, threads: int) -> list[Measured]:
    try:
        table, facts = read_table(path)
        images = images_of(table)
        published = NOTHING if facts.synthetic else published_numbers(name)
        return measure(name, images, threads, label=labelled(name, facts.synthetic), published=published)
    except DatasetError as error:
        return [Measured(name, name, dict.fromkeys(COLUMNS, Note(str(error))), published=published_numbers(name))]


def _own(rows: Sequence[Measured]) -> Table:
    groups = (Group("", tuple(column.title for column in COLUMNS.values())),)
    cells = tuple(Row(row.label, tuple(map(row.cell, COLUMNS))) for row in rows)
    return Table("Statistics of captions", CAPTION, "dataset", groups, cells)


def _compared(rows: Sequence[Measured]) -> Table:
    keys = [key for key, column in COLUMNS.items() if column.published]
    groups = tuple(Group(COLUMNS[key].title, ("ours", "published", "Δ")) for key in keys)
    cells = tuple(
        Row(row.label, tuple(chain(*((row.cell(key), *row.published_cells(key)) for key in keys)))) for row in rows
    )
    return Table("Next to the published numbers", PUBLISHED_CAPTION, "dataset", groups, cells)


def _bars(rows: Sequence[Measured], key: str) -> Iterator[statistics.Bar]:
    """One for each dataset: for the row that the published numbers belong to, if there are two."""
    for row in {row.dataset: row for row in rows}.values():
        ours = row.ours.get(key)
        yield statistics.Bar(row.label, None if isinstance(ours, Note) else ours, row.published.get(key))


def measure_tables(tables: Mapping[str, Path], threads: int = 1) -> list[Measured]:
    """The rows of canonical tables; a missing one is NA with the reason."""
    return [row for name, path in tables.items() for row in _measure_table(name, path, threads)]


def write_rows(rows: Sequence[Measured], name: str, made_by: str, out_dir: Path) -> list[Path]:
    """Write ``statistics.csv``, ``.md``, ``.tex``, ``.html`` and ``.png`` and ``similarity.png`` into ``out_dir``.

    ``made_by`` is the command that reproduces them.
    """
    title = f"Captions of {name}"
    tables = [_own([row for row in rows if not row.part])]
    if compared := [row for row in rows if row.published]:
        tables.append(_compared(compared))
    written = write(Sheet(title, tuple(tables), made_by), out_dir / "statistics")
    panels = [statistics.Panel(COLUMNS[key].title, COLUMNS[key].form, tuple(_bars(rows, key))) for key in PANELS]
    written.append(statistics.draw(title, panels, out_dir / "statistics.png"))
    maps = [similarity.Panel(f"{row.label} {SPLITS['similarity']}", row.map) for row in rows if row.map]
    picture = out_dir / "similarity.png"
    if maps:
        similarity.draw(f"Similarity of the captions of {name}", maps, picture)
    else:
        draw_notice("no dataset with captions in a validation split", picture)
    return [*written, picture]


def build(tables: Mapping[str, Path], experiment: str, out_dir: Path, threads: int = 1) -> list[Path]:
    """The files of ``write_rows`` for the datasets of an experiment, by the paths of their canonical tables."""
    return write_rows(measure_tables(tables, threads), experiment, command(experiment), out_dir)


TABLE = Declared(
    "statistics",
    lambda material: build(material.canonical, material.name, material.out, material.threads),
    "What the captions of each dataset are like (AMFMN, Fig. 9), with the published values, and maps of their "
    "similarity (Fig. 7).",
    "canonical",
    listed=lambda experiment: [*rendered("statistics", "png"), "similarity.png"],
    shows=lambda experiment: (Shown("statistics", places(PAPER, name, PRINTED), name) for name in experiment.datasets),
)
