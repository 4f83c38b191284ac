"""``rsitr repeat ITEM``: compute a cell or a tuning again, whole, and certify that it comes out the same.

A replay (``rsitr.pipeline.certify``) refuses where it cannot know, for example where a changed statement acts on
nothing that a slice of the data has. One seed, computed again by the present code, then stands for the others of its
configuration: where weights, ranks and course are those of its record, bit for bit, a certificate connects the code of
the record with the present one. Of a tuning the last trial is run again, and what the sampler draws for all others.

Nothing in ``results`` is touched: the repetition has a folder of its own, and continues there when it was interrupted.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rsitr.errors import ParamsError, RsitrError
from rsitr.params import Params
from rsitr.pipeline.certify import PLACE, commit_of, git, require_committed
from rsitr.pipeline.freshness import NAMES, Present
from rsitr.pipeline.specs import find
from rsitr.records.artefact import ArtefactRecord, ArtefactSpec
from rsitr.records.cell import Record, Spec, TuningSpec
from rsitr.records.certificates import Certificate, Ledger
from rsitr.records.files import read_json, write_json
from rsitr.records.paths import Paths
from rsitr.records.provenance import sha256_file, sha256_json
from rsitr.records.tuning import TuningRecord

FOLDER = PLACE / "repeated"
SHARED = ("params.yaml", "requirements.lock", "data", "cache", "results/certificates.csv")
"""What a repetition reads from the project."""
MAY_DIFFER = {"identities", "machine", "seconds", "peak_memory_mib", "versions", "role", "edges"}
"""Fields of a record that are of its run alone, or follow from others; tables have the present role and edges."""
FILES = ("ranks.parquet", "top.parquet", "history.csv")
"""Next to the record of a cell, what has to be the same as far as it is here."""


class Repetition:
    """A cell or a tuning that is computed again."""

    def __init__(self, params: Params, item: str):
        """Raises ``ParamsError`` for what is not one, and ``RsitrError`` for uncommitted changes.

        Raises ``RsitrError``, too, unless there is a record of a good end, since which code alone has changed.
        """
        spec = find(params, item)
        if not isinstance(spec, Spec | TuningSpec):
            raise ParamsError(f"{item} is not a cell or a tuning: name one, as cells/demo/scenes-a/vse/0")
        require_committed()
        self.spec, self.present = spec, Present()
        record = self.present.record(spec)
        if record is None or record.outcome.status != "ok":
            raise RsitrError(f"{item} has no record that a repetition could be held against: run `{spec.command}`")
        self.record = record
        self.base = git("log", "-1", "--format=%H", "--", str(spec.record_file))
        if not self.base:
            raise RsitrError(f"{spec.record_file} is not in git, and a certificate is about commits: commit it")
        if others := [what for what in self.present.stale(spec) if what not in NAMES.values()]:
            raise RsitrError(
                f"{item} is of other {' and '.join(others)}, not of other code alone: run `{spec.command}`"
            )
        self.folder = FOLDER / spec.item

    @property
    def changed(self) -> list[str]:
        """The parts of its identity that no certificate connects with the present ones."""
        expected, of, ledger = self.spec.identities, self.spec.configuration, self.present.ledger
        own = self.record.identities
        return [part for part, sha in own.items() if not ledger.connects(part, sha, expected[part], of)]

    def run(self) -> None:
        """Compute it again, or go on with that. Raises ``RsitrError`` where it fails."""
        for name in SHARED:
            _link(Path(name), self.folder)
        for path in _read_by(self.spec):
            _link(path, self.folder)
        if isinstance(self.spec, TuningSpec):
            self._keep_trials(self.spec)
        own = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
        if subprocess.run([sys.executable, "-m", "rsitr", "run", self.spec.item], cwd=self.folder, env=own).returncode:
            raise RsitrError(f"{self.spec.item} failed when it was computed again in {self.folder}")

    def _keep_trials(self, spec: TuningSpec) -> None:
        """Let all trials but the last be those of the record; raises ``RsitrError`` where others would be drawn now."""
        from rsitr.stages.tune import Study  # torch

        class Drawing(Study):
            """What a study would try next."""

            def __init__(self, record: TuningRecord):
                self.spec, self.record, self.space = spec, record, dict(sorted(spec.space.items()))

        assert isinstance(self.record, TuningRecord)
        trials = self.record.trials
        for number, trial in enumerate(trials):
            drawn = Drawing(self.record.model_copy(update={"trials": trials[:number]})).settings(number)
            if drawn != trial.settings:
                raise RsitrError(f"trial {number} of {spec.item} would be {drawn} now, and was {trial.settings}")
        kept = self.folder / Paths.trials(spec.id) / "trials.json"
        found = read_json(TuningRecord, kept, sealed=True) if kept.is_file() else None
        if found is None or found.identities != spec.identities:
            begun = self.record.model_copy(update={"trials": trials[:-1], "identities": spec.identities})
            write_json(kept, begun.model_copy(update={"best": {}, "edges": [], "weights_sha": ""}), sealed=True)

    def difference(self) -> str:
        """The first thing that came out otherwise than the record has it; empty where nothing did."""
        again = type(self.record).read(self.folder / self.spec.record_file)
        if again is None:
            return "there is no record"
        here, there = (each.machine.get("cpu") for each in (again, self.record))
        other = "" if here == there else f" (the record is of another processor, {there})"
        found = _facts(again)
        for name, value in _facts(self.record).items():
            if found.get(name) != value:  # one that failed has fewer trials
                return f"{name}: {_short(value)} became {_short(found.get(name))}{other}"
        if isinstance(self.record, Record):
            for path in filter(Path.is_file, map(self.spec.record_file.with_name, FILES)):
                if path.read_bytes() != (self.folder / path).read_bytes():
                    return f"{path.name} is another{other}"
        return ""

    def certify(self) -> int:
        """Add the certificates; returns how many."""
        old, new, of = self.record.identities, self.spec.identities, self.spec.configuration
        evidence = self.base, commit_of("HEAD"), sha256_file(self.folder / self.spec.record_file)
        rows = [Certificate("repetition", part, of, old[part], new[part], *evidence) for part in self.changed]
        added = Ledger.read().add(rows)
        shutil.rmtree(self.folder)
        return added


def _link(path: Path, folder: Path) -> None:
    """Let a folder have what the project has at a place."""
    link = folder / path
    if path.exists() and not link.exists():
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path.resolve(), target_is_directory=path.is_dir())


def _read_by(spec: ArtefactSpec) -> Iterator[Path]:
    """The files of everything that an artefact rests on."""
    for other in spec.rests_on.values():
        yield from other.outputs
        yield from _read_by(other)


def _facts(record: ArtefactRecord) -> dict[str, Any]:
    """What a record says but for how long it took and where; of trials, each by itself."""
    found = record.model_dump(mode="json", exclude=MAY_DIFFER)
    for trial in found.pop("trials", ()):
        found |= {f"{name} of trial {trial['number']}": value for name, value in trial.items() if name != "seconds"}
    return found


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:60]}... ({sha256_json(value)[:8]})"
