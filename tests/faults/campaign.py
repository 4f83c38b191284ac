"""The campaign of faults: ``make faults``, or ``python -m tests.faults.campaign``.

Each row is a fault at a stage, tried several times at seeded moments: the command runs with the fault, then once more
without it, and every file that was computed is held against the reference, byte for byte but for times. Rows are
written as they are done, and a campaign that was stopped continues. ``--short`` is what ``make test`` runs.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from tests.faults import forks, project
from tests.faults.forks import Armed, Ended, Running
from tests.faults.kinds import BEGINNINGS, FAULTS, Fault
from tests.faults.project import STAGES, WHOLE, Stage
from tests.helpers.warm import ROOT, offline

COLUMNS = ("fault", "stage", "tries", "expected", "seen", "verdict")
OUT = ROOT / "results/benchmarks/faults.csv"
CLASSES = 5
"""Of the scenes that are drawn: 50 pictures."""
ONLY_ONCE = ("data/similarity/", "data/keywords/")
"""What a whole run does not make, and a stage does."""
CHAIN = 20
"""Kills of a whole run until it may end, or fewer where it comes to its end."""
SHORT = {
    "kill at a file operation": ("canonical", "train", "evaluate", "tables"),
    "disk full from a file operation on": ("clean", "train"),
    "data has too little room": ("clean",),
    "spaces and quotes in the path": ("train",),
    "two runs at once": ("evaluate",),
    "closed pipe": ("keywords",),
    "planted: files are written in place": ("clean",),
    "planted: unfinished files stay": ("evaluate",),
}
"""What takes half a minute, a try each but for planted defects."""
SHORTEST = ("fetch", "canonical", "clean", "keywords", "train", "evaluate", "tables")
"""The stages that these need."""


class Row(NamedTuple):
    """A line of the table."""

    fault: str
    stage: str
    tries: int
    expected: str
    seen: str
    verdict: str


class Bench:
    """The reference, and a folder next to it in which every try begins."""

    def __init__(self, work: Path, seed: int, short: bool = False):
        """``short``: the reference has what the stages of ``SHORT`` need, and no more."""
        from rsitr.pipeline.process import environment

        self.work, self.seed = work, seed
        self.reference = work / "reference"
        self.environment = environment(1) | offline()
        self.known: dict[str, Ended] = {}
        self.digests: dict[tuple[str, int, int], str] = {}
        self._make(short)
        self._read_sources()
        self.wanted = self.products(self.reference)
        self.wanted_whole = {name: sha for name, sha in self.wanted.items() if not name.startswith(ONLY_ONCE)}

    def _make(self, short: bool) -> None:
        if (self.reference / "done").is_file():
            return
        shutil.rmtree(self.reference, ignore_errors=True)
        project.lay_out_tiny(self.reference)
        named = {stage.name: stage for stage in (*STAGES, WHOLE)}
        for name in SHORTEST if short else (WHOLE.name, "keywords", "similarity"):
            ended = self.run(named[name].command, self.reference)
            if ended.status:
                raise RuntimeError(f"{name} ends with {ended.status} without any fault: {ended.said[-3000:]}")
        if broken := project.failed(self.reference):
            raise RuntimeError(f"without any fault, these fail: {', '.join(sorted(broken))}")
        (self.reference / "done").touch()

    def _read_sources(self) -> None:
        """What every command reads of the sources and the libraries is read once, for all forks."""
        from rsitr.pipeline.specs import artefacts, open_params

        os.chdir(self.reference)
        params = open_params(project.params() | {"experiment": "tiny"})
        assert [*artefacts(params, "tiny")]
        os.chdir(ROOT)

    def start(self, command: tuple[str, ...], folder: Path, out: str = "out", **how: object) -> Running:
        listeners = command[0] == "snakemake" or any(stage.artefact for stage in STAGES if stage.command == command)
        return Running(command, folder, self.work / out, self.environment, listeners=listeners, **how)  # type: ignore[arg-type]

    def run(self, command: tuple[str, ...], folder: Path) -> Ended:
        ended = self.start(command, folder).wait()
        assert ended
        return ended

    def products(self, folder: Path) -> dict[str, str]:
        """Those of a folder; a file of the same name, size and time of change as one seen before has its digest."""
        return project.products(folder, self.digests)

    def usual(self, stage: Stage) -> Ended:
        """How a stage ends without a fault: how long it takes, and how many operations on files it has."""
        if stage.name not in self.known:
            folder = self.work / "project"
            project.copy_without(self.reference, folder, stage)
            self.known[stage.name] = self.run(stage.command, folder)
        return self.known[stage.name]

    # A try

    def row(self, fault: Fault, stage: Stage, tries: int) -> Row:
        """Try a fault at a stage, until a try shows a defect."""
        if not fault.planted:
            return self._row(fault, stage, tries)
        with fault.planted():
            found = self._row(fault, stage, tries)
        if found.verdict == "ok":
            return found._replace(verdict="the defect was not found")
        return found._replace(seen=f"found in {found.verdict}", verdict="ok")

    def _row(self, fault: Fault, stage: Stage, tries: int) -> Row:
        seen: Counter[str] = Counter()
        for number in range(tries):
            rng = random.Random(f"{self.seed} {fault.name} {stage.name} {number}")
            one_by_one = stage is WHOLE and fault.signals
            found, defect = self.killed_again(rng, number) if one_by_one else self.one(fault, stage, rng, number)
            seen[found] += 1
            if defect:
                return self._said(fault, stage, number + 1, seen, f"try {number}: {defect}")
        return self._said(fault, stage, tries, seen, "ok")

    @staticmethod
    def _said(fault: Fault, stage: Stage, tries: int, seen: Counter[str], verdict: str) -> Row:
        summary = ", ".join(f"{count} x {what}" for what, count in sorted(seen.items()))
        return Row(fault.name, stage.name, tries, fault.expected, summary, " ".join(verdict.split())[:400])

    def one(self, fault: Fault, stage: Stage, rng: random.Random, number: int) -> tuple[str, str]:
        """What was seen in a try, and the defect; empty for none."""
        folder, wanted = self.work / fault.folder, self.wanted_whole if stage is WHOLE else self.wanted
        keep = (stage.rewrites and bool(number % 2)) or (fault.name.startswith("shuffled") and stage is WHOLE)
        usual = self.usual(stage)
        project.copy_without(self.reference, folder, stage, keep)
        before = self.products(folder)
        with fault.around(folder, stage, rng):
            ended = self._with_fault(fault, stage, folder, rng, usual)
        defects = self._after(fault, stage, folder, ended, before, wanted)
        seen = _how(ended, folder, {name for name in self.products(folder) if name not in before.keys() | wanted})
        if not defects and (fault.ends != "well" or ended.status):
            defects = self.once_more(stage, folder, wanted)
        if not defects and fault.shared_cache:
            defects = _differences(wanted, self.products(self.work / "other"))
        return seen, "; ".join(defects)

    def _with_fault(self, fault: Fault, stage: Stage, folder: Path, rng: random.Random, usual: Ended) -> Ended:
        armed = Armed(rng.choice(fault.actions), rng.randint(1, max(usual.operations, 1))) if fault.actions else None
        command = _with_cores(stage.command, fault.cores)
        running = self.start(command, folder, armed=armed, child=lambda: fault.child(rng))
        second = None
        if fault.twice:
            there = folder
            if fault.shared_cache:
                there = self.work / "other"
                project.copy_without(self.reference, there, stage)
                shutil.rmtree(there / "cache", ignore_errors=True)
                (folder / "cache").mkdir(exist_ok=True)
                (there / "cache").symlink_to(folder / "cache")
            time.sleep(rng.uniform(0, 0.3) * usual.seconds)
            second = self.start(command, there, "out2")
        for number in fault.signals:
            if running.wait(running.began + rng.uniform(0, 1) * usual.seconds) is None:
                running.signal(number, everybody=rng.random() < 0.5)
        ended = running.wait()
        if second:
            other = second.wait()
            assert ended
            assert other
            ended = other if other.status or other.left else ended
        assert ended
        return ended

    def _after(
        self,
        fault: Fault,
        stage: Stage,
        folder: Path,
        ended: Ended,
        before: dict[str, str],
        wanted: dict[str, str],
    ) -> list[str]:
        """Defects right after the command that had the fault."""
        if ended.left:
            return ["processes of it did not end"]
        if ended.status == forks.ENDLESS:
            return [f"it did not end within {forks.LONGEST:.0f} s"]
        after = self.products(folder)
        if ended.status == 0:
            said_failed = project.failed(folder)
            if fault.ends == "well" or not said_failed:
                return _differences(wanted, after)
        elif fault.ends == "well":
            return [f"it ends with {ended.status}: {_last(ended.said)}"]
        elif fault.ends == "told" and stage is not WHOLE:
            if "Traceback" in ended.said:
                return [f"a traceback: {_last(ended.said)}"]
            if ended.status > 0 and fault.said and not any(words in ended.said for words in fault.said):
                return [f"its message does not name the cause: {_last(ended.said)}"]
        return [*neither_old_nor_new(folder, stage, before, after, wanted)]

    def once_more(self, stage: Stage, folder: Path, wanted: dict[str, str]) -> list[str]:
        """Defects after the next run, which has no fault."""
        command = stage.command
        an_hour_passes(folder)
        if stage is WHOLE:
            self.run(("snakemake", "--unlock"), folder)
            command = (*command, "--rerun-incomplete")
        ended = self.run(command, folder)
        if ended.status:
            return [f"the next run ends with {ended.status}: {_last(ended.said)}"]
        return _differences(wanted, self.products(folder)) or _leftovers(folder)

    def killed_again(self, rng: random.Random, number: int) -> tuple[str, str]:
        """A whole run is killed, and goes on where it stopped; one in ``CHAIN`` may then end."""
        folder, usual = self.work / "chain", self.usual(WHOLE).seconds
        if number % CHAIN == 0:
            shutil.rmtree(folder, ignore_errors=True)
            project.lay_out_tiny(folder)
        before = self.products(folder)
        while True:
            running = self.start((*WHOLE.command, "--rerun-incomplete", "--nolock"), folder)
            ended = running.wait(running.began + rng.uniform(0.02, 0.12) * usual)
            if ended is None:
                break
            # It came to its end before the kill did.
            if ended.status or (defects := _differences(self.wanted_whole, self.products(folder))):
                return _how(ended, folder), "; ".join(defects) if ended.status == 0 else _last(ended.said)
            shutil.rmtree(folder)
            project.lay_out_tiny(folder)
            before = self.products(folder)
        # All of it, as by a scheduler: a job that outlives Snakemake would start processes that draw all pictures.
        running.signal(signal.SIGKILL)
        ended = running.wait()
        assert ended
        after = self.products(folder)
        defects = ["processes of it did not end"] if ended.left else []
        defects += neither_old_nor_new(folder, WHOLE, before, after, self.wanted_whole)
        if not defects and number % CHAIN == CHAIN - 1:
            defects = self.once_more(WHOLE, folder, self.wanted_whole)
        return _how(ended, folder), "; ".join(defects)


def neither_old_nor_new(
    folder: Path, stage: Stage, before: dict[str, str], after: dict[str, str], wanted: dict[str, str]
) -> Iterator[str]:
    """Files that are not as they were, nor as they should become; files that are gone and are no part of the stage."""
    broken = project.failed(folder)
    for name, sha in after.items():
        ours = (
            name in wanted
            and not name.startswith(project.STATES)
            and not any(name.startswith(f"{place}/") for place in broken)
        )
        tables = stage is WHOLE and name.startswith(("results/tables/", "results/site/"))
        if ours and not tables and sha not in (wanted[name], before.get(name)):
            yield f"{name} is neither the old file nor the new one"
    made = {path.relative_to(folder).as_posix() for pattern in stage.makes for path in folder.glob(pattern)}
    for name in before.keys() - after.keys():
        if not any(
            name == place or name.startswith(f"{place}/") or Path(name).match(place) for place in (*stage.makes, *made)
        ):
            yield f"{name} is gone"


def _differences(wanted: dict[str, str], found: dict[str, str]) -> list[str]:
    """Files that are not there, differ, or should not be there."""
    absent = [f"{name} is not there" for name in sorted(wanted.keys() - found.keys())]
    others = [f"{name} differs" for name in sorted(wanted.keys() & found.keys()) if wanted[name] != found[name]]
    extra = [f"{name} is left over" for name in sorted(found.keys() - wanted.keys()) if not _may_stay(name)]
    return [*absent, *others, *extra][:4]


def an_hour_passes(folder: Path) -> None:
    """For what killed processes were writing: a run removes what nobody has touched for so long."""
    from rsitr.pipeline.litter import UNTOUCHED

    long_ago = time.time() - 2 * UNTOUCHED
    for path in folder.rglob(".*.part"):
        os.utime(path, (long_ago, long_ago))


def _may_stay(name: str) -> bool:
    """Whether the next run may leave a file that is no product: an unfinished one that belongs to no artefact."""
    of_artefact = name.startswith("checkpoints/") or bool(re.match(r"results/(?!tables/|site/)", name))
    return name.startswith(ONLY_ONCE) or (_unfinished(name) and not of_artefact)


def _leftovers(folder: Path) -> list[str]:
    """Files of unfinished writes where nothing else is looked for."""
    return [f"{path.relative_to(folder)} is left over" for path in (folder / ".rsitr").rglob("*.part")][:2]


def _how(ended: Ended, folder: Path, left: Collection[str] = ()) -> str:
    """How a command ended, and what it left that is no product."""
    if ended.status < 0:
        how = f"killed by {signal.Signals(-ended.status).name}"
    elif ended.status == 0:
        how = "recorded as failed" if project.failed(folder) else "ended well"
    else:
        how = "ended with a message" if ended.said.strip() else "ended without a word"
    return how + (" (unfinished files left)" if any(map(_unfinished, left)) else "")


def _unfinished(name: str) -> bool:
    """Whether a file was being written, or is in a folder that was. No reader takes it for a product."""
    return any(part.startswith(".") for part in name.split("/"))


def _last(said: str) -> str:
    lines = [line for line in said.strip().splitlines() if line.strip()]
    return " / ".join(lines[-3:])[-300:] or "nothing was said"


def _with_cores(command: tuple[str, ...], cores: int) -> tuple[str, ...]:
    return tuple(str(cores) if part == "2" else part for part in command)


# The table


def planned(short: bool, only: str) -> list[tuple[Fault, Stage, int]]:
    """The rows: fault, stage and how many tries."""
    rows = [(fault, stage, fault.tries) for fault in FAULTS for stage in STAGES if fault.tries and fault.stages(stage)]
    rows += [(fault, WHOLE, fault.whole) for fault in FAULTS if fault.whole and fault.stages(WHOLE)]
    if short:
        chosen = [row for row in rows if row[1].name in SHORT.get(row[0].name, ())]
        rows = [(fault, stage, tries if fault.planted else 1) for fault, stage, tries in chosen]
    return [row for row in rows if re.search(only, f"{row[0].name} x {row[1].name}")]


def work_through(rows: Iterable[tuple[Fault, Stage, int]], bench: Bench, journal: Path) -> None:
    """Try what the journal does not have yet, and write down each row as it is done."""
    rows = [*rows]
    done = {(row.fault, row.stage) for row in read(journal)}
    rows = [row for row in rows if (row[0].name, row[1].name) not in done]
    total, began, tried = sum(tries for *_, tries in rows), time.monotonic(), 0
    for fault, stage, tries in rows:
        if lacks := fault.lacks():
            row = Row(fault.name, stage.name, 0, fault.expected, lacks, "not tried")
        else:
            row = bench.row(fault, stage, tries)
        with journal.open("a", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerow(row)
        tried += tries
        each = (time.monotonic() - began) / max(tried, 1)
        left = each * (total - tried) / 60
        print(f"{tried}/{total} {row.fault} x {row.stage}: {row.seen}: {row.verdict} ({left:.0f} min left)", flush=True)


def read(path: Path) -> list[Row]:
    """The rows of a journal, but for a last line that a kill has cut."""
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8")
    path.write_text(text[: text.rfind("\n") + 1], encoding="utf-8")
    with path.open(encoding="utf-8", newline="") as file:
        return [Row(fault, stage, int(tries), *rest) for fault, stage, tries, *rest in csv.reader(file)]


def worker(options: argparse.Namespace) -> None:
    """The rows whose processes begin alike, in this process and its forks."""
    forks.prepare()
    forks.adopt_orphans()
    few_pictures()
    rows = [row for row in planned(options.short, options.only) if row[0].beginning == options.worker]
    work_through(rows, Bench(options.work, options.seed, options.short), options.work / "journal.csv")


def few_pictures() -> None:
    """Let all forks draw few of the pictures."""
    from rsitr.datasets import scenes

    scenes.CLASSES = scenes.CLASSES[:CLASSES]


def main(arguments: list[str]) -> int:
    """The whole table, in a process for each way to begin; returns 1 where a verdict is a defect."""
    options = parse(arguments)
    options.work.mkdir(parents=True, exist_ok=True)
    if options.worker:
        worker(options)
        return 0
    rows = planned(options.short, options.only)
    for beginning in BEGINNINGS:
        if any(fault.beginning == beginning for fault, *_ in rows):
            command = [sys.executable, "-m", "tests.faults.campaign", *arguments, "--work", str(options.work)]
            environment = BEGINNINGS[beginning](dict(os.environ))
            subprocess.run([*command, "--worker", beginning], cwd=ROOT, env=environment, check=True)
    order = {(fault.name, stage.name): place for place, (fault, stage, _) in enumerate(rows)}
    found = sorted(read(options.work / "journal.csv"), key=lambda row: order[row.fault, row.stage])
    with options.out.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *found])
    wrong = [row for row in found if row.verdict not in ("ok", "not tried")]
    for row in wrong:
        print(f"{row.fault} x {row.stage}: {row.verdict}")
    print(f"{options.out}: {len(found)} rows, {sum(row.tries for row in found)} tries, {len(wrong)} not ok")
    shutil.rmtree(options.work)
    return int(bool(wrong))


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.campaign")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--short", action="store_true", help="Half a minute of it.")
    parser.add_argument("--only", default="", help="Rows in whose `FAULT x STAGE` this pattern is found.")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--work", type=Path, help="A campaign continues in the folder that it was in.")
    parser.add_argument("--worker", choices=[*BEGINNINGS], help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    memory = Path("/dev/shm")
    base = memory if os.access(memory, os.W_OK) else Path(tempfile.gettempdir())
    options.work = options.work or base / f"rsitr-faults-{os.getuid()}" / f"{options.seed}{'-short' * options.short}"
    return options


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
