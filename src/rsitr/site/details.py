"""The page of a row: its seeds with their records, its settings against the published ones, its tuning."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from rsitr.params.ids import EXTERNAL, TuningId
from rsitr.params.tuning import edges
from rsitr.pipeline.report import Material
from rsitr.pipeline.specs import spec_of
from rsitr.pipeline.tunings import tuning
from rsitr.records.cell import Spec
from rsitr.site.models import Detail, Deviation, Seed
from rsitr.tables.entries import Entry, Run, config_of
from rsitr.tables.tuning import Found

INSTEAD = re.compile(r"([a-z_0-9]+) (.*) instead of (.*)", re.DOTALL)
"""How a record states a setting that has another value than the published one."""


def detail(material: Material, entry: Entry, tuned: Mapping[TuningId, Found]) -> Detail:
    """Everything about a row that the leaderboard leaves out; ``tuned`` has the tunings that can be read."""
    config = config_of(entry)
    return Detail(
        seeds=[_seed(material, run) for run in entry.runs],
        deviations=[deviation(text, config) for text in entry.deviations],
        settings=config,
        tuning=_tuning(material, entry, tuned),
    )


def deviation(text: str, config: dict[str, Any]) -> Deviation:
    """A deviation in its parts, where it is that of a setting."""
    found = INSTEAD.fullmatch(text)
    if found is None or found[1] not in config:
        return Deviation(text=text)
    return Deviation(text=text, setting=found[1], ours=found[2], published=found[3])


def _seed(material: Material, run: Run) -> Seed:
    spec = None if run.cell.experiment == EXTERNAL else spec_of(material.params, run.cell)
    path = run.folder / "cell.json"
    return Seed(
        seed=run.cell.seed,
        status=run.status,
        reason=run.reason,
        stale=run.staleness,
        source=path.as_posix(),
        command=spec.command if spec else "",
        identities=_identities(material, spec, run) if spec else [],
        history=[] if run.damage else run.history,
        record=path.read_text(encoding="utf-8", errors="replace") if path.is_file() else "",
    )


def _identities(material: Material, spec: Spec, run: Run) -> list[dict[str, Any]]:
    """Of each part of the computation the recorded and the present hash, and how the ledger connects them."""
    recorded = run.record.identities if run.record else {}
    found = []
    for part, present in spec.identities.items():
        sha = recorded.get(part, "")
        chain = material.present.ledger.chain(part, sha, present, spec.configuration) if sha else None
        certificates = [each._asdict() for each in chain or ()]
        state = "no record" if not sha else "other" if chain is None else "certified" if chain else "the same"
        found.append({"part": part, "recorded": sha, "present": present, "state": state, "certificates": certificates})
    return found


def _tuning(material: Material, entry: Entry, tuned: Mapping[TuningId, Found]) -> dict[str, Any] | None:
    """The record of the tuning that the row takes its settings from."""
    if not entry.runs or entry.role == EXTERNAL or (wanted := tuning(material.params, entry.runs[0].cell)) is None:
        return None
    found = tuned.get(wanted)
    if found is None or found.record is None:
        return {"place": wanted.path, "reason": found.reason if found else "its record cannot be read"}
    trials = [trial.model_dump(mode="json") for trial in found.record.trials]
    facts = {
        "best": found.record.best,
        "edges": edges(found.record.space, found.record.best),
        "stale": [*found.stale],
        "trials": trials,
    }
    return {"place": wanted.path, "reason": found.reason, **facts}
