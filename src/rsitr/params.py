"""params.yaml, typed: which cells an experiment consists of and how each method is configured in it.

This module is imported by the Snakefile and therefore stays light: nothing here needs torch.
"""

from __future__ import annotations

import re
from collections.abc import Container
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from rsitr.errors import ParamsError

NAME = r"[a-z0-9][a-z0-9+.-]*"
METHOD = rf"{NAME}(?:@{NAME})?"


Dedup = Literal["none", "remoteclip", "copies"]
"""Rules of what near duplicates are: nothing is one, 64-bit hashes are near, or pixels agree."""


class CellId(NamedTuple):
    """The identity of a cell; its path everywhere is ``experiment/dataset/method/seed``."""

    experiment: str
    dataset: str
    method: str
    """``name`` or ``name@variant``."""
    seed: int

    @property
    def path(self) -> str:
        """Folder of the cell below ``results/cells`` and ``checkpoints``."""
        return f"{self.experiment}/{self.dataset}/{self.method}/{self.seed}"

    @property
    def method_name(self) -> str:
        """The method without its variant."""
        return self.method.partition("@")[0]

    @property
    def variant(self) -> str:
        """The variant, or an empty string."""
        return self.method.partition("@")[2]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Block(_Strict):
    """A full grid of cells: every method on every dataset with every seed."""

    datasets: Annotated[list[str], Field(min_length=1)]
    methods: Annotated[list[str], Field(min_length=1)]
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]

    @field_validator("methods")
    @classmethod
    def _method_names(cls, methods: list[str]) -> list[str]:
        for method in methods:
            if not re.fullmatch(METHOD, method):
                raise ValueError(f"{method!r} is not of the form name or name@variant (lower-case, digits, + . -)")
        return methods


class Settings(_Strict):
    """Overlays on the methods' own defaults; later levels win: variant, all, datasets, methods, cells.

    ``all`` and ``datasets`` hold what several methods share, and reach the methods that have such a field.
    ``methods`` and ``cells`` (keys ``dataset/method``) are exact: an unknown field there is an error.
    """

    all: dict[str, Any] = {}
    datasets: dict[str, dict[str, Any]] = {}
    methods: dict[str, dict[str, Any]] = {}
    cells: dict[str, dict[str, Any]] = {}


class Experiment(_Strict):
    """One block of params.yaml."""

    title: str
    matrix: Annotated[list[Block], Field(min_length=1)]
    dedup: Dedup = "none"
    """Which duplicates leave the training set: none (published protocol), those by 64-bit pHash within Hamming distance
    2, or those whose pixels agree under some crop, flip or turn."""
    pretraining: list[str] = []
    """Datasets beside the matrix that models are pretrained on; their overlap with the test sets is reported."""
    shards: Annotated[int, Field(ge=1)] = 1
    """Jobs into which the comparison of two datasets is divided; the result is the same."""
    threads: Annotated[int, Field(ge=1)] = 1
    """Threads of one cell, at most the machine's cores; not taken from ``--cores``: numbers must not depend on it."""
    mem_mb: Annotated[int, Field(ge=1)] = 4000
    """Memory that Snakemake reserves for one cell."""
    settings: Settings = Settings()

    @property
    def datasets(self) -> list[str]:
        """Every dataset of the matrix, in order of first mention."""
        return list(dict.fromkeys(name for block in self.matrix for name in block.datasets))

    @property
    def compared(self) -> list[tuple[str, str]]:
        """Pairs of datasets, in alphabetical order, whose images are compared; a dataset with itself, too."""
        pairs = combinations_with_replacement(sorted({*self.datasets, *self.pretraining}), 2)
        return [pair for pair in pairs if pair[0] == pair[1] or not {*pair} <= {*self.pretraining}]

    @property
    def methods(self) -> list[str]:
        """Every method of the matrix, in order of first mention."""
        return list(dict.fromkeys(name for block in self.matrix for name in block.methods))


class Params(_Strict):
    """The whole of params.yaml."""

    experiment: str
    strict: bool = False
    """A failed cell or a stale record stops the run instead of appearing as NA."""
    experiments: dict[str, Experiment]

    def __getitem__(self, name: str) -> Experiment:
        """The experiment called ``name``; raises ``ParamsError`` for an unknown one."""
        if name not in self.experiments:
            raise ParamsError(f"unknown experiment {name!r}: params.yaml has {', '.join(self.experiments)}")
        return self.experiments[name]

    def cells(self, experiment: str) -> list[CellId]:
        """The expected matrix, in table order and without repetition."""
        return list(
            dict.fromkeys(
                CellId(experiment, dataset, method, seed)
                for block in self[experiment].matrix
                for dataset in block.datasets
                for method in block.methods
                for seed in block.seeds
            )
        )

    def overlay(self, cell: CellId, fields: Container[str]) -> dict[str, Any]:
        """What params.yaml sets for a cell whose method has ``fields``; a shared setting it has no field for is none
        of its settings."""
        settings = self[cell.experiment].settings
        shared = settings.all | settings.datasets.get(cell.dataset, {})
        return {
            **{name: value for name, value in shared.items() if name in fields},
            **settings.methods.get(cell.method_name, {}),
            **settings.methods.get(cell.method, {}),
            **settings.cells.get(f"{cell.dataset}/{cell.method}", {}),
        }


def parse_params(raw: dict[str, Any], origin: str = "params.yaml") -> Params:
    """Typed parameters from a parsed mapping; every mistake is listed with its place."""
    try:
        return Params.model_validate(raw)
    except ValidationError as error:
        lines = [f"  {'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        raise ParamsError(f"{origin} is not valid:\n" + "\n".join(lines)) from None


def load_params(path: Path = Path("params.yaml")) -> Params:
    """Read and type ``params.yaml``."""
    if not path.is_file():
        raise ParamsError(f"{path} not found: run from the folder that holds the Snakefile and params.yaml")
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ParamsError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(raw, dict):
        raise ParamsError(f"{path} must hold a mapping with the keys experiment and experiments")
    return parse_params(raw, str(path))
