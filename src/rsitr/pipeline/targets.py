"""The graph of an experiment for the Snakefile: what has to be computed, from which files, and what has to wait."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cached_property
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any, get_args

from rsitr.datasets import known as datasets
from rsitr.datasets.imported import imported
from rsitr.datasets.protocols import joint_protocols
from rsitr.errors import ParamsError
from rsitr.gpus import gpus
from rsitr.methods import registry as methods
from rsitr.params import Experiment, load_params
from rsitr.params.ids import JOINT, NAME, CleanId, Dedup
from rsitr.pipeline.devices import needs_gpu
from rsitr.pipeline.freshness import Present
from rsitr.pipeline.inputs import caption_files
from rsitr.pipeline.pictures import PAPERS
from rsitr.pipeline.rule_code import code
from rsitr.pipeline.specs import artefacts, open_params, spec_of
from rsitr.pipeline.status import machine_memory_mb
from rsitr.pipeline.tunings import subject
from rsitr.pipeline.weights import Receipt, here, wanted
from rsitr.records.artefact import ArtefactSpec
from rsitr.records.cell import Spec, TuningSpec
from rsitr.records.paths import Paths
from rsitr.records.pretraining import PretrainingSpec
from rsitr.records.prior import PriorSpec
from rsitr.records.provenance import cores
from rsitr.tables.declared import Declared, registry

TRAINED = Spec | PriorSpec | PretrainingSpec
"""What leaves weights."""
NOTHING = "(?!)"
"""A pattern that no wildcard matches."""


class Graph:
    """What Snakemake has to know of an experiment."""

    def __init__(self, config: dict[str, Any], *, local: bool = True):
        """``config`` is Snakemake's; ``local``: jobs run on this machine, not on those of a cluster.

        Jobs read params.yaml, so that it must agree with that but for the experiment.
        Raises ``ParamsError`` for anything that is wrong with the parameters.
        """
        self.local = local
        self.params = open_params({name: value for name, value in config.items() if name != "base"})
        plain = {"experiment", "strict"}
        if load_params().model_dump(exclude=plain) != self.params.model_dump(exclude=plain):
            raise ParamsError(
                "--config may set experiment, strict and base alone: edit params.yaml, which every job reads"
            )
        self.name = self.params.experiment
        self.experiment: Experiment = self.params[self.name]
        self.present = Present()
        self.specs = {spec.item: spec for spec in artefacts(self.params, self.name)}

    # What is to be computed

    @cached_property
    def outdated(self) -> dict[str, ArtefactSpec]:
        """Artefacts that have no current record, by item."""
        return {item: spec for item, spec in self.specs.items() if not self.present.current(spec)}

    @cached_property
    def waiting(self) -> dict[str, list[str]]:
        """Outdated artefacts, by item -> checkpoints of current cells that they need and that are not here.

        A clone that has records and no checkpoints does not train for what its tables can do without.
        """
        return {
            item: absent
            for item, spec in self.outdated.items()
            if not isinstance(spec, TRAINED | TuningSpec) and (absent := self._absent(spec))
        }

    def _absent(self, spec: ArtefactSpec) -> list[str]:
        cells = (
            other for other in spec.rests_on.values() if isinstance(other, Spec) and other.item not in self.outdated
        )
        return [str(cell.trained_outputs[0]) for cell in cells if not cell.trained_outputs[0].is_file()]

    @cached_property
    def needed(self) -> dict[str, ArtefactSpec]:
        """What `all` computes, by item."""
        return {item: spec for item, spec in self.outdated.items() if item not in self.waiting}

    @cached_property
    def without_weights(self) -> list[str]:
        """What has a current record and its weights are not here, or of a cell how they were trained."""
        current = (spec for item, spec in self.specs.items() if item not in self.outdated)
        trained = (spec for spec in current if isinstance(spec, TRAINED))
        return [spec.item for spec in trained if not all(map(Path.is_file, spec.trained_outputs))]

    @cached_property
    def unfetched(self) -> list[str]:
        """What may be computed, by item, and needs pretrained weights that are not known to be here."""
        receipt, items = Receipt.read(self.name), [*self.outdated, *self.without_weights]
        return [item for item in items if not all(here(need, receipt) for need in wanted(self.specs[item]))]

    @property
    def receipt(self) -> str:
        """The file that says which pretrained weights are here."""
        return Receipt.path(self.name).as_posix()

    @property
    def checkpoints(self) -> list[str]:
        """What training leaves of every cell of the matrix."""
        cells = (spec for spec in self.specs.values() if isinstance(spec, Spec))
        return [path.as_posix() for spec in cells for path in spec.trained_outputs]

    def pattern(self, kind: str, chosen: Iterable[str] | None = None) -> str:
        """What the wildcard ``place`` of a rule matches: the places of ``chosen`` items, or of those needed."""
        items = self.needed if chosen is None else chosen
        groups: dict[str, list[str]] = {}
        for item in items:
            if item.startswith(f"{kind}/"):
                folder, _, last = item.removeprefix(f"{kind}/").rpartition("/")
                groups.setdefault(folder, []).append(re.escape(last))
        # By folder, so that thousands of seeds are not tried one after another.
        return "|".join(f"{re.escape(folder)}/(?:{'|'.join(last)})" for folder, last in groups.items()) or NOTHING

    def records(self, *kinds: str) -> list[str]:
        """The records of some kinds, but for what has to wait."""
        specs = self.specs.values()
        return names(spec.record_file for spec in specs if spec.kind in kinds and spec.item not in self.waiting)

    def notice(self) -> str:
        """What `all` leaves out for want of checkpoints; empty where it leaves out nothing."""
        missing = {
            paper: sum(not spec.trained_outputs[0].is_file() for spec in self._pictured(paper))
            for paper in PAPERS
            if paper not in self.papers
        }
        texts = [f"the pictures of {paper} ({count} checkpoints)" for paper, count in missing.items() if count]
        texts += [f"{item} ({len(absent)})" for item, absent in self.waiting.items()]
        if not texts:
            return ""
        return (
            f"Not made, as checkpoints of current records are not here: {', '.join(texts)}. "
            "`dvc pull` brings them, or `snakemake checkpoints` trains them."
        )

    def left(self) -> str:
        """After a run: results that were current before it and are not any more; empty where there are none."""
        present = Present()
        found = [item for item, spec in self.specs.items() if item not in self.outdated and present.stale(spec)]
        if not found:
            return ""
        return (
            f"Data has changed in this run, and {len(found)} results are of the data before: run the same command "
            f"again ({', '.join(found[:3])}{' ...' if len(found) > 3 else ''})\n"
        )

    # Files

    def results(self, *kinds: str) -> list[str]:
        """What tables are made from: the records, as what else they have is next to them."""
        return self.records(*kinds)

    def with_images(self, *files: str) -> list[str]:
        """Inputs, and whatever a job has to name besides them to read the images that they tell of."""
        return [*files]

    def expected(self, item: str) -> str:
        """What Snakemake has to remember of an artefact to know an outdated one; nothing, as records are read."""
        return ""

    def inputs_of(self, item: str) -> list[str]:
        """The files that the computation of an artefact reads."""
        spec = self.specs[item]
        weights = [self.receipt] if item in self.unfetched else []
        if isinstance(spec, TuningSpec):
            return self.with_images(*self._tuned_on(spec), *weights)
        others = [other for other in spec.rests_on.values() if isinstance(other, Spec)]
        found = [*spec.inputs]
        for other in others:
            found += other.trained_outputs if isinstance(spec, Spec) else [*other.trained_outputs, other.record_file]
        for cell in [spec, *others] if isinstance(spec, Spec) else others:
            found += self._read_by(cell)
        if isinstance(spec, PretrainingSpec) and spec.prior:
            found += [*spec.prior.trained_outputs, spec.prior.record_file]
        return self.with_images(*names(found), *weights)

    def _tuned_on(self, spec: TuningSpec) -> list[str]:
        teacher = [*spec.base.teacher.trained_outputs, *self._read_by(spec.base.teacher)] if spec.base.teacher else []
        # The seed of the tuning is not one of the matrix.
        base = spec.base.model_copy(update={"seed": subject(self.params, spec.id).seed})
        return names([*spec.inputs, *teacher, *self._read_by(base)])

    def _read_by(self, cell: Spec) -> list[Path]:
        """What a cell reads besides tables and a teacher: what was made from captions, a prior, a pretraining, a
        tuning."""
        started = [each for each in (cell.prior, cell.pretraining) if each]
        weights = [path for each in started for path in (*each.trained_outputs, each.record_file)]
        tuning = [cell.tuning.record_file] if cell.tuning else []
        return [*caption_files(self.params, cell.cell), *weights, *tuning]

    @cached_property
    def forced(self) -> list[str]:
        """Records that are there and outdated: file times cannot say so, as a clone writes all files at once.

        And the receipt of weights, where it is there and does not have all of them.
        """
        records = [spec.record_file for spec in self.needed.values()]
        receipt = [Path(self.receipt)] if self.unfetched else []
        return names(path for path in (*records, *receipt) if path.is_file())

    @cached_property
    def near_duplicates(self) -> list[str]:
        """Every comparison of images that the reports need."""
        return names(Paths.near_duplicates(*pair) for pair in self.experiment.compared)

    def near_duplicate_shards(self, first: str, second: str) -> list[str]:
        """The shards of one of them."""
        count = self.experiment.shards
        return names(Paths.near_duplicates_shard(first, second, shard, count) for shard in range(count))

    @cached_property
    def compared(self) -> list[str]:
        """The canonical tables behind them."""
        return names(Paths.dataset(first) for first, second in self.experiment.compared if first == second)

    @cached_property
    def clean(self) -> list[str]:
        """The clean tables of the matrix."""
        return names(map(Paths.clean, self.params.cleans(self.name)))

    @cached_property
    def data(self) -> list[str]:
        """Everything that is made of the datasets."""
        similar = [path for cell in self.params.cells(self.name) for path in caption_files(self.params, cell)]
        joint = [
            Paths.joint(protocol, rule)
            for protocol in joint_protocols(self.experiment.datasets)
            for rule in get_args(Dedup)
        ]
        keywords = [Paths.keywords(dataset) for dataset in self.experiment.datasets]
        started = [spec for spec in self.specs.values() if isinstance(spec, PriorSpec | PretrainingSpec)]
        learned = [path for spec in started for path in spec.inputs]
        return [*self.clean, *self.near_duplicates, *names([*similar, *joint, *keywords, *learned])]

    @cached_property
    def papers(self) -> list[str]:
        """Papers whose pictures can be drawn: every checkpoint is here, or comes from a cell that is computed."""
        return [
            paper
            for paper in PAPERS
            if (cells := self._pictured(paper))
            and all(spec.item in self.needed or spec.trained_outputs[0].is_file() for spec in cells)
        ]

    def _pictured(self, paper: str) -> list[Spec]:
        return [spec_of(self.params, cell) for cell in PAPERS[paper].cells(self.params, self.name).values()]

    def picture_inputs(self, paper: str) -> list[str]:
        """What the pictures of a paper are drawn from."""
        cells = self._pictured(paper)
        return self.with_images(
            *names(path for spec in cells for path in (*spec.trained_outputs, *self._read_by(spec)))
        )

    # Tables

    def tables(self, made_from: str) -> list[Declared]:
        """The declared tables of the experiment that are made from the same."""
        found = registry().values()
        return [table for table in found if table.made_from == made_from and table.files(self.experiment)]

    def paths(self, table: Declared) -> list[str]:
        """The files of a table."""
        return [f"{Paths.tables(self.name)}/{name}" for name in table.files(self.experiment)]

    def labels(self, file: str) -> dict[str, str]:
        """What the workflow's report says of a file of a table: the table, the paper that has it, the datasets."""
        table = Path(file).stem
        paper = table.partition("-")[0]
        datasets = ", ".join(self.experiment.datasets)
        return {"table": table, "paper": paper.upper() if paper in PAPERS else "none", "dataset": datasets}

    def table_files(self, *made_from: str) -> list[str]:
        """The files of all tables that are made from some things.

        Left out are tables from git whose data is not here, nor comes with anything that is computed.
        """
        found = []
        for table in (table for kind in made_from for table in self.tables(kind)):
            files = self.paths(table)
            of_data = table.made_from in ("canonical", "near duplicates")
            if not of_data or self.needed or self.at_hand or not Path(files[0]).is_file():
                found += files
        return found

    @cached_property
    def at_hand(self) -> bool:
        """Whether any of the data is here."""
        return any(Path(table).is_file() for table in self.compared)

    def table_code(self, made_from: str) -> str:
        """Hash of the code and the printed numbers behind some tables, since Snakemake sees no edit of an import."""
        return code(*sorted(table.build.__module__ for table in self.tables(made_from)))

    def code_of(self, table: Declared) -> str:
        """The same of one table; one of sources lists what the modules of datasets, methods and tables state."""
        modules = {table.build.__module__}
        if table.made_from == "sources":
            modules |= {dataset.__module__ for dataset in datasets().values()}
            modules |= {method.module for method in methods().values()}
            modules |= {other.shows.__module__ for other in registry().values()}
        return code(*sorted(modules))

    def stated(self, table: Declared) -> dict[str, Any]:
        """What params.yaml states about the experiment, for a table without any other input."""
        return self.experiment.model_dump(mode="json") if table.made_from == "sources" else {}

    def table_inputs(self, table: Declared) -> list[str]:
        """What a table that is not of records is made from."""
        if table.made_from == "canonical":
            return self.with_images(*names(map(Paths.dataset, self.experiment.datasets)))
        if table.made_from == "near duplicates":
            return self.with_images(*self.compared, *self.near_duplicates, *self.clean)
        return []

    def marks(self) -> list[str]:
        """What of the test images was seen in training; records from git, without data, keep the marks they have."""
        if not self.needed and not self.at_hand:
            return []
        names = ("leakage.training.csv", "leakage.long.csv", "leakage.images.csv")
        return [f"{Paths.tables(self.name)}/{name}" for name in names]

    @property
    def fetched(self) -> str:
        """A pattern of the datasets that Snakemake fetches: of one that was imported it can make no file again."""
        own = "|".join(map(re.escape, imported()))
        return f"(?!(?:{own})/){NAME}" if own else NAME

    def clean_inputs(self, wanted: CleanId) -> list[str]:
        """What a clean table is made from: the canonical one, near duplicates inside it, a joint training set."""
        within = [Paths.near_duplicates(wanted.dataset, wanted.dataset)] if wanted.dedup == "copies" else []
        joint = [Paths.joint(wanted.split_protocol, wanted.dedup)] if wanted.split_protocol in JOINT else []
        return names([Paths.dataset(wanted.dataset), *within, *joint])

    def joint_members(self, protocol: str, dedup: str) -> list[str]:
        """Canonical tables of the members of a joint protocol, and the near duplicates inside and between them."""
        members = joint_protocols()[protocol]
        pairs = combinations_with_replacement(members, 2) if dedup == "copies" else ()
        return names([*map(Paths.dataset, members), *(Paths.near_duplicates(*pair) for pair in pairs)])

    # The site

    @property
    def site(self) -> str:
        """The page that it opens with."""
        return (Paths.site(self.name) / "index.html").as_posix()

    @property
    def shown(self) -> list[str]:
        """What it shows of the data besides what tables tell: whatever is here."""
        return []

    @property
    def site_code(self) -> str:
        """Hash of the code that builds it, its pages among it."""
        return code("rsitr.site.build")

    # Resources

    @property
    def threads(self) -> int:
        """Threads of a cell; here it uses no more than the machine has."""
        return min(self.experiment.threads, cores()) if self.local else self.experiment.threads

    @property
    def few_threads(self) -> int:
        """Threads of work on data: no more than a cell has, which would wait until two of them end together."""
        return min(2, self.threads)

    @property
    def memory(self) -> int:
        """MB of a cell."""
        return self.megabytes(self.experiment.mem_mb)

    def gpu(self, item: str) -> int:
        """GPUs that the job of an artefact asks for: of a cluster what params.yaml says, here one if there are any."""
        return int(gpus() > 0 if self.local else needs_gpu(self.params, self.specs[item]))

    def megabytes(self, wanted: int) -> int:
        """What a job asks for; here never more than this machine has to give, or the job would never start."""
        return min(wanted, machine_memory_mb()) if self.local else wanted


def names(paths: Iterable[Path]) -> list[str]:
    """Paths as Snakemake has them, each once."""
    return list(dict.fromkeys(path.as_posix() for path in paths))
