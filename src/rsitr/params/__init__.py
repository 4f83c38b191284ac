"""params.yaml, typed: which cells make up an experiment and how each method is configured in it.

This module is imported by the Snakefile and therefore stays light: nothing here needs torch.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container
from functools import cached_property
from itertools import combinations_with_replacement, product
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, field_validator, model_validator

from rsitr.errors import ParamsError
from rsitr.params.ids import (
    JOINT,
    MAIN,
    METHOD,
    NAME,
    OFFICIAL,
    PRETRAINING,
    SCENES,
    CellId,
    CleanId,
    Dedup,
    NamedId,
    Role,
    SplitProtocol,
    TwoStageId,
)
from rsitr.params.project import PARAMS, no_project
from rsitr.params.tuning import Tuning

REPLACED_BY_PHASES = ("epochs", "max_steps", "optimizer", "learning_rate")
"""Settings of a training without phases. Each phase has its own."""
OF_PLATEAU = ("patience", "drops")
"""Settings of ``schedule: plateau`` alone."""
INSTRUCTION = "instruction_weights"
"""The setting in which a method names the weights of its instruction encoder, possibly those of a prior."""

T = TypeVar("T")
Name = Annotated[str, Field(pattern=rf"^{NAME}$")]
"""Of an experiment, a dataset, a prior: it becomes part of paths and of commands."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Block(_Strict):
    """A full grid of cells: every method on every dataset with every seed."""

    datasets: Annotated[list[Name], Field(min_length=1)]
    methods: Annotated[list[str], Field(min_length=1)]
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]
    split_protocol: SplitProtocol = OFFICIAL
    """Which images are train and which val; the test split is the official one in all of them."""
    dedup: Dedup | None = None
    """As that of the experiment, which it replaces here."""
    role: Role = MAIN
    """What its methods are there for. It changes no number and makes no record stale."""
    settings: Literal["given", "tuned"] = "given"
    """``tuned``: the cells take the best settings that the tuning of their method on their dataset has found."""

    @field_validator("methods")
    @classmethod
    def _method_names(cls, methods: list[str]) -> list[str]:
        if wrong := [method for method in methods if not re.fullmatch(METHOD, method)]:
            raise ValueError(f"{wrong[0]!r} is not of the form name or name@variant (lower-case, digits, + . -)")
        return methods


class Settings(_Strict):
    """Overlays on the methods' own defaults; later levels win: variant, all, datasets, methods, cells.

    ``methods`` and ``cells`` (``dataset/method``) are exact: an unknown field is an error there, and skipped elsewhere.
    """

    all: dict[str, Any] = {}
    datasets: dict[str, dict[str, Any]] = {}
    methods: dict[str, dict[str, Any]] = {}
    cells: dict[str, dict[str, Any]] = {}


Three = Annotated[list[float], Field(min_length=3, max_length=3)]
Rate = Annotated[float, Field(gt=0)]


