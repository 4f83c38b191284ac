"""The tables and figures of an experiment, all of them or some, from what is in the project; nothing needs torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from rsitr.errors import DatasetError, ParamsError, RecordError, Unsupported
from rsitr.params import Experiment, Params
from rsitr.params.ids import EXTERNAL, SCENES, CellId, TuningId
from rsitr.pipeline.freshness import Present
from rsitr.pipeline.inputs import priors, study_cells
from rsitr.pipeline.specs import prior_spec, spec_of, study_spec, tuning_spec, two_stage_specs
from rsitr.pipeline.status import refuse
from rsitr.pipeline.tunings import tunings
from rsitr.records.cell import Record
from rsitr.records.paths import Paths
from rsitr.records.provenance import cores
from rsitr.retrieval.rank_files import read_ranks
from rsitr.tables import leakage, two_stage
from rsitr.tables.declared import Declared, chosen
from rsitr.tables.entries import Overlap, Overlaps, collect, external, external_cells
from rsitr.tables.two_stage import Series
from rsitr.tables.view import View

CELLS = Path("results/cells")
K = TypeVar("K")


class Material:
    """What the tables of the experiment ``name`` are made from; everything is read when it is first asked for.

    ``external`` adds what others have made (``rsitr.external``). ``lenient``: cells whose files cannot be read are
    failed ones, with the reason; else they raise ``RecordError``.
    """

    def __init__(self, params: Params, name: str, external: bool = False, lenient: bool = False):
        self.params, self.name, self.external, self.lenient = params, name, external, lenient
        self.experiment: Experiment = params[name]
        self.out = Paths.tables(f"{name}+{EXTERNAL}" if external else name)
        """Folder of its tables. Those with what others have made are apart from those that Snakemake makes."""
        self.present = Present()

    @cached_property
    def view(self) -> View:
        """The cells of the matrix; raises ``ParamsError`` where what others have made is called like one of them."""
        damaged = self.damaged if self.lenient else {}
        cells = (cell for cell in self.params.cells(self.name) if cell not in damaged)
        stale = {cell: self.present.stale(spec_of(self.params, cell)) for cell in cells}
        path = Paths.overlaps(self.name)
        # As the table ``leakage`` wrote it down, so that a clone without data has it.
        overlaps = leakage.read_training(path) if path.is_file() else {}
        entries = collect(self.params, self.name, CELLS, stale, overlaps, damaged)
        if not self.external:
            return View(self.name, self.experiment, entries)
        others = external(self.experiment.datasets, damaged)
        if taken := others.keys() & entries.keys():
            dataset, method = min(taken)
            raise ParamsError(
                f"{Paths.external(dataset) / method} is called like a method of {self.name}: assess it again with "
                "another name (--as), and remove that folder"
            )
        methods = dict.fromkeys([*self.experiment.methods, *sorted({method for _, method in others})])
        return View(self.name, self.experiment, entries | others, [*methods])

    @cached_property
    def damaged(self) -> Mapping[CellId, str]:
        """The cells whose record or ranks cannot be read -> why."""
        found = {}
        for cell in self.params.cells(self.name):
            spec, ranks = spec_of(self.params, cell), CELLS / cell.path / "ranks.parquet"
            try:
                if self.present.record(spec) and ranks.is_file():
                    read_ranks(ranks)
            except RecordError as error:
                found[cell] = str(error)
            if spec.item in self.present.damaged:
                found[cell] = self.present.damaged[spec.item]
        for cell in external_cells(self.experiment.datasets) if self.external else ():
            folder = Paths.external(cell.dataset) / cell.method
            try:
                if Record.read(folder / "cell.json") and (folder / "ranks.parquet").is_file():
                    read_ranks(folder / "ranks.parquet")
            except RecordError as error:
                found[cell] = str(error)
        return found

    @cached_property
    def series(self) -> Sequence[Series]:
        """The two-stage retrievals."""
        specs = two_stage_specs(self.params, self.name)
        return two_stage.collect(self.params, self.name, {spec.id: self.present.stale(spec) for spec in specs})

    @cached_property
    def studied(self) -> Mapping[CellId, Sequence[str]]:
        """The cells that the study of CLIP asks -> what their studies no longer agree with."""
        cells = study_cells(self.params, self.name)
        return {cell: self.present.stale(study_spec(self.params, cell)) for cell in cells}

    @cached_property
    def tunings(self) -> Mapping[TuningId, Sequence[str]]:
        """The tunings that cells take their settings from -> what their records no longer agree with."""
        found = tunings(self.params, self.name)
        return {wanted: self.present.stale(tuning_spec(self.params, wanted)) for wanted in found}

    @property
    def scenes(self) -> Mapping[str, Sequence[str]]:
        """Address of each prior, ``scenes://EXPERIMENT/NAME`` -> the datasets that it learns from."""
        return {
            f"{SCENES}://{experiment}/{name}": prior.datasets
            for experiment, facts in self.params.experiments.items()
            for name, prior in facts.priors.items()
        }

    @property
    def canonical(self) -> Mapping[str, Path]:
        """The canonical tables of the matrix that are here."""
        return _here((name, Paths.dataset(name)) for name in self.experiment.datasets)

    @property
    def compared(self) -> Mapping[str, Path]:
        """Those of everything whose images are compared."""
        names = [*self.experiment.datasets, *self.experiment.sources]
        return _here((name, Paths.dataset(name)) for name in names)

    @property
    def near_duplicates(self) -> Mapping[tuple[str, str], Path]:
        """The tables of near duplicates that are here."""
        return _here((pair, Paths.near_duplicates(*pair)) for pair in self.experiment.compared)

    def write_overlaps(self) -> Path:
        """Write how many test images are nearly in what the experiment trains on."""
        return leakage.write_training(self.training_overlaps(), Paths.overlaps(self.name))

    def training_overlaps(self) -> Overlaps:
        """How many test images have a near duplicate in what is trained on, and of how many; None where not known.

        By dataset and what is learned from: the name of a clean table of its own, or the place of a prior.
        """
        from rsitr.datasets.splits import training_images
        from rsitr.dedup.leakage import leaks_of
        from rsitr.dedup.prior_images import select

        def leaked(images: list[tuple[str, str]]) -> Mapping[str, Overlap]:
            return leaks_of(images, self.compared, self.near_duplicates, "copies") if images else {}

        found = {}
        for clean in self.params.cleans(self.name):
            images = training_images(clean) if Paths.clean(clean).is_file() else []
            found[clean.dataset, clean.name] = leaked(images).get(clean.dataset)
        for prior in priors(self.params, self.name):
            try:
                seen = leaked([image[:2] for image in select(prior_spec(self.params, prior)).train])
            except (DatasetError, Unsupported):
                seen = {}  # a prior that cannot be trained has seen nothing, and what it would see is not known
            found |= {(name, prior.path): seen.get(name) for name in self.experiment.datasets}
        return found

    @property
    def threads(self) -> int:
        """Threads that a table may use."""
        return min(2, cores())


