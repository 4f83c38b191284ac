"""Build the site of an experiment: from what the tables are made of, and from the tables, never by another way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from filelock import FileLock

from rsitr import __version__
from rsitr.datasets import known
from rsitr.datasets.splits import load_splits
from rsitr.errors import DatasetError, MissingExtra, RecordError
from rsitr.params import Params
from rsitr.params.ids import TuningId
from rsitr.pipeline.report import Material
from rsitr.records.files import write_text
from rsitr.records.paths import Paths
from rsitr.site import charts, faults, pictures, queries, sheets
from rsitr.site.details import detail
from rsitr.site.frame import INDEX, TYPED, copy_pages, rewritten
from rsitr.site.models import Dataset, Row, Searched, Site
from rsitr.site.rows import COSTS, row
from rsitr.site.scripts import Folder
from rsitr.tables import groups, two_stage
from rsitr.tables.entries import Entry
from rsitr.tables.groups import PREFIXES, Compared
from rsitr.tables.layout import command
from rsitr.tables.published import METRICS
from rsitr.tables.tuning import Found
from rsitr.tables.tuning import collect as collect_tunings
from rsitr.tables.view import BOLD, HEADERS, ROLES, View

if TYPE_CHECKING:
    from rsitr.external.models import Encoder

LOCK = Path(".rsitr/locks/site.lock")
"""Of two builds at once, one waits for the other."""


class Built(NamedTuple):
    """A site."""

    page: Path
    """The page to open."""
    problems: list[str]
    """What could not be read, and is named on its pages."""


def build(
    params: Params,
    experiment: str,
    out: Path | None = None,
    with_pictures: bool = False,
    model: Encoder | None = None,
    external: bool = False,
) -> Built:
    """Write the site of an experiment into ``out``, by default ``results/site/EXPERIMENT``; an older one is replaced.

    ``with_pictures``: with captions, and with thumbnails made here, of the datasets that are here. Generated data has
    both always. ``model``: with a search page over their test images, by this model. ``external``: with rows of what
    others have made (``rsitr.external``). Raises ``ParamsError`` where ``out`` is another folder that is not empty.
    """
    out = out or Paths.site(experiment)
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(LOCK), rewritten(out) as staging:
        site = _Builder(Material(params, experiment, external, lenient=True), staging, with_pictures).site(model)
        write_text(staging / TYPED, site.model_dump_json(indent=1) + "\n")
        Folder(staging).write("site", site)
        copy_pages(staging)
    return Built(out / INDEX, site.problems)


class _Builder:
    """One build."""

    def __init__(self, material: Material, out: Path, with_pictures: bool):
        self.material, self.out, self.with_pictures = material, out, with_pictures
        self.folder = Folder(out)
        self.problems = [*material.present.ledger.problems]
        self.wanted: dict[str, set[str]] = {}
        """Images to show, by dataset."""

    def site(self, model: Encoder | None) -> Site:
        """Everything of the site but its pages; with a ``model``, pictures to search."""
        view, name = self.material.view, self.material.name
        self.problems += dict.fromkeys(self.material.damaged.values())
        compared = {dataset: groups.compare(view.of(dataset), view.usual_seeds(dataset)) for dataset in view.datasets}
        lists = sheets.paged(self.material, self.folder, self.problems)
        found = Site(
            experiment=name,
            title=view.title,
            made_by=f"rsitr {__version__}",
            command=command(name),
            reproduce=f"rsitr site {name}" + " --external" * self.material.external,
            method=groups.METHOD,
            bold=BOLD.strip(),
            metrics={metric: HEADERS[metric] for metric in METRICS},
            costs=COSTS,
            roles=[*ROLES],
            problems=self.problems,
            datasets=[self._dataset(view, dataset, compared[dataset]) for dataset in view.datasets],
            rows=self._rows(view, compared),
            sheets=[*sheets.sheets(self.material, self.folder), *self._faults()],
            paged=lists,
            charts=charts.charts(self.material, self.folder, self._series()),
        )
        if model:
            found.searched = self._searched(found.datasets, model)
        self._pictures(lists)
        found.problems = self.problems
        return found

    def _rows(self, view: View, compared: Mapping[str, Mapping[str, Compared]]) -> list[Row]:
        tuned = self._tuned()
        found = []
        for entry in (entry for dataset in view.datasets for entry in view.of(dataset)):
            each = row(view, entry, compared[entry.dataset])
            key = f"cells/{entry.dataset}/{entry.method}"
            each.file = self.folder.pack(key, detail(self.material, entry, tuned).model_dump(mode="json"))
            found.append(each)
        return found

    def _dataset(self, view: View, name: str, compared: Mapping[str, Compared]) -> Dataset:
        entries = view.of(name)
        stored, first = queries.collect(self.folder, entries, self.problems)
        found = Dataset(
            name=name,
            title=known()[name].title,
            synthetic=view.synthetic(name),
            ceilings=_ceilings(entries),
            queries=stored,
            pairs_file=self.folder.pack(f"pairs/{name}", {p: _pairs(compared[p]) for p in PREFIXES}),
        )
        if first:
            facts = self._test_set(name, first)
            found.here = "captions" in facts
            found.file = self.folder.pack(f"datasets/{name}", facts)
            if found.here:
                self.wanted.setdefault(name, set()).update(facts["images"])
        return found

    def _shown(self, dataset: str) -> bool:
        """Whether captions and images of a dataset may be shown."""
        return self.with_pictures or (dataset in known() and known()[dataset].synthetic)

    def _test_set(self, name: str, first: queries.Queries) -> dict[str, Any]:
        """Names, with words from the clean table that cells read, where it is here and they may be shown."""
        cleans = dict.fromkeys(entry.clean for entry in self.material.view.of(name) if entry.clean)
        try:
            return queries.test_set(first, map(Paths.clean, cleans) if self._shown(name) else ())
        except DatasetError as error:
            self.problems.append(f"captions and pictures of {name} are not shown: {error}")
            return queries.test_set(first, ())

    def _searched(self, datasets: Iterable[Dataset], model: Encoder) -> list[Searched]:
        """The test images of the datasets that are shown."""
        from rsitr.search_page import searched  # torch and faiss, which a site without a search does without

        found = []
        for each in (each for each in datasets if each.here):
            cleans = (Paths.clean(entry.clean) for entry in self.material.view.of(each.name) if entry.clean)
            path = next(path for path in cleans if path.is_file())
            split = load_splits(path)[0]["test"]
            index = searched.index_of(path, split, model)
            if index.lost:
                name, why = next(iter(index.lost.items()))
                self.problems.append(f"{len(index.lost)} pictures of {each.name} are not searched: {name}: {why}")
            found.append(searched.of_dataset(self.folder, each.name, split, index))
        searched.write_tower(self.folder)
        return found

    def _tuned(self) -> dict[TuningId, Found]:
        """The tunings whose records can be read."""
        found = {}
        for wanted, stale in self.material.tunings.items():
            try:
                (found[wanted],) = collect_tunings(self.material.experiment, {wanted: stale})
            except RecordError as error:
                self.problems.append(str(error))
        return found

    def _series(self) -> Sequence[two_stage.Series]:
        try:
            return [*self.material.series]
        except RecordError as error:
            self.problems.append(str(error))
            return []

    def _faults(self) -> list[sheets.Sheet]:
        try:
            return [faults.sheet(self.material, self.folder)]
        except (DatasetError, MissingExtra) as error:
            self.problems.append(f"faults of captions are not counted: {error}")
            return []

    def _pictures(self, lists: Iterable[sheets.Paged]) -> None:
        """Write the thumbnails of all images that a page may show, and which there are."""
        for dataset, images in sheets.images(self.material, lists).items():
            if self._shown(dataset):
                self.wanted.setdefault(dataset, set()).update(images)
        numbers = {
            dataset: pictures.write(self.out / "pictures" / dataset, dataset, images, self.problems)
            for dataset, images in self.wanted.items()
        }
        self.folder.pack("pictures", numbers)


def _ceilings(entries: Iterable[Entry]) -> dict[str, float]:
    """As the first record that states them has them."""
    stated = (record.metrics for entry in entries for record in entry.records if "ceiling_mr" in record.metrics)
    found = next(stated, {})
    return {metric: found[f"ceiling_{metric}"] for metric in METRICS if f"ceiling_{metric}" in found}


def _pairs(compared: Compared) -> dict[str, Any]:
    """Every comparison as a line of numbers, methods by their place."""
    methods = list(compared.intervals)
    place = {method: number for number, method in enumerate(methods)}
    lines = [
        [place[pair.first], place[pair.second], *map(_short, pair.found[:3]), _short(pair.p, 5), pair.family]
        for pair in compared.pairs
    ]
    return {"methods": methods, "pairs": lines, "left_out": dict(compared.left_out)}


def _short(value: float, digits: int = 4) -> float:
    return round(float(value), digits)