class PriorSettings(_Strict):
    """How a scene classifier is built and trained; what methods have too is called as there."""

    image_backbone: str = "resnet50"
    """Any image model of timm."""
    image_weights: str = "timm"
    """What training starts from: ``timm``, ``none``, or a file: path, mirror://path, package://name/path."""
    image_size: Annotated[int, Field(ge=16)] = 224
    image_mean: Three | None = None
    """Pixel statistics; None for those of the backbone."""
    image_std: Three | None = None
    image_options: dict[str, Any] = {}
    """Further arguments of timm.create_model."""
    augment: Literal["none", "crop-flip", "randaugment", "rotate-crop"] = "crop-flip"
    held_out: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of each class that is held out from training, to measure accuracy."""
    epochs: Annotated[int, Field(ge=1)] = 20
    batch_size: Annotated[int, Field(ge=2)] = 64
    learning_rate: Rate = 1e-3
    """Of the classifier; it rises to this in the first tenth of all steps and then falls to zero as a cosine."""
    backbone_learning_rate: Rate = 2e-4
    weight_decay: Annotated[float, Field(ge=0)] = 0.05


class Prior(_Strict):
    """A scene classifier to train: on which images, without which, and how."""

    datasets: Annotated[list[Name], Field(min_length=1)]
    """Sets with scene classes. Their training splits are used: the whole of a set that has no other."""
    without: list[Name] = []
    """Every image is left out that is a near duplicate of a test image of these sets."""
    dedup: Literal["remoteclip", "copies"] = "copies"
    """The rule that defines near duplicates."""
    seed: Annotated[int, Field(ge=0)] = 0
    settings: PriorSettings = PriorSettings()

    @property
    def named(self) -> list[str]:
        """Every dataset that it names."""
        return list(dict.fromkeys([*self.datasets, *self.without]))

    @property
    def compared(self) -> list[tuple[str, str]]:
        """Pairs of datasets whose tables of near duplicates say which images are left out; none if none are."""
        pairs = combinations_with_replacement(sorted(self.named), 2)
        return list(pairs) if self.without and self.dedup == "copies" else []


class Pretraining(_Strict):
    """A CLIP to pretrain: on the training split of which dataset, and how."""

    dataset: Name
    settings: dict[str, Any] = {}
    """Fields of ``rsitr.records.pretraining.PretrainSettings``."""


class TwoStage(_Strict):
    """Retrieval in two stages by cells of the matrix: the filter's shortlists, sorted again by the scorer."""

    datasets: Annotated[list[Name], Field(min_length=1)]
    scorer: str
    filter: str
    shortlists: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)]
    """Lengths, in distinct captions or in images."""
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]

    @field_validator("shortlists")
    @classmethod
    def _in_order(cls, shortlists: list[int]) -> list[int]:
        return sorted(set(shortlists))


class Experiment(_Strict):
    """One block of params.yaml."""

    title: str
    matrix: Annotated[list[Block], Field(min_length=1)]
    dedup: Dedup = "none"
    """Which duplicates leave the training set: none (what papers do with one dataset), those by 64-bit pHash within
    Hamming distance 2, or those whose pixels agree under some crop, flip or turn."""
    pretraining: list[Name] = []
    """Datasets outside the matrix that models are pretrained on; their overlap with the test sets is reported."""
    priors: dict[Name, Prior] = {}
    """Scene classifiers by name; a method starts from one by the address scenes://EXPERIMENT/NAME."""
    pretrained: dict[Name, Pretraining] = {}
    """CLIP models to pretrain by name; a method starts from one by the address pretraining://EXPERIMENT/NAME."""
    two_stage: list[TwoStage] = []
    """Which expensive scorers re-rank the shortlists of which filters."""
    tuning: Tuning | None = None
    """How settings are searched for, for the blocks that say ``settings: tuned``."""
    baselines: dict[str, Annotated[list[str], Field(min_length=1)]] = {}
    """Method -> the methods that a table compares with it, with the significance of the differences."""
    shards: Annotated[int, Field(ge=1)] = 1
    """Jobs into which the comparison of two datasets is divided; it does not affect the result."""
    threads: Annotated[int, Field(ge=1)] = 1
    """Threads of one cell, at most the machine's cores; not taken from ``--cores``: numbers must not depend on it."""
    mem_mb: Annotated[int, Field(ge=1)] = 4000
    """Memory that Snakemake reserves for one cell."""
    needs_gpu: bool = False
    """Whether what trains refuses to run without a GPU, and asks a cluster for one."""
    missing_weights: Literal["fail", "skip"] = "fail"
    """What to do without pretrained weights that cannot be fetched: end at once, or skip what needs them."""
    settings: Settings = Settings()

    @model_validator(mode="after")
    def _baselines_of_the_matrix(self) -> Self:
        for baseline, methods in self.baselines.items():
            if unknown := [name for name in (baseline, *methods) if name not in self.methods]:
                raise ValueError(f"baselines: {unknown[0]} is not a method of the matrix: add it there, or correct it")
            if baseline in methods:
                raise ValueError(f"baselines: {baseline} cannot be compared with itself")
        return self

    @model_validator(mode="after")
    def _one_role_each(self) -> Self:
        for block in self.matrix:
            for dataset, method in product(block.datasets, block.methods):
                if (other := self.roles[dataset, method]) != block.role:
                    raise ValueError(
                        f"matrix: {method} on {dataset} has two roles, {other} and {block.role}: give all blocks that "
                        "name the two the same `role`"
                    )
        return self

    @cached_property
    def roles(self) -> dict[tuple[str, str], Role]:
        """(dataset, method) -> role, for the pairs of the matrix."""
        blocks = reversed(self.matrix)
        return {pair: block.role for block in blocks for pair in product(block.datasets, block.methods)}

    @model_validator(mode="after")
    def _tuned_by_another_seed(self) -> Self:
        if self.tuning is None:
            if any(block.settings == "tuned" for block in self.matrix):
                raise ValueError("matrix: a block says `settings: tuned`, and there is no `tuning`: add it")
            return self
        if any(self.tuning.seed in block.seeds for block in self.matrix):
            raise ValueError(f"tuning: seed {self.tuning.seed} is one of the table's: give the tuning another")
        return self

    @property
    def datasets(self) -> list[str]:
        """Every dataset of the matrix, in order of first mention."""
        return list(dict.fromkeys(name for block in self.matrix for name in block.datasets))

    @property
    def compared(self) -> list[tuple[str, str]]:
        """Pairs of datasets, in alphabetical order, whose images are compared, including each dataset with itself."""
        pairs = combinations_with_replacement(sorted({*self.datasets, *self.sources}), 2)
        between = {pair for prior in self.priors.values() for pair in prior.compared}
        return [pair for pair in pairs if pair[0] == pair[1] or not {*pair} <= {*self.sources} or pair in between]

    @property
    def sources(self) -> list[str]:
        """Datasets outside the matrix that anything is trained on or kept separate from, in order of first mention."""
        named = [name for block in self.matrix for name in JOINT.get(block.split_protocol, ())]
        named += [name for prior in self.priors.values() for name in prior.named]
        return [name for name in dict.fromkeys([*self.pretraining, *named]) if name not in self.datasets]

    @property
    def methods(self) -> list[str]:
        """Every method of the matrix, in order of first mention."""
        return list(dict.fromkeys(name for block in self.matrix for name in block.methods))


