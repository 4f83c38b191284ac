"""``site.json``: what the pages show, typed. Every number is one that the tables print, in percent unless said.

A name that ends in ``file`` is a script below ``data``, which a page loads when it is asked for.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

VERSION: Literal[1] = 1


class Strict(BaseModel):
    """No field but those that are stated."""

    model_config = ConfigDict(extra="forbid")


class Number(Strict):
    """A mean over all the seeds of an entry."""

    mean: float
    std: float | None = None
    """Sample standard deviation; None of one seed."""
    text: str
    """As the tables print it."""
    best: bool = False
    """Whether the tables print it bold (``rsitr.tables.view.View.best``)."""
    low: float | None = None
    high: float | None = None
    """Ends of its 95 % interval by bootstrap over test images; None where it was not drawn."""
    group: str = ""
    """Letters of the groups that significance cannot tell apart; empty for a row that takes no part."""


class PublishedRow(Strict):
    """The row of a paper that an entry is shown next to."""

    paper: str
    text: str
    """Paper, table and row in words."""
    values: dict[str, float]
    wrong: str = ""
    """What is wrong with the printed mR; empty if it agrees with its recalls."""
    deltas: dict[str, float] = {}
    """Mean minus the published value, by metric; none where the two are not comparable."""


class Row(Strict):
    """A method on a dataset."""

    dataset: str
    method: str
    base: str
    """The method without its variant."""
    family: str
    """The file that the method is in, below ``rsitr.methods``."""
    backbone: str
    role: str
    status: str
    """ok, stale, incomplete, failed, missing, skipped or not rebuilt."""
    reason: str
    """Why there is no mean; empty where there is one."""
    stale: str
    leaks: str
    trained_on: dict[str, tuple[int, int] | None] = {}
    """Of an external row, what its record says it was trained on -> test images with a near duplicate there, and all of
    them; None where they were not counted."""
    seeds: int
    """With a number."""
    expected: int
    ended: str
    """How its trainings ended: ``2 converged, 1 cap``; ``no training``; empty where the records do not say."""
    numbers: dict[str, Number]
    """Recalls by metric, ``dup_`` before those that count identical captions and pictures; costs, in their units."""
    published: PublishedRow | None = None
    incomparable: str = ""
    """Why it is not compared with the published row; empty where it is, or there is none."""
    file: str = ""


class SeedQueries(Strict):
    """What is stored of the queries of a cell."""

    method: str
    seed: int
    top: bool
    """Whether its first ten items are."""
    file: str


class Dataset(Strict):
    """A dataset of the experiment."""

    name: str
    title: str
    synthetic: bool
    ceilings: dict[str, float]
    """The best recalls that identical captions and pictures leave possible."""
    file: str = ""
    """Its test queries; empty before any cell was evaluated."""
    pairs_file: str = ""
    """Every two methods compared."""
    queries: list[SeedQueries] = []
    here: bool = False
    """Whether its images and captions are shown."""


class Sheet(Strict):
    """A table as the project writes it."""

    name: str
    caption: str
    source: str
    """The csv file that it is."""
    file: str = ""
    """Empty where it was not built."""


class Paged(Strict):
    """A list of image pairs: near duplicates, or test images that leak."""

    name: str
    title: str
    source: str
    count: int
    file: str = ""


class Chart(Strict):
    """A picture of a paper, as data for Vega-Lite."""

    name: str
    title: str
    file: str


class Tiles(Strict):
    """A scene as square tiles, each level half of the next, the last as large as the scene."""

    height: int
    width: int
    """Pixels."""
    size: int
    """Pixels of a tile's side."""
    levels: int


class Searched(Strict):
    """Pictures, or the windows of a scene, that the search page finds."""

    name: str
    count: int
    model: str
    """Which one made the embeddings: the first digits of a hash of its kind and its weights."""
    made_by: str
    """The model in words."""
    tower: bool
    """Whether the text tower of the page is of this model."""
    file: str
    """Names and embeddings."""
    captions_file: str = ""
    """Captions and their embeddings by the model's own text tower; empty without captions."""
    tiles: Tiles | None = None
    """Of a scene."""


class Site(Strict):
    """Everything at the first view, and what else there is."""

    version: Literal[1] = VERSION
    experiment: str
    title: str
    made_by: str
    """rsitr and its version."""
    command: str
    """What makes all results."""
    reproduce: str
    """What makes this site."""
    method: str
    """How rows are compared."""
    bold: str
    metrics: dict[str, str]
    """Recalls -> heads of their columns."""
    costs: dict[str, str]
    """Numbers of computation -> name and unit."""
    roles: list[str]
    problems: list[str]
    """What could not be read, and is left out."""
    datasets: list[Dataset]
    rows: list[Row]
    sheets: list[Sheet]
    paged: list[Paged]
    charts: list[Chart]
    searched: list[Searched] = []


class Seed(Strict):
    """A cell: one seed of a row."""

    seed: int
    status: str
    reason: str
    stale: str
    source: str
    """Its ``cell.json``."""
    command: str
    """What computes it; empty of an external row, whose record does not say where the model was."""
    identities: list[dict[str, Any]]
    """Of each part: the recorded hash, the present one, and the certificates between them."""
    history: list[dict[str, str]]
    record: str
    """The text of ``cell.json`` as it is, be it damaged; empty without one."""


class Deviation(Strict):
    """A way in which a row is not the published method."""

    text: str
    setting: str = ""
    ours: str = ""
    published: str = ""
    """The three of a setting that has another value; empty for anything else."""


class Detail(Strict):
    """The page of a row."""

    seeds: list[Seed]
    deviations: list[Deviation]
    settings: dict[str, Any]
    """The configuration in full."""
    tuning: dict[str, Any] | None = None
    """Of the method on the dataset: place, reason, stale and the record."""