def _here(files: Iterable[tuple[K, Path]]) -> dict[K, Path]:
    """Those of some files that are here."""
    return {key: path for key, path in files if path.is_file()}


def build(
    params: Params, experiment: str, *, only: str | None = None, strict: bool = False, external: bool = False
) -> list[Path]:
    """Tables and figures of an experiment, or those of a name or group (``rsitr.tables.declared.chosen``).

    Tables of ``missing_data`` are left as they are: a clone has them from git. ``strict``, here or in params.yaml,
    writes nothing from records unless all of them are of the present (``refuse``). ``external`` adds what others have
    made to tables of methods, and writes only those.
    """
    tables = _asked(params, experiment, only)
    if (strict or params.strict) and any(table.made_from == "records" for table in tables):
        refuse(params, experiment)
    material = Material(params, experiment, external)
    if external:
        tables = [table for table in tables if table.made_from == "records"]
    # Records come last: what they are marked with is what ``leakage`` writes.
    tables = sorted(tables, key=lambda table: table.made_from == "records")
    return [path for table in tables if not _lacks_data(table, material) for path in table.build(material)]


def _asked(params: Params, experiment: str, only: str | None) -> list[Declared]:
    return [table for table in chosen(only) if table.files(params[experiment])]


def missing_data(params: Params, experiment: str, only: str | None = None) -> list[str]:
    """Names of the tables that ``build`` leaves as they are.

    Their data is not here, or only a part of it is, and writing them would lose the rows of the rest.
    """
    material = Material(params, experiment)
    return [table.name for table in _asked(params, experiment, only) if _lacks_data(table, material)]


def _lacks_data(table: Declared, material: Material) -> bool:
    experiment = material.experiment
    if table.made_from == "canonical":
        count, wanted = len(material.canonical), len({*experiment.datasets})
    elif table.made_from == "near duplicates":
        count, wanted = len(material.near_duplicates), len({*experiment.compared})
    else:
        return False
    written = any((material.out / name).is_file() for name in table.files(experiment))
    return not count or (count < wanted and written)
