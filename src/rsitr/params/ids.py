"""Names and identities: cells, clean tables, two-stage retrievals, priors; and which protocols and rules exist."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from rsitr.errors import ParamsError

NAME = r"[a-z0-9][a-z0-9+.-]*"
METHOD = rf"{NAME}(?:@{NAME})?"
SCENES, PRETRAINING = "scenes", "pretraining"
"""Scheme for the weights of a prior and of a CLIP pretrained here, and their folders below ``checkpoints`` and
``results``."""
Dedup = Literal["none", "remoteclip", "copies"]
"""Rules that define near duplicates: nothing is one, 64-bit hashes are close, or pixels agree."""
SplitProtocol = Literal["official", "swan", "amfmn-holdout", "ret-2", "ret-3"]
"""Names of the split protocols (``rsitr.datasets.protocols``)."""
OFFICIAL: SplitProtocol = "official"
Role = Literal["main", "ablation", "sweep", "protocol", "control"]
"""What a method is in an experiment for. ``main``: to be compared with the others; ``ablation``: a method without or
with a part; ``sweep``: a value of a setting; ``protocol``: breaks a rule on purpose, as ``selection: test`` does;
``control``: shows what little or no knowledge reaches."""
MAIN: Role = "main"
EXTERNAL = "external"
"""Role of what others have made (``rsitr.external``), and the experiment that their records name."""
JOINT: dict[str, tuple[str, ...]] = {"ret-2": ("rsicd", "rsitmd"), "ret-3": ("rsicd", "rsitmd", "ucm")}
"""Split protocols that train on several datasets at once, with these."""


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


class CleanId(NamedTuple):
    """The identity of a clean table: a dataset in the splits of a protocol, without some near duplicates."""

    dataset: str
    split_protocol: str = OFFICIAL
    dedup: str = "none"

    @property
    def name(self) -> str:
        """What it is among those of its dataset."""
        return f"{self.split_protocol}-{self.dedup}"


class TwoStageId(NamedTuple):
    """The identity of a two-stage retrieval: two cells of one dataset and seed."""

    experiment: str
    dataset: str
    scorer: str
    """The method that re-sorts shortlists, as ``CellId.method``."""
    filter: str
    """The method that makes them."""
    seed: int

    @property
    def path(self) -> str:
        """Folder of the record below ``results/two_stage``."""
        return f"{self.experiment}/{self.dataset}/{self.scorer}/{self.filter}/{self.seed}"

    @property
    def cells(self) -> tuple[CellId, CellId]:
        """Those of the scorer and of the filter."""
        place = self.experiment, self.dataset
        return CellId(*place, self.scorer, self.seed), CellId(*place, self.filter, self.seed)


class NamedId(NamedTuple):
    """The identity of a prior, a scene classifier whose backbone methods may start from, or of a pretrained CLIP."""

    experiment: str
    name: str

    @property
    def path(self) -> str:
        """Its folder below ``checkpoints/scenes`` and ``results/scenes``, or there below ``pretraining``."""
        return f"{self.experiment}/{self.name}"


class TuningId(NamedTuple):
    """The identity of a tuning: a search for the settings of a method on a dataset."""

    experiment: str
    dataset: str
    method: str
    """``CellId.method`` of the cells whose given settings it starts from."""

    @property
    def path(self) -> str:
        """Folder of the record below ``results/tuning``."""
        return f"{self.experiment}/{self.dataset}/{self.method}"


def prior_of(weights: str) -> NamedId | None:
    """The prior that a setting names, ``scenes://EXPERIMENT/NAME``; else None, or ``ParamsError`` for another form."""
    return NamedId(*parts) if (parts := _address(weights, SCENES, "prior")) else None


def pretraining_of(weights: str) -> NamedId | None:
    """The pretraining that a setting names, ``pretraining://EXPERIMENT/NAME``; else as ``prior_of``."""
    return NamedId(*parts) if (parts := _address(weights, PRETRAINING, "pretraining")) else None


def _address(weights: str, scheme: str, what: str) -> list[str]:
    if not weights.startswith(f"{scheme}://"):
        return []
    parts = weights.removeprefix(f"{scheme}://").split("/")
    if len(parts) != 2 or not all(re.fullmatch(NAME, part) for part in parts):
        raise ParamsError(f"{weights!r} names no {what}: write {scheme}://EXPERIMENT/NAME, e.g. {scheme}://demo/all")
    return parts
