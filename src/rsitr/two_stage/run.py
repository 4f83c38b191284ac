"""Running two-stage retrievals: in a process of their own, not again while current, with file times that say so.

The Snakefile asks this, so nothing here imports torch or pandas at its start.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from rsitr.cells import Layout, Outcome, Spec, current_weights_sha, read_json, write_json
from rsitr.isolation import run_stage
from rsitr.methods import entry
from rsitr.params import TwoStageId
from rsitr.present import current_data_sha
from rsitr.provenance import code_sha
from rsitr.times import newest, oldest
from rsitr.two_stage.record import TwoStageRecord, TwoStageSpec, read_two_stage

STAGE = "two_stage.stage"


def spec_of_two_stage(shortlists: Iterable[int], scorer: Spec, chosen: Spec) -> TwoStageSpec:
    """What a two-stage retrieval is expected to be under the present code, from the specs of scorer and filter."""
    modules = (f"rsitr.{STAGE}", *(entry(cell.cell.method_name).module for cell in (scorer, chosen)))
    return TwoStageSpec(scorer=scorer, filter=chosen, shortlists=tuple(shortlists), code_sha=code_sha(modules))


def two_stage_inputs(spec: TwoStageSpec) -> list[Path]:
    """What a two-stage retrieval reads beside its spec: the clean table, and weights and records of both cells."""
    cells = (spec.scorer.cell, spec.filter.cell)
    weights = [Layout.checkpoint(cell) / name for cell in cells for name in ("model.safetensors", "train.json")]
    return [spec.scorer.clean, *weights, *(Layout.cell(cell) / "cell.json" for cell in cells)]


def stale_two_stage(spec: TwoStageSpec) -> list[str]:
    """What the record no longer agrees with: code, parameters, data, scorer, filter; empty when there is none."""
    record = read_two_stage(spec.id)
    if record is None:
        return []
    return record.stale(
        spec, current_data_sha(spec.scorer), *(current_weights_sha(cell.cell) for cell in (spec.scorer, spec.filter))
    )


def status_of_two_stages(specs: Iterable[TwoStageSpec]) -> list[tuple[str, str, str]]:
    """Path, state and reason of each, as ``rsitr.pipeline.status`` has them of cells."""
    rows = []
    for spec in specs:
        record, stale = read_two_stage(spec.id), stale_two_stage(spec)
        state = f"{record.outcome.status}{' stale' if stale else ''}" if record else "missing"
        reasons = [record.outcome.reason if record else "", f"changed: {', '.join(stale)}" if stale else ""]
        rows.append((spec.path, state, "; ".join(filter(None, reasons))))
    return rows


def write_two_stage_spec(spec: TwoStageSpec) -> Path:
    """Write the spec where its rule reads it, only if it changed."""
    path = Layout.two_stage_spec(spec.id)
    if not path.is_file() or read_json(TwoStageSpec, path) != spec:
        write_json(path, spec)
    return path


def synchronise_two_stages(specs: Iterable[TwoStageSpec]) -> None:
    """Write every spec and make file times say what the hashes say (``rsitr.pipeline.synchronise``)."""
    for spec in specs:
        path = write_two_stage_spec(spec)
        record = read_two_stage(spec.id)
        if record is None:
            continue
        timing = Path("results/timing/two_stage", spec.id.path + ".tsv")
        made = [output for output in (Layout.two_stage(spec.id), timing) if output.is_file()]
        if stale_two_stage(spec):
            os.utime(path)
        # One that was skipped for its cells' sake is cheap to try again: Snakemake decides.
        elif record.outcome.status != "skipped" and newest([path, *two_stage_inputs(spec)]) > oldest(made):
            for output in made:
                os.utime(output)


def run_two_stage(spec: TwoStageSpec) -> Outcome:
    """Run a two-stage retrieval in a process of its own and return how it ended; a current one is not repeated."""
    record, path = read_two_stage(spec.id), Layout.two_stage(spec.id)
    if record and record.outcome.status == "ok" and not stale_two_stage(spec):
        os.utime(path)
        return record.outcome
    killed = run_stage(STAGE, spec, write_two_stage_spec(spec))
    if killed:
        write_json(path, TwoStageRecord.begun(spec).model_copy(update={"outcome": killed}))
        return killed
    record = read_two_stage(spec.id)
    assert record is not None
    return record.outcome


def forget_two_stages(wanted: Iterable[TwoStageId], states: set[str]) -> None:
    """Delete the records of those that ended in one of ``states``."""
    for each in wanted:
        record = read_two_stage(each)
        if record and record.outcome.status in states:
            Layout.two_stage(each).unlink()
