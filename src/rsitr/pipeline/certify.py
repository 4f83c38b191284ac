"""``rsitr certify BASE``: which records stay current after a change of code, shown by differential replay.

Both trees are checked out and replay one cell of every configuration whose code has changed, on the same slice of real
data, in the same environment on the same machine (``rsitr.pipeline.replay``). Where every number agrees bit for bit, a
certificate connects the old identity with the new one. It is refused where the replay cannot know: BASE replayed twice
differs from itself, a changed statement did not run in any replay, a constant or a limit has another value.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from rsitr.errors import RsitrError
from rsitr.pipeline.judging import RUNS, Changes, Judge, Verdict
from rsitr.pipeline.process import PATIENCE, THREAD_VARIABLES
from rsitr.progress import Progress
from rsitr.records.certificates import Certificate, Ledger
from rsitr.records.code import Sources
from rsitr.records.files import write_json
from rsitr.records.identity import LOCK, PACKAGES, installed, locked
from rsitr.records.provenance import sha256_json

PLACE = Path(".rsitr/certify")
REPLAYS = ("src/rsitr/pipeline/replay.py", "src/rsitr/stages/replay.py")
"""Where a tree has its replay; the second of the first commit that had one."""
WATCHED = ("src", "params.yaml", "requirements.lock")


class Tree(NamedTuple):
    """A commit that is checked out."""

    commit: str
    folder: Path

    @property
    def module(self) -> str:
        """The module of its replay."""
        path = next(path for path in REPLAYS if (self.folder / path).is_file())
        return path.removeprefix("src/").removesuffix(".py").replace("/", ".")


def git(*arguments: str) -> str:
    """What a git command prints; raises ``RsitrError`` with what it complains of."""
    result = subprocess.run(["git", *arguments], capture_output=True, text=True)
    if result.returncode:
        raise RsitrError(f"git {' '.join(arguments)}: {result.stderr.strip()}")
    return result.stdout.strip()


def commit_of(name: str) -> str:
    """The commit that a name stands for."""
    try:
        return git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
    except RsitrError:
        raise RsitrError(f"{name} is not a commit: name one as git does, e.g. HEAD~3") from None


def require_committed() -> None:
    """Raise ``RsitrError`` for uncommitted changes of what a certificate is about."""
    if dirty := git("status", "--porcelain", "--", *WATCHED):
        raise RsitrError(f"there are uncommitted changes, and a certificate is about commits:\n{dirty}")


def checked_out(commit: str) -> Tree:
    """A commit in a folder of its own."""
    folder = PLACE / "trees" / commit[:12]
    if not (folder / "src").is_dir():
        git("worktree", "prune")
        git("worktree", "add", "--detach", "--force", str(folder), commit)
    if git("-C", str(folder), "status", "--porcelain", "--", *WATCHED):
        raise RsitrError(f"{folder} has been edited: remove it with `git worktree remove --force {folder}`")
    if not any((folder / path).is_file() for path in REPLAYS):
        raise RsitrError(f"{commit[:12]} has no sources that can be replayed: name a later commit, in a clone of rsitr")
    return Tree(commit, folder.resolve())


def check_libraries(base: Tree, head: Tree) -> None:
    """Raise ``RsitrError`` unless both trees compute with the libraries that are installed here."""
    old, new = locked(base.folder / LOCK), locked(head.folder / LOCK)
    changed = [f"{name} {old.get(name)} -> {new.get(name)}" for name in PACKAGES if old.get(name) != new.get(name)]
    if changed:
        raise RsitrError(
            f"requirements.lock has changed ({', '.join(changed)}): one environment cannot replay both trees, so the "
            "records have to be computed again"
        )
    here = [
        f"{name} {installed(name) or 'not installed'} instead of {new[name]}"
        for name in PACKAGES
        if name in new and new[name] != installed(name)  # what both locks leave out, neither tree computes with
    ]
    if here:
        raise RsitrError(f"the libraries here are not those of requirements.lock ({', '.join(here)}): run `make env`")


class Certification:
    """The replays of two trees and what they show."""

    def __init__(
        self, base: str, experiment: str, workers: int = 2, only: Sequence[str] = (), also: Sequence[str] = ()
    ):
        """``only`` names items to certify; all of the experiment where there are none. ``also`` names others to replay.

        A changed statement has to run in any replay, and ``only`` may leave out the one that runs it.

        Raises ``RsitrError`` for a base that is not a commit or older than certificates, a tree with uncommitted
        changes, and libraries that are not those of both lock files.
        """
        require_committed()
        self.trees = checked_out(commit_of(base)), checked_out(commit_of("HEAD"))
        self.base, self.head = self.trees
        check_libraries(self.base, self.head)
        self.experiment, self.workers, self.only, self.also = experiment, workers, only, also
        self.root = Path.cwd()
        self.place = PLACE / f"{self.base.commit[:12]}-{self.head.commit[:12]}"
        self.ledger = Ledger.read()
        for problem in self.ledger.problems:
            print(problem, file=sys.stderr)

    # What is to be replayed

    @cached_property
    def plans(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Items by name, with the identities of their code, of both trees."""
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        running = [self._start(run, "plan", "plan", self.experiment, **pipes) for run in ("base", "head")]
        found = []
        for tree, process in zip(self.trees, running, strict=True):
            out, error = process.communicate()
            if process.returncode:
                raise RsitrError(f"{tree.commit[:12]} cannot say what it has to replay:\n{error.decode()[-2000:]}")
            found.append({item["name"]: item for item in json.loads(out)})
        return found[0], found[1]

    @cached_property
    def wanted(self) -> dict[str, list[str]]:
        """Items of both trees whose code has changed -> the parts that no certificate connects yet."""
        old, new = self.plans
        found = {}
        for name in (name for name in new if name in old and (not self.only or name in self.only)):
            before, after, of = old[name]["identities"], new[name]["identities"], new[name]["configuration"]
            both = [part for part in after if part in before]
            found[name] = [part for part in both if not self.ledger.connects(part, before[part], after[part], of)]
        return {name: parts for name, parts in found.items() if parts}

    # Replaying

    def _folder(self, run: str, group: str) -> Path:
        """A folder in which a run of a group of items takes place, with the parameters of its tree."""
        folder = self.place / run / group
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("params.yaml", "requirements.lock"):
            (folder / name).write_bytes((self.trees[RUNS[run]].folder / name).read_bytes())
        return folder

    def _start(self, run: str, group: str, *arguments: str, **streams: Any) -> subprocess.Popen[bytes]:
        """Let the replay of a tree work in the folder of a group."""
        tree, threads = self.trees[RUNS[run]], dict.fromkeys(THREAD_VARIABLES, "1")
        environment = os.environ | PATIENCE | threads | {"PYTHONPATH": str(tree.folder / "src")}
        command = [sys.executable, "-m", tree.module, *arguments]
        return subprocess.Popen(command, cwd=self._folder(run, group), env=environment, **streams)

    def _requests(self) -> Iterator[tuple[str, str, list[str]]]:
        """(run, group, items): the items of a dataset in a run are replayed by one process."""
        groups: dict[str, list[str]] = {}
        others = (name for name in self.also if all(name in plan for plan in self.plans))
        for name in dict.fromkeys([*self.wanted, *others]):
            kind, _, rest = name.partition("/")
            groups.setdefault(rest.split("/")[1] if kind not in ("scenes", "pretraining") else kind, []).append(name)
        for group, items in sorted(groups.items(), key=lambda pair: -len(pair[1])):
            yield from ((run, group, items) for run in RUNS)

    @cached_property
    def changes(self) -> Changes:
        """What differs between both trees in the code of what is wanted."""
        base, head = (Sources(tree.folder / "src" / "rsitr") for tree in self.trees)
        return Changes(self.plans, self.wanted, (base, head))

    def replay(self) -> None:
        """Replay everything that has not been replayed yet, a few processes at a time."""
        todo, results = [], []
        for run, group, items in self._requests():
            folder, side = self._folder(run, group), RUNS[run]
            request = {
                "experiment": self.experiment,
                "items": items,
                "root": str(self.root),
                "out": "out",
                "watched": self.changes.watched(side),
                "constants": self.changes.constants(side),
            }
            write_json(folder / "request.json", request)
            own = [_result(folder, name) for name in items]
            results += own
            # An earlier request, perhaps for other items, may not have asked for the constants of this one.
            if not all(map(Path.is_file, own)) or not {*self.changes.constants(side)} <= {*_read(_result(folder))}:
                todo.append((run, group))
        running: list[tuple[subprocess.Popen[bytes], Path]] = []
        broken: list[Path] = []
        with Progress("replay", len(results), sum(map(Path.is_file, results))) as progress:
            while todo or running:
                while todo and len(running) < self.workers:
                    run, group = todo.pop(0)
                    path = self.place / run / group / "log"
                    with path.open("ab") as log:
                        process = self._start(run, group, "run", "request.json", stdout=log, stderr=log)
                    running.append((process, path))
                time.sleep(1)
                done = sum(map(Path.is_file, results))
                if done > progress.done:
                    progress.advance(steps=done - progress.done)
                broken += [path for process, path in running if process.poll()]
                running = [(process, path) for process, path in running if process.poll() is None]
        if broken:
            raise RsitrError(f"a replay ended early: see {', '.join(map(str, broken))}; run again")

    # Judging

    @cached_property
    def results(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Run -> item -> what its replay wrote."""
        found: dict[str, dict[str, dict[str, Any]]] = {run: {} for run in RUNS}
        for run, group, items in self._requests():
            for name in items:
                if result := _read(_result(self.place / run / group, name)):
                    found[run][name] = result
        return found

    @cached_property
    def values(self) -> tuple[dict[str, str], dict[str, str]]:
        """What the changed constants are, of both trees, without what differs by place."""
        found: tuple[dict[str, str], dict[str, str]] = ({}, {})
        for run, group, _ in self._requests():
            place = str(self.trees[RUNS[run]].folder)
            for name, text in _read(_result(self.place / run / group)).items():
                found[RUNS[run]][name] = re.sub(r" at 0x[0-9a-f]+", "", text.replace(place, ""))
        return found

    def judge(self) -> list[Verdict]:
        """What the replays show of every item that was wanted."""
        return Judge(self.changes, self.results, self.values).verdicts()

    # Certificates

    def certificates(self, verdicts: Iterable[Verdict]) -> Iterator[Certificate]:
        """One for each part of each item that was certified."""
        old, new = self.plans
        for name in (verdict.name for verdict in verdicts if verdict.state == "certified"):
            evidence = sha256_json(self.results["head"][name]["trace"])[:32]
            for part in self.wanted[name]:
                before, after = old[name]["identities"][part], new[name]["identities"][part]
                of, commits = new[name]["configuration"], (self.base.commit, self.head.commit)
                yield Certificate("replay", part, of, before, after, *commits, evidence)

    def certify(self) -> tuple[list[Verdict], int]:
        """Replay, judge and write certificates; returns the verdicts and how many certificates are new."""
        if not self.wanted:
            return [], 0
        self.replay()
        verdicts = self.judge()
        return verdicts, self.ledger.add(self.certificates(verdicts))


def _result(folder: Path, name: str = "values") -> Path:
    """What the replay of an item writes; by default the file of all constants."""
    return folder / "out" / f"{name.replace('/', '+')}.json"


def _read(path: Path) -> dict[str, Any]:
    """What a replay wrote; empty where it has not."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
