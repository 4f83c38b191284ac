"""Running priors: in a process of their own, not again while they are current, with file times that say so.

The Snakefile and every cell ask this, so nothing here imports torch or pandas at its start.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from rsitr.cells import Layout, Outcome, PriorSpec, read_json, write_json
from rsitr.errors import DatasetError, Unsupported
from rsitr.isolation import run_stage
from rsitr.params import Params, PriorId
from rsitr.provenance import code_sha, sha256_file
from rsitr.scenes.record import SceneRecord, read_prior
from rsitr.times import newest, oldest

MODULES = ("rsitr.scenes.train",)


def spec_of_prior(params: Params, prior: PriorId) -> PriorSpec:
    """What a prior is expected to be under the present parameters and code."""
    return PriorSpec(
        **prior._asdict(),
        prior=params.prior(prior),
        threads=params[prior.experiment].threads,
        code_sha=code_sha(MODULES),
    )


def check_priors(params: Params, priors: Iterable[PriorId]) -> None:
    """Raise ``ParamsError`` when a prior is unknown or names an unknown dataset."""
    from rsitr.datasets import get_dataset

    for prior in map(params.prior, priors):
        for dataset in (*prior.datasets, *prior.without):
            get_dataset(dataset)


def prior_inputs(spec: PriorSpec) -> list[Path]:
    """The tables that a prior reads: canonical ones, and those of copies."""
    names = dict.fromkeys([*spec.prior.datasets, *spec.prior.without])
    return [*map(Layout.dataset, names), *(Layout.copies(*pair) for pair in spec.prior.compared)]


def prior_outputs(prior: PriorId) -> list[Path]:
    """The files that the rule of a prior makes."""
    return [Layout.prior_weights(prior), *(Layout.prior(prior) / name for name in ("scenes.json", "left_out.csv"))]


def write_prior_spec(spec: PriorSpec) -> Path:
    """Write the spec of a prior where its rule reads it, only if it changed."""
    path = Layout.prior_spec(spec.id)
    if not path.is_file() or read_json(PriorSpec, path) != spec:
        write_json(path, spec)
    return path


def stale_prior(spec: PriorSpec) -> list[str]:
    """What the record of a prior no longer agrees with: code, parameters, data; empty when there is none.

    The data is not judged where its tables are not at hand.
    """
    from rsitr.scenes.images import select

    record = read_prior(spec.id)
    if record is None:
        return []
    try:
        present = select(spec).data_sha if all(path.is_file() for path in prior_inputs(spec)) else None
    except (DatasetError, Unsupported):
        present = None  # the run itself says what is wrong
    return record.stale(spec, present)


def synchronise_priors(params: Params, priors: Iterable[PriorId]) -> None:
    """Write every prior's spec and make file times say what the hashes say (``rsitr.pipeline.synchronise``)."""
    for prior in priors:
        spec = spec_of_prior(params, prior)
        path = write_prior_spec(spec)
        made = [output for output in _timed(prior) if output.is_file()]
        if read_prior(prior) is None:
            continue
        if stale_prior(spec):
            os.utime(path)
        elif newest([path, *prior_inputs(spec)]) > oldest(made):
            for output in made:
                os.utime(output)


def _timed(prior: PriorId) -> list[Path]:
    return [*prior_outputs(prior), Path("results/timing/scenes", prior.path + ".tsv")]


def run_prior(spec: PriorSpec) -> Outcome:
    """Train a prior in a process of its own and return how it ended; one that is current is not trained again."""
    record, outputs = read_prior(spec.id), prior_outputs(spec.id)
    complete = record and record.outcome.status == "ok" and all(path.is_file() for path in outputs)
    if record and complete and sha256_file(outputs[0]) == record.weights_sha and not stale_prior(spec):
        for path in outputs:
            os.utime(path)
        return record.outcome
    killed = run_stage("scenes.train", spec, write_prior_spec(spec))
    if killed:
        _record_kill(spec, killed)
        return killed
    record = read_prior(spec.id)
    assert record is not None
    return record.outcome


def _record_kill(spec: PriorSpec, outcome: Outcome) -> None:
    from safetensors.numpy import save_file

    weights, folder = Layout.prior_weights(spec.id), Layout.prior(spec.id)
    for parent in (weights.parent, folder):
        parent.mkdir(parents=True, exist_ok=True)
    save_file({}, weights, metadata={"prior": spec.id.path})
    (folder / "left_out.csv").touch()
    write_json(folder / "scenes.json", SceneRecord.begun(spec).model_copy(update={"outcome": outcome}))


def forget_priors(params: Params, experiment: str, states: set[str]) -> list[PriorId]:
    """Delete the outputs of all priors of an experiment that ended in one of ``states``; what a killed training saved
    to continue from is kept."""
    found = [(prior, read_prior(prior)) for prior in params.priors(experiment)]
    chosen = [prior for prior, record in found if record and record.outcome.status in states]
    for prior in chosen:
        for path in prior_outputs(prior):
            path.unlink(missing_ok=True)
    return chosen
