"""The pipeline as functions: what the Snakefile, the command line and a notebook call. It never imports torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rsitr.cells import (
    Layout,
    Outcome,
    Record,
    Spec,
    TrainReport,
    current_weights_sha,
    read_json,
    read_record,
    write_json,
)
from rsitr.errors import RsitrError
from rsitr.isolation import run_stage
from rsitr.needs import (
    STATE,
    caption_files,
    cell_modules,
    check_two_stages,
    prior,
    prior_files,
    priors,
    teacher,
    teacher_files,
)
from rsitr.origin import check_origin, forget_origin, note_origin
from rsitr.params import SCENES, CellId, Params, parse_params
from rsitr.present import current_data_sha, stale_parts
from rsitr.provenance import code_sha, memory_gib
from rsitr.scenes.run import check_priors, forget_priors, spec_of_prior, synchronise_priors
from rsitr.scenes.use import begin_with_prior, check_prior, note_prior, prior_failure
from rsitr.times import newest, oldest
from rsitr.two_stage.record import TwoStageSpec
from rsitr.two_stage.run import forget_two_stages, spec_of_two_stage, synchronise_two_stages


def open_params(config: dict[str, Any]) -> Params:
    """Parameters from a parsed params.yaml, every cell of the chosen experiment checked against its method."""
    from rsitr.methods.catalog import check

    params = parse_params(config)
    cells = params.cells(params.experiment)
    check(params, cells, STATE)
    for cell in cells:
        teacher(params, cell)
    check_priors(params, priors(params, params.experiment))
    check_two_stages(params, params.experiment)
    return params


def check_cell(params: Params, cell: CellId) -> None:
    """Raise ``ParamsError`` unless the dataset, method and variant of a cell exist, in the matrix or out of it."""
    from rsitr.methods.catalog import check

    check(params, [cell], STATE)


def cores() -> int:
    """Number of cores of this machine."""
    return os.cpu_count() or 1


def machine_memory_mb() -> int:
    """Memory in MB that cells may share: nine tenths of the machine's."""
    return int(memory_gib() * 1024 * 0.9)


def spec_of(params: Params, cell: CellId) -> Spec:
    """What a cell is expected to be under the present parameters and code."""
    from rsitr.methods.catalog import schemas

    experiment = params[cell.experiment]
    fields = schemas(STATE)[cell.method_name]["schema"].get("properties", {})
    taught_by, begun_as = teacher(params, cell), prior(params, cell)
    return Spec(
        **cell._asdict(),
        settings=params.overlay(cell, fields),
        dedup=experiment.dedup,
        threads=experiment.threads,
        code_sha=code_sha(cell_modules(params, cell)),
        teacher=spec_of(params, taught_by) if taught_by else None,
        prior=spec_of_prior(params, begun_as) if begun_as else None,
    )


def two_stage_specs(params: Params, experiment: str) -> list[TwoStageSpec]:
    """What the two-stage retrievals of an experiment are expected to be."""
    wanted = params.two_stages(experiment).items()
    return [spec_of_two_stage(k, *(spec_of(params, cell) for cell in each.cells)) for each, k in wanted]


def write_spec(spec: Spec) -> Path:
    """Write the spec of a cell where its rules read it, only if it changed."""
    path = Layout.spec(spec.cell)
    if not path.is_file() or path.read_text(encoding="utf-8") != _json(spec):
        write_json(path, spec)
    return path


def _json(spec: Spec) -> str:
    return json.dumps(spec.model_dump(mode="json"), indent=1, sort_keys=True) + "\n"


