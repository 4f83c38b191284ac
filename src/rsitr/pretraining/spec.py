"""What is pre-trained, as a YAML file states it, and the record of how it went."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rsitr.errors import DatasetError, ParamsError
from rsitr.records.artefact import Outcome, Pretrained
from rsitr.records.pretraining import PretrainSettings


class PretrainSpec(PretrainSettings):
    """A run of pre-training: its settings, from what and to where."""

    shards: tuple[str, ...] = Field(min_length=1)
    """Files or patterns such as ``data/raw/rs5m/*-train-*.tar``, from the folder in which the run starts."""
    shards_at_once: int | None = Field(None, ge=1)
    """How many shards are read at a time, each from its beginning to its end, and their samples mixed; None mixes all
    samples, each read where it is."""
    out: Path
    """Folder of ``model.safetensors``, ``pretrain.json``, ``loss.csv`` and, while training, ``resume.pt``."""

    @property
    def training(self) -> dict[str, Any]:
        """Everything that the weights depend on except the shards, whose content has its own hash."""
        return self.model_dump(mode="json", exclude={"shards", "out", "workers", "patience"})

    def shard_paths(self) -> list[Path]:
        """The shards, sorted within each pattern; raises ``DatasetError`` if one matches nothing."""
        found: list[Path] = []
        for pattern in self.shards:
            path = Path(pattern)
            matches = [path]
            if any(sign in pattern for sign in "*?["):
                matches = sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor))))
            if not matches:
                raise DatasetError(f"no file is like {pattern}: write shards, or name those that are there in `shards`")
            found += matches
        return list(dict.fromkeys(found))


class PretrainEpoch(BaseModel):
    """One line of the history."""

    epoch: int
    loss: float
    """Mean over the steps."""
    learning_rate: float
    temperature: float
    seconds: float


class PretrainRecord(BaseModel):
    """``pretrain.json``. Times in seconds, memory in MiB."""

    model_config = ConfigDict(extra="forbid")

    version: Literal[1] = 1
    outcome: Outcome = Outcome()
    config: dict[str, Any] = {}
    """The spec in full, defaults included."""
    processes: int = 1
    steps: int = 0
    samples: int = 0
    """With an image and captions, in all shards."""
    skipped: dict[str, int] = {}
    """Samples that were left out, by problem; broken ones count once they have been reached."""
    skipped_samples: list[str] = []
    """Some of those, by name."""
    history: list[PretrainEpoch] = []
    samples_per_second: float = 0.0
    """Over the steps of the last process that trained, except its first."""
    seconds: float = 0.0
    """Of training, over all processes that have worked on it in turn."""
    peak_memory_mib: dict[str, int] = {}
    """Of the first process: ``process``, and ``gpu`` if there is one."""
    parameters: dict[str, int] = {}
    """total and trainable."""
    training_sha: str = ""
    """Hash of the spec without paths."""
    data_sha: str = ""
    code_sha: str = ""
    pretrained: dict[str, Pretrained] = {}
    """The weights that it has started from, by the setting that names them."""
    initial_sha: str = ""
    """Hash of the weights that training started from."""
    weights_sha: str = ""
    """SHA-256 of ``model.safetensors``."""
    machine: dict[str, Any] = {}
    versions: dict[str, str] = {}


def load_spec(path: Path) -> PretrainSpec:
    """Read a spec; raises ``ParamsError`` that names each wrong field."""
    try:
        return PretrainSpec.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        lines = "; ".join(f"{'.'.join(map(str, item['loc'])) or 'spec'}: {item['msg']}" for item in error.errors())
        raise ParamsError(f"{path} is not a valid spec: {lines}") from None
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise ParamsError(f"{path} cannot be read: {error}") from None
