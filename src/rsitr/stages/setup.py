"""What training and evaluation of a cell share: its data, the device, the method as configured, the images for it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from rsitr.captions.keyword_table import read_keywords
from rsitr.captions.queries import as_queries
from rsitr.datasets.protocols import get_protocol
from rsitr.datasets.splits import SplitData, load_splits, member_of
from rsitr.datasets.table import DatasetFacts
from rsitr.errors import DatasetError, RecordError, Unsupported
from rsitr.methods import get_method
from rsitr.methods.base import Corpus, Method, MethodConfig
from rsitr.methods.configure import configure, settled
from rsitr.nn.features import cached_tokens
from rsitr.nn.inputs import Inputs, PixelInputs, RowInputs, TokenInputs
from rsitr.nn.matrix_products import use_onednn
from rsitr.nn.seeds import derive, seeded
from rsitr.params.ids import JOINT
from rsitr.records.artefact import ArtefactRecord, ArtefactSpec
from rsitr.records.cell import Spec, TuningSpec
from rsitr.records.pretraining import PretrainingRecord, PretrainingSpec
from rsitr.records.prior import PriorSpec, SceneRecord
from rsitr.records.provenance import cores
from rsitr.records.tuning import TuningRecord
from rsitr.stages.devices import claim

CACHE = Path("cache")
LOCKS = Path(".rsitr/locks")
_prepared: list[str] = []


def prepare(spec: ArtefactSpec) -> str:
    """Set threads and determinism for this process and return its device, a GPU of its own where there is one."""
    torch.set_num_threads(min(spec.threads, cores()))
    use_onednn()
    if not torch.cuda.is_available():
        return "cpu"  # where the kernels are deterministic for a fixed number of threads
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    return claim()


def device_of(spec: ArtefactSpec) -> str:
    """The device of this process, which is prepared once: training and evaluation share a GPU."""
    if not _prepared:
        _prepared.append(prepare(spec))
    return _prepared[0]


def started_from(**parts: PriorSpec | PretrainingSpec | TuningSpec | None) -> dict[str, str]:
    """Hash of what each part of a training starts from, by what it is called; a part may be None.

    Raises ``Unsupported`` where what wrote it was skipped, and ``RecordError`` where it failed.
    """
    return {name: _begun_by(name, spec).weights_sha for name, spec in parts.items() if spec}


def _begun_by(name: str, spec: PriorSpec | PretrainingSpec | TuningSpec) -> ArtefactRecord:
    kinds: dict[str, type[ArtefactRecord]] = {PriorSpec.kind: SceneRecord, PretrainingSpec.kind: PretrainingRecord}
    record = kinds.get(spec.kind, TuningRecord).read(spec.record_file)
    if record is None:
        raise RecordError(f"its {name} {spec.place} is not there: run `{spec.command}`")
    if record.outcome.status != "ok":
        error = Unsupported if record.outcome.status == "skipped" else RecordError
        raise error(f"its {name} {spec.place} is {record.outcome.status}: {record.outcome.reason}")
    return record


class CellData(NamedTuple):
    """What a cell reads."""

    splits: dict[str, SplitData]
    facts: DatasetFacts
    left_out: dict[str, int]
    """How many images were left out for which reason."""


def configuration(spec: Spec) -> MethodConfig:
    """The typed configuration of a cell; raises as ``started_from`` where its tuning has found no settings."""
    cls, variant, settings = get_method(spec.cell.method_name), spec.cell.variant, spec.settings
    if spec.tuning:
        found = _begun_by("tuning", spec.tuning)
        assert isinstance(found, TuningRecord)
        is_subject = spec.method == spec.tuning.base.method
        kept = {*spec.own} if is_subject else settled(cls, variant, settings, spec.dataset, spec.own)
        settings = settings | {name: value for name, value in found.best.items() if name not in kept}
    return configure(cls, variant, settings, spec.cell.dataset)


def load_data(spec: Spec) -> CellData:
    """The splits of a cell's dataset, with the queries that its configuration asks for.

    Raises ``DatasetError`` where the keywords that it needs are missing or of other data.
    """
    data = CellData(*load_splits(spec.clean))
    mode = configuration(spec).query
    if mode == "sentence":
        return data
    table, made = read_keywords(spec.keywords)
    if made.data_sha != data.facts.parent_sha:
        raise DatasetError(f"{spec.keywords} belongs to other data: run `rsitr captions keywords {spec.dataset}`")
    keywords = dict(zip(table["image_id"].to_pylist(), table["keywords"].to_pylist(), strict=True))
    splits, without = as_queries(data.splits, mode, keywords)
    return CellData(splits, data.facts, data.left_out | without)


def check_usable(spec: Spec, data: CellData) -> None:
    """Raise ``Unsupported`` where a needed split, or a part of a joint training set, has no image; with the reasons.

    Training needs all splits of ``data``.
    """
    trainable = get_method(spec.cell.method_name).trainable
    needed = tuple(data.splits) if trainable else ("test",)
    empty = [name for name in needed if not data.splits[name].paths]
    if trainable and not empty:
        here = {member_of(spec.clean_id, image_id) for image_id in data.splits["train"].image_ids}
        empty = [f"train of {name}" for name in JOINT.get(spec.split_protocol, ()) if name not in here]
    if empty:
        why = ", ".join(f"{count} x {reason}" for reason, count in data.left_out.items()) or "the dataset has none"
        raise Unsupported(f"no usable images in {', '.join(empty)}: {why}")


def describe_data(spec: Spec, data: CellData) -> dict[str, Any]:
    """What a record says about its data."""
    exact = get_protocol(spec.split_protocol).is_exact(Path(data.facts.root))
    return {
        "origin": data.facts.origin,
        "licence": data.facts.licence,
        "synthetic": data.facts.synthetic,
        "split_protocol": spec.split_protocol,
        "split_list": "authors'" if exact else "drawn",
        "dedup": spec.dedup,
        "images": {name: len(split.paths) for name, split in data.splits.items()},
        "captions": {name: len(split.captions) for name, split in data.splits.items()},
        "left_out": data.left_out,
    }


def build_method(spec: Spec, data: CellData) -> Method:
    """The method of a cell with its initial weights; raises ``Unsupported`` with the reason it cannot run."""
    cls = get_method(spec.cell.method_name)
    config = configuration(spec)
    supported, reason = cls.supports(data.facts)
    if not supported:
        raise Unsupported(reason)
    held = build_method(spec.teacher, load_data(spec.teacher)) if cls.holds_teacher and spec.teacher else None
    with seeded(derive(spec.seed, "init")):
        train = data.splits["train"]
        names = tuple(path.name for path in train.paths)
        return cls.build(config, Corpus(train.captions, train.image_of, spec.similarity, names, train.classes, held))


def image_inputs(
    method: Method,
    split: SplitData,
    splits: dict[str, SplitData],
    device: str,
    *,
    seed: int = 0,
    training: bool = False,
) -> Inputs:
    """The images of ``split`` as ``method`` wants them; ``training`` turns its augmentation on."""
    if not method.reads_pixels:
        return RowInputs()
    if getattr(method.config, "freeze_backbone", False):
        # The tokens of all splits are one file; a split knows its rows by its place in it.
        names = list(splits)
        paths = [path for name in names for path in splits[name].paths]
        hashes = [sha for name in names for sha in splits[name].hashes]
        tokens = cached_tokens(method.backbone, method.pixels, paths, hashes, CACHE, device)
        first = sum(len(splits[name].paths) for name in names[: [splits[n] is split for n in names].index(True)])
        return TokenInputs(tokens, np.arange(first, first + len(split.paths)))
    augment = getattr(method.config, "augment", "none") if training else "none"
    return PixelInputs(
        split.paths, method.pixels, augment, seed, workers=max(torch.get_num_threads() - 1, 0) if training else 0
    )