def synchronise(params: Params, cells: Sequence[CellId]) -> None:
    """Write the spec of every cell and prior and make file times say what the hashes say.

    Snakemake decides by file times where it has no metadata of its own, as after a clone. So the outputs of a cell
    whose record agrees with the present code, parameters and data become newer than its inputs, and the spec of one
    whose record does not becomes newer than its outputs.
    """
    Path("data/similarity").mkdir(parents=True, exist_ok=True)  # DVC tracks it, though not every experiment fills it
    for dataset, dedup in dict.fromkeys((cell.dataset, params[cell.experiment].dedup) for cell in cells):
        _synchronise_clean(dataset, dedup)
    synchronise_priors(params, priors(params, params.experiment))
    # Teachers first: their files are inputs of others.
    for cell in sorted(cells, key=lambda cell: teacher(params, cell) is not None):
        spec = spec_of(params, cell)
        path = write_spec(spec)
        trained, evaluated = ([path for path in paths if path.is_file()] for paths in _outputs(cell))
        record = read_record(Layout.cell(cell) / "cell.json")
        if record is None:
            continue
        if stale_parts(spec):
            os.utime(path)
            continue
        inputs = [path, spec.clean, *caption_files(params, cell), *teacher_files(params, cell)]
        inputs += prior_files(params, cell)
        if _superseded(spec, record):
            for output in trained:  # evaluation has to follow
                os.utime(output)
        elif newest(inputs) > oldest(trained) or newest([*inputs, *trained]) > oldest(evaluated):
            for output in (*trained, *evaluated):
                os.utime(output)
    synchronise_two_stages(two_stage_specs(params, params.experiment))


def _synchronise_clean(dataset: str, dedup: str) -> None:
    """A clean table made from the canonical table that lies here is not older than it."""
    from rsitr.datasets.table import read_facts

    table, clean = Layout.dataset(dataset), Layout.clean(dataset, dedup)
    timing = Path("results/timing/clean", f"{dataset}-{dedup}.tsv")
    products = [path for path in (clean, timing) if path.is_file()]
    if not (table.is_file() and clean.is_file()) or newest([table]) <= oldest(products):
        return
    if read_facts(clean).parent_sha == read_facts(table).data_sha:
        for path in products:
            os.utime(path)


def _outputs(cell: CellId) -> tuple[list[Path], list[Path]]:
    """Files that training and evaluation of a cell write; Snakemake counts its timing among them."""
    checkpoint, folder = Layout.checkpoint(cell), Layout.cell(cell)
    timing = [Path("results/timing", stage, cell.path + ".tsv") for stage in ("train", "evaluate")]
    return (
        [checkpoint / "model.safetensors", checkpoint / "train.json", Layout.origin(cell), timing[0]],
        [folder / "ranks.parquet", folder / "history.csv", folder / "cell.json", timing[1]],
    )


def _superseded(spec: Spec, record: Record) -> bool:
    """Whether the checkpoint that lies here is current, too, but not the one that a record is of.

    A record from git is of another, once the cell was trained anew on this machine: the numbers agree, the weights need
    not, bit by bit, and what learns from the cell or ranks by it states which weights it took.
    """
    if record.outcome.status != "ok" or record.weights_sha == current_weights_sha(spec.cell):
        return False
    try:
        check_checkpoint(spec)
        check_prior(spec)
    except RsitrError:
        return False  # left over from an earlier state of the project
    return read_report(spec.cell).outcome.status == "ok"


def run_cell_stage(stage: str, spec: Spec) -> Outcome:
    """Train or evaluate a cell in a process of its own and return how it ended.

    A stage whose products agree with the present code, parameters and data is not repeated, whatever file times say: a
    canonical table that was rebuilt and came out the same costs no training.
    """
    if finished := _finished(stage, spec):
        return finished
    if stage == "train":
        if spec.teacher:
            read_report(spec.teacher.cell)
        forget_origin(spec.cell)
        if failure := prior_failure(spec):
            _record_outcome(spec, failure)
            note_origin(spec)
            return failure
        begin_with_prior(spec)
    else:
        check_checkpoint(spec)
        check_prior(spec)
    killed = run_stage(stage, spec, write_spec(spec))
    if killed and stage == "train":
        _record_outcome(spec, killed)
    elif killed and run_stage(stage, spec, write_spec(spec), killed):
        # An older record may still lie there; taking it for this run's would certify it.
        raise RsitrError(f"{spec.cell.path}: {killed.reason}, and so was the process that had to record it")
    if stage == "train":
        note_prior(spec)
        note_origin(spec)
        return read_report(spec.cell).outcome
    record = read_record(Layout.cell(spec.cell) / "cell.json")
    assert record is not None
    return record.outcome


