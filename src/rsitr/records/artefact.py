"""Artefacts: what is computed once, kept with a record, and trusted as long as the record is current.

A trained and evaluated cell, a prior, a pretraining, a tuning, a two-stage retrieval and the study of a CLIP are all
one thing: a specification of what is expected, a process that computes it, and a record of what was computed, from
what, by which code. This module says what the six have in common.
"""

from __future__ import annotations

import os
import traceback
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator

from rsitr.errors import RsitrError, Unsupported, WeightsUnavailable
from rsitr.params.ids import NamedId
from rsitr.records.files import read_json
from rsitr.records.provenance import sha256_json

TRACEBACK_LINES = 15
PARAMETERS = "parameters"


class Outcome(BaseModel):
    """How the computation of an artefact ended."""

    model_config = ConfigDict(extra="forbid")

    status: Literal["ok", "skipped", "failed"] = "ok"
    reason: str = ""
    traceback: str = ""

    @classmethod
    def of(cls, error: Exception) -> Outcome:
        """Outcome of a computation that raised ``error``: skipped where something is unavailable here, else failed.

        A failed one carries the end of its traceback.
        """
        if isinstance(error, Unsupported | WeightsUnavailable):
            return cls(status="skipped", reason=str(error))
        lines = "".join(traceback.format_exception(error)).splitlines()
        # Lines of the traceback name files by path; the part before the package says nothing about the failure.
        tail = [line.replace(str(Path(__file__).parents[2]) + os.sep, "") for line in lines[-TRACEBACK_LINES:]]
        reason = str(error) if isinstance(error, RsitrError) else f"{type(error).__name__}: {error}"
        return cls(status="failed", reason=reason, traceback="\n".join(tail))


class Pretrained(BaseModel):
    """Weights that a model has started from, or that are a part of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    location: str
    """As the settings have it: package://..., mirror://..., scenes://..., pretraining://...; hf://OWNER/NAME@REVISION
    or https://... of what a library fetches; of a file on the machine its name alone."""
    files: dict[str, str]
    """Name of each file that was read -> its SHA-256."""

    @model_validator(mode="after")
    def _stays_in_its_place(self) -> Self:
        """A name is no path, and no address leaves the place that it names."""
        _, separator, rest = self.location.rpartition("://")
        plain = self.files.keys() if separator else [self.location, *self.files]
        if wrong := [name for name in plain if Path(name).name != name]:
            raise ValueError(f"{wrong[0]!r} is not the name of a file")
        if separator and ".." in rest.split("/"):
            raise ValueError(f"{self.location!r} leaves the place that it names")
        return self


class ArtefactSpec(BaseModel):
    """What an artefact is expected to be under the present parameters and code."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: ClassVar[str]
    """Its folder below ``results``."""
    FILE: ClassVar[str]
    """The name of its record."""

    threads: int
    """Most threads that it may use."""
    code: dict[str, str]
    """Part of the computation -> identity of the code behind it (``rsitr.records.identity``)."""

    @property
    @abstractmethod
    def place(self) -> str:
        """Folder of the record below ``results/<kind>``."""

    @property
    def path(self) -> str:
        """What messages call it."""
        return self.item

    @property
    def item(self) -> str:
        """Folder of the record below ``results``: what it is among all artefacts."""
        return f"{self.kind}/{self.place}"

    @property
    def command(self) -> str:
        """What computes it."""
        return f"rsitr run {self.item}"

    @property
    @abstractmethod
    def facts(self) -> Any:
        """Everything that params.yaml says about it but the seed, with what it rests on: a JSON value."""

    @property
    def draws(self) -> int:
        """The seed: unless it says otherwise, that of what it rests on."""
        return next(iter(self.rests_on.values())).draws

    @property
    def params_sha(self) -> str:
        """Hash of everything that params.yaml says about it."""
        return sha256_json([self.facts, self.draws])

    @property
    def identities(self) -> dict[str, str]:
        """Parameters and code, each as one hash."""
        return {PARAMETERS: self.params_sha} | self.code

    @property
    def configuration(self) -> str:
        """What a replay certifies: the artefact but for its seed."""
        return f"{self.kind}/{self.seedless}#{sha256_json(self.facts)[:8]}"

    @property
    def seedless(self) -> str:
        """``place`` without the seed."""
        return self.place.rpartition("/")[0]

    @property
    def record_file(self) -> Path:
        """The record."""
        return Path("results", self.item, self.FILE)

    @property
    @abstractmethod
    def outputs(self) -> list[Path]:
        """Every file of a finished artefact, the record last."""

    @property
    def inputs(self) -> list[Path]:
        """The tables that it reads: unless it says otherwise, those of what it rests on."""
        return list(dict.fromkeys(path for spec in self.rests_on.values() for path in spec.inputs))

    @property
    def rests_on(self) -> Mapping[str, ArtefactSpec]:
        """The artefacts whose weights or records it uses, by their part in it."""
        return {}


class NamedSpec(ArtefactSpec):
    """Of what params.yaml names: a prior or a pretraining. It has one seed, which is not part of the name."""

    experiment: str
    name: str

    @property
    def id(self) -> NamedId:
        """Its identity."""
        return NamedId(self.experiment, self.name)

    @property
    def place(self) -> str:
        """``experiment/name``."""
        return self.id.path

    @property
    def seedless(self) -> str:
        """The same."""
        return self.place


class ArtefactRecord(BaseModel):
    """What was computed, from what, by which code."""

    model_config = ConfigDict(extra="forbid")

    PARTS: ClassVar[tuple[str, ...]] = ("code",)
    """Parts of the code, as ``ArtefactSpec.code`` names them."""
    USED: ClassVar[dict[str, str]] = {}
    """What it may rest on, as ``ArtefactSpec.rests_on`` has it -> its hash in version 1."""

    version: Literal[1, 2] = 2
    outcome: Outcome = Outcome()
    identities: dict[str, str] = {}
    """Of the spec that it was computed by: parameters, and each part of the code."""
    data_sha: str = ""
    weights_sha: str = ""
    """SHA-256 of the file of its own weights."""
    used: dict[str, str] = {}
    """SHA-256 of the weights of what it rests on."""
    pretrained: dict[str, Pretrained] = {}
    """What it has started from, by the setting that names it; empty in a record written before this was noted."""
    seconds: dict[str, float] = {}
    """Wall time by stage."""
    machine: dict[str, Any] = {}
    versions: dict[str, str] = {}

    @model_validator(mode="before")
    @classmethod
    def _version_1(cls, raw: Any) -> Any:
        """The first version had one hash of code for everything, made in another way; certificates connect the two."""
        if not isinstance(raw, dict) or raw.get("version", 2) != 1:
            return raw
        raw = dict(raw)
        code, params = raw.pop("code_sha", ""), raw.pop("params_sha", "")
        raw["identities"] = ({PARAMETERS: params} if params else {}) | dict.fromkeys(cls.PARTS, code)
        used = {name: raw.pop(field, "") for name, field in cls.USED.items()}
        raw["used"] = {name: sha for name, sha in used.items() if sha}
        raw["version"] = 2
        return raw

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """The record in a file, or None when there is none yet; raises ``RecordError`` as ``read_json``."""
        return read_json(cls, path) if path.is_file() else None