class Params(_Strict):
    """The whole of params.yaml."""

    experiment: Name
    strict: bool = False
    """A failed cell or a stale record stops the run instead of appearing as NA."""
    experiments: dict[Name, Experiment]
    _known: dict[Any, Any] = PrivateAttr(default_factory=dict)

    def once(self, key: Any, make: Callable[[], T]) -> T:
        """What ``make`` makes of these parameters, made once: a graph asks the same of thousands of cells."""
        if key not in self._known:
            self._known[key] = make()
        return self._known[key]

    @field_validator("experiments")
    @classmethod
    def _experiment_names(cls, experiments: dict[str, Experiment]) -> dict[str, Experiment]:
        for name in {SCENES, PRETRAINING} & set(experiments):
            raise ValueError(f"no experiment can be called {name!r}: checkpoints/{name} is the folder of priors")
        return experiments

    def __getitem__(self, name: str) -> Experiment:
        """The experiment called ``name``; raises ``ParamsError`` for an unknown one."""
        if name not in self.experiments:
            raise ParamsError(f"unknown experiment {name!r}: params.yaml has {', '.join(self.experiments)}")
        return self.experiments[name]

    def prior(self, wanted: NamedId) -> Prior:
        """What params.yaml says about a prior; raises ``ParamsError`` for an unknown one."""
        return self._declared(wanted, "prior", "priors")

    def pretraining(self, wanted: NamedId) -> Pretraining:
        """What params.yaml says about a pretraining; raises ``ParamsError`` for an unknown one."""
        return self._declared(wanted, "pretraining", "pretrained")

    def _declared(self, wanted: NamedId, what: str, block: str) -> Any:
        found = getattr(self[wanted.experiment], block)
        if wanted.name not in found:
            known = ", ".join(found) or "none"
            raise ParamsError(f"unknown {what} {wanted.path!r}: experiments.{wanted.experiment}.{block} has {known}")
        return found[wanted.name]

    def priors(self, experiment: str) -> list[NamedId]:
        """Every prior of an experiment."""
        return [NamedId(experiment, name) for name in self[experiment].priors]

    def cells(self, experiment: str) -> list[CellId]:
        """The expected matrix, in table order and without repetition."""
        return list(self._places(experiment))

    def has(self, cell: CellId) -> bool:
        """Whether the matrix has a cell."""
        return cell in self._places(cell.experiment)

    def clean(self, cell: CellId) -> CleanId:
        """The clean table that a cell reads; one that is not of the matrix reads the official splits."""
        return self._places(cell.experiment).get(cell) or CleanId(cell.dataset, dedup=self[cell.experiment].dedup)

    def role(self, cell: CellId) -> Role:
        """What a cell is there for; ``main`` for one that is not of the matrix."""
        return self[cell.experiment].roles.get((cell.dataset, cell.method), MAIN)

    def tuned(self, cell: CellId) -> bool:
        """Whether the matrix asks for a cell with tuned settings; raises ``ParamsError`` where it asks for both."""
        asked = {
            block.settings
            for block in self[cell.experiment].matrix
            if cell.dataset in block.datasets and cell.method in block.methods and cell.seed in block.seeds
        }
        if len(asked) > 1:
            raise ParamsError(f"{cell.path} has its settings both given and tuned: name a variant for one of them")
        return asked == {"tuned"}

    def cleans(self, experiment: str) -> list[CleanId]:
        """The clean tables that the cells of an experiment read, each once."""
        return list(dict.fromkeys(self._places(experiment).values()))

    def _places(self, experiment: str) -> dict[CellId, CleanId]:
        """The cells of the matrix with their clean tables; raises ``ParamsError`` for a cell with two of them."""

        def places() -> dict[CellId, CleanId]:
            found: dict[CellId, CleanId] = {}
            for block in self[experiment].matrix:
                for dataset, method, seed in product(block.datasets, block.methods, block.seeds):
                    cell = CellId(experiment, dataset, method, seed)
                    clean = CleanId(dataset, block.split_protocol, block.dedup or self[experiment].dedup)
                    if found.setdefault(cell, clean) != clean:
                        both = f"{found[cell].name} and {clean.name}"
                        raise ParamsError(f"{cell.path} has two training sets, {both}: name a variant for one of them")
            return found

        return self.once(("cells", experiment), places)

    def two_stages(self, experiment: str) -> dict[TwoStageId, list[int]]:
        """Every two-stage retrieval of an experiment with the lengths of its shortlists, those of all its blocks."""
        found: dict[TwoStageId, list[int]] = {}
        for block in self[experiment].two_stage:
            for dataset in block.datasets:
                for seed in block.seeds:
                    wanted = TwoStageId(experiment, dataset, block.scorer, block.filter, seed)
                    found[wanted] = sorted({*found.get(wanted, []), *block.shortlists})
        return found

    def overlay(self, cell: CellId, fields: Container[str]) -> dict[str, Any]:
        """What params.yaml sets for a cell whose method has ``fields``; a shared setting without a field in the method
        is left out. Phases that are set replace what more general settings say of a training without phases, and a
        schedule other than ``plateau`` what they say of that one."""
        settings = self[cell.experiment].settings
        shared = settings.all | settings.datasets.get(cell.dataset, {})
        found = {name: value for name, value in shared.items() if name in fields}
        for layer in (
            settings.methods.get(cell.method_name, {}),
            settings.methods.get(cell.method, {}),
            settings.cells.get(f"{cell.dataset}/{cell.method}", {}),
        ):
            replaced: tuple[str, ...] = REPLACED_BY_PHASES if layer.get("phases") else ()
            if layer.get("schedule", "plateau") != "plateau":
                replaced += OF_PLATEAU
            found = {name: value for name, value in found.items() if name not in replaced} | layer
        return found


def parse_params(raw: dict[str, Any], source: str = "params.yaml") -> Params:
    """Typed parameters from a parsed mapping; every mistake is listed with its place."""
    try:
        return Params.model_validate(raw)
    except ValidationError as error:
        lines = [f"  {'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        raise ParamsError(f"{source} is not valid:\n" + "\n".join(lines)) from None


def load_params(path: Path = PARAMS) -> Params:
    """Read and type ``params.yaml``."""
    if wrong := no_project(path):
        raise ParamsError(wrong)
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # no text, a 13th month, endless lists
        raise ParamsError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(raw, dict):
        raise ParamsError(f"{path} must hold a mapping with the keys experiment and experiments")
    return parse_params(raw, str(path))