def _finished(stage: str, spec: Spec) -> Outcome | None:
    """How a cell ended well, when all that a stage writes is there and current; its files become the newest."""
    record = read_record(Layout.cell(spec.cell) / "cell.json")
    if record is None or record.outcome.status != "ok" or stale_parts(spec):
        return None
    if stage == "evaluate" and _superseded(spec, record):
        return None
    trained, evaluated = _outputs(spec.cell)
    products = [path for path in (trained if stage == "train" else evaluated) if path.suffix != ".tsv"]
    if not all(path.is_file() for path in products):
        return None
    for path in products:
        os.utime(path)
    return record.outcome


def read_report(cell: CellId) -> TrainReport:
    """How training of a cell ended; raises ``RsitrError`` when it has not been trained."""
    path = Layout.checkpoint(cell) / "train.json"
    if not path.is_file():
        raise RsitrError(f"{cell.path} has not been trained: run `rsitr train {cell.path}` first")
    return read_json(TrainReport, path)


def check_checkpoint(spec: Spec) -> None:
    """Raise ``RsitrError`` unless a cell was trained by the present code, with the present parameters and data."""
    check_origin(spec, read_report(spec.cell), current_data_sha(spec))


def trained(params: Params, cell: CellId) -> Spec:
    """The spec of a cell that was trained; raises ``RsitrError`` where it was not, or ended without weights."""
    check_cell(params, cell)
    outcome = read_report(cell).outcome
    if outcome.status != "ok":
        raise RsitrError(f"{cell.path} has no trained model: it {outcome.status} ({outcome.reason})")
    return spec_of(params, cell)


def _record_outcome(spec: Spec, outcome: Outcome) -> None:
    from safetensors.numpy import save_file

    folder = Layout.checkpoint(spec.cell)
    folder.mkdir(parents=True, exist_ok=True)
    save_file({}, folder / "model.safetensors", metadata={"cell": spec.cell.path})
    write_json(folder / "train.json", TrainReport(outcome=outcome))


def status(params: Params, experiment: str) -> list[tuple[CellId, str, str]]:
    """The expected matrix: (cell, state, reason); a state is ok, skipped, failed or missing, perhaps with ``stale``."""
    rows = []
    for cell in params.cells(experiment):
        record = read_record(Layout.cell(cell) / "cell.json")
        if record is None:
            rows.append((cell, "missing", "not run yet"))
            continue
        stale = stale_parts(spec_of(params, cell))
        note = f"made by other {' and '.join(stale)}" if stale else ""
        reason = "; ".join(part for part in (record.outcome.reason, note) if part)
        rows.append((cell, record.outcome.status + (" stale" if stale else ""), reason))
    return rows


def forget(params: Params, experiment: str, states: set[str]) -> list[CellId]:
    """Delete the records of all cells, priors and two-stage retrievals that ended in one of ``states``.

    The next run makes them anew. What a failed training saved to continue from is kept, and so is a checkpoint whose
    evaluation failed.
    """
    forget_priors(params, experiment, states)
    forget_two_stages(params.two_stages(experiment), states)
    chosen = [cell for cell, state, _ in status(params, experiment) if state.split()[0] in states]
    for cell in chosen:
        trained, evaluated = _outputs(cell)
        usable = all(path.is_file() for path in trained) and read_report(cell).outcome.status == "ok"
        for path in evaluated if usable else trained + evaluated:
            path.unlink(missing_ok=True)
    return chosen


def snakemake(targets: list[str], experiment: str, cores: int) -> int:
    """Run Snakemake for some targets of an experiment; returns its exit status."""
    command = [sys.executable, "-m", "snakemake", "--cores", str(cores), "--config", f"experiment={experiment}"]
    return subprocess.run([*command, "--", *targets]).returncode


def scenes_of_priors(params: Params) -> dict[str, list[str]]:
    """Address of every prior, ``scenes://EXPERIMENT/NAME`` -> the datasets whose scenes it learns."""
    return {
        f"{SCENES}://{experiment}/{name}": prior.datasets
        for experiment, facts in params.experiments.items()
        for name, prior in facts.priors.items()
    }


def summary(rows: list[tuple[CellId, str, str]]) -> str:
    """One line: how many cells are in which state."""
    counts = Counter(state for _, state, _ in rows)
    return ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
