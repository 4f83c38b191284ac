"""A pretraining of params.yaml: shards of its dataset, ``pretrain`` on this process's device, the record."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from rsitr.datasets.table import read_facts
from rsitr.errors import Unsupported
from rsitr.pretraining.loop import CACHE, pretrain
from rsitr.pretraining.shards import write_training_shards
from rsitr.pretraining.spec import PretrainSpec
from rsitr.records.artefact import Outcome
from rsitr.records.files import write_json, write_text
from rsitr.records.paths import Paths
from rsitr.records.pretraining import PretrainingRecord, PretrainingSpec
from rsitr.records.provenance import library_versions
from rsitr.records.weights import write_weights
from rsitr.stages.setup import prepare, started_from


def run(spec: PretrainingSpec, before_keeping: Callable[[], None] = lambda: None) -> PretrainingRecord:
    """Pretrain, and write the weights and ``pretraining.json``; what goes wrong is recorded.

    ``before_keeping`` is called when everything is computed, and may object. A training that torchrun has ended is
    recorded and not repeated.
    """
    record = PretrainingRecord.begun(spec)
    record.versions = library_versions()
    try:
        trained(spec, record)
    except Exception as error:  # the cells that need it say so, and the rest goes on
        print(f"{spec.path}: {error}", file=sys.stderr)
        record.outcome = Outcome.of(error)
    before_keeping()
    if record.outcome.status != "ok":
        write_weights(spec.trained_outputs[0], {}, "pretraining", spec.place)
    write_json(spec.record_file, record)
    return record


def trained(spec: PretrainingSpec, record: PretrainingRecord) -> None:
    """Pretrain, and fill ``record`` in.

    What is run is also written to ``spec.yaml`` next to the weights, for torchrun, whose processes can continue it.
    """
    record.used = started_from(prior=spec.prior)
    shards = training_shards(spec)
    whole = PretrainSpec(**spec.settings.model_dump(), shards=shards, out=Paths.pretrained_weights(spec.id).parent)
    write_text(whole.out / "spec.yaml", yaml.safe_dump(whole.model_dump(mode="json")))
    done = pretrain(whole, prepare(spec))
    record.data_sha = read_facts(spec.inputs[0]).data_sha if spec.inputs else done.data_sha
    record.weights_sha, record.pretrained, record.machine = done.weights_sha, done.pretrained, done.machine
    record.samples, record.skipped, record.steps = done.samples, done.skipped, done.steps
    record.loss = [epoch.loss for epoch in done.history]
    record.parameters, record.peak_memory_mib = done.parameters, done.peak_memory_mib
    record.seconds["train"] = done.seconds


def training_shards(spec: PretrainingSpec) -> tuple[str, ...]:
    """Patterns of the shards: the dataset's own, or those written once from its clean table.

    Raises ``Unsupported`` where the dataset's own have not been fetched.
    """
    if spec.shards:
        if not any(path for pattern in spec.shards for path in Path().glob(pattern)):
            raise Unsupported(
                f"the shards of {spec.dataset} ({spec.shards[0]}) are not here: run `rsitr data fetch {spec.dataset}`, "
                f"then `{spec.command}`"
            )
        return spec.shards
    (table,) = spec.inputs
    folder = CACHE / "training-shards" / f"{spec.dataset}-{read_facts(table).data_sha[:32]}"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder.parent) as partial:
            write_training_shards(table, Path(partial, "shards"))
            Path(partial, "shards").rename(folder)
    return (f"{folder}/*.tar",)
