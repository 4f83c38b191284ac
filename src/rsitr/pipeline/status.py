"""What of an experiment is there, what is stale, and forgetting what is to be computed again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from rsitr.errors import StaleRecord
from rsitr.params import Params
from rsitr.pipeline.freshness import Present
from rsitr.pipeline.seals import broken
from rsitr.pipeline.specs import artefacts
from rsitr.records.artefact import ArtefactSpec
from rsitr.records.cell import Spec, read_report
from rsitr.records.provenance import memory_gib


class Row(NamedTuple):
    """An artefact and how it stands."""

    spec: ArtefactSpec
    state: str
    """ok, skipped, failed or missing, perhaps with ``stale`` or ``damaged``."""
    reason: str


def machine_memory_mb() -> int:
    """Memory in MB that cells may share: nine tenths of the machine's."""
    return int(memory_gib() * 1024 * 0.9)


def status(specs: Iterable[ArtefactSpec]) -> list[Row]:
    """How each artefact stands."""
    present = Present()
    return [_row(spec, present) for spec in specs]


def _row(spec: ArtefactSpec, present: Present) -> Row:
    record = present.record(spec)
    if record is None:
        return Row(spec, "missing", present.damaged.get(spec.item, "not run yet"))
    stale = present.stale(spec)
    notes = [f"made by other {' and '.join(stale)}"] if stale else []
    if changed := broken(spec):
        notes.append(f"{changed[0]} is not what the last run here wrote: see `rsitr verify`")
    state = record.outcome.status + (" stale" if stale else "") + (" damaged" if changed else "")
    return Row(spec, state, "; ".join(filter(None, [record.outcome.reason, *notes])))


def status_of(params: Params, experiment: str) -> list[Row]:
    """How each artefact of an experiment stands, in the order of ``artefacts``, cells as in the matrix."""
    place = {cell: number for number, cell in enumerate(params.cells(experiment))}
    rows = status(artefacts(params, experiment))
    return sorted(rows, key=lambda row: place.get(row.spec.cell, 0) if isinstance(row.spec, Spec) else 0)


def refuse(params: Params, experiment: str) -> None:
    """Raise ``StaleRecord`` when anything is stale, failed or missing; skipped is an answer."""
    rows = status(spec for spec in artefacts(params, experiment) if spec.kind != "peder")
    wrong = [row for row in rows if row.state not in ("ok", "skipped")]
    if wrong:
        from rsitr.tables.layout import command

        lines = "\n".join(f"  {row.spec.path}: {row.state}{f' ({row.reason})' if row.reason else ''}" for row in wrong)
        raise StaleRecord(
            f"{len(wrong)} of {len(rows)} results of {experiment} are not of the present code, parameters and data:\n"
            f"{lines}\nRun `{command(experiment)}`, `rsitr retry --failed` for failed ones, or leave out strict"
        )


def summary(rows: Iterable[Row]) -> str:
    """One line: how many artefacts are in which state."""
    counts = Counter(row.state for row in rows)
    return ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))


def forget(params: Params, experiment: str, states: set[str]) -> list[ArtefactSpec]:
    """Delete the records of all artefacts that ended in one of ``states``, so that the next run makes them again.

    What a failed training saved to continue from is kept, and so is a checkpoint whose evaluation failed.
    """
    chosen = [row.spec for row in status(artefacts(params, experiment)) if row.state.split()[0] in states]
    for spec in chosen:
        outputs = spec.outputs
        if isinstance(spec, Spec):
            report = read_report(spec.cell)
            usable = report and report.outcome.status == "ok" and all(map(Path.is_file, spec.trained_outputs))
            outputs = spec.scored_outputs if usable else spec.outputs
        for path in outputs:
            path.unlink(missing_ok=True)
    return chosen
