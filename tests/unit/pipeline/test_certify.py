"""`rsitr certify` on a small git repository: real replays of real cells, on generated scenes.

The slow part of a certification is three replays, so that each one here is about several independent edits, which show
in different cells. Its processes are started as they are in tests/workflow/test_certificates.py, and here forked.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rsitr.errors import RsitrError
from rsitr.params import load_params
from rsitr.params.ids import CellId
from rsitr.pipeline import certify
from rsitr.pipeline.certify import PLACE, Certification, Tree, check_libraries
from rsitr.pipeline.freshness import Present
from rsitr.pipeline.judging import Verdict
from rsitr.pipeline.specs import spec_of
from rsitr.records.artefact import PARAMETERS
from rsitr.records.cell import Record
from rsitr.records.certificates import FILE, Certificate, Ledger
from rsitr.records.files import write_json
from rsitr.records.identity import locked
from rsitr.records.paths import Paths
from tests.helpers.project_copy import ROOT, TINY, Project, copy_sources
from tests.helpers.warm_replays import warm_replays

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
"""A replay takes ten seconds on a free core, and minutes on one that several processes share."""

DEFAULTS = {"attention_dropout": 0.2}
# Cells of VSE that differ from its own in what reaches them: a default is not theirs, or they are trained otherwise.
VARIANTS: dict[str, dict[str, Any]] = {
    "vse@linear": DEFAULTS,
    "vse@adam": DEFAULTS | {"optimizer": "adam", "schedule": "step"},
    "vse@cosine": DEFAULTS | {"schedule": "cosine"},
    "vse@noisy": DEFAULTS | {"heads": 1},
}
METHODS = ("chance", "vse", "vse++", *VARIANTS)
CHANCE, VSE, VSEPP, LINEAR, ADAM, COSINE, NOISY = (f"cells/tiny/scenes-b/{name}/0" for name in METHODS)
ABSENT = "cells/tiny/scenes-a/chance/0"
"""A cell of a dataset that is not here."""

Edit = tuple[str, str, str]
"""File below the package, text, and what takes its place."""

# What is in BASE besides the project as it is: something that acts late, and a cell that differs by itself.
SPECIAL: tuple[Edit, ...] = (
    ("methods/vse.py", "from typing import", "import time\nfrom typing import"),
    (
        "methods/vse.py",
        '        """Eq. 15, or the triplet loss."""\n',
        '        """Eq. 15, or the triplet loss."""\n'
        "        late = 2.0 if batch.epoch > 50 else 1.0\n"
        "        noise = time.perf_counter_ns() % 1000 if self.config.heads == 1 else 0\n",
    ),
    ("methods/vse.py", "contrastive_loss(scores, batch", "contrastive_loss(scores * late, batch"),
    ("methods/vse.py", "return self.total(", "return noise + self.total("),
)

# A helper that is taken out changes the hash, and no number.
TAKEN_OUT: tuple[Edit, ...] = (
    (
        "retrieval/ranks.py",
        "    protocols = [Protocol(image, text, grid, twins, device) for image, text in pairs.protocols]\n    held",
        "    protocols = _protocols(pairs, grid, twins, device)\n    held",
    ),
    (
        "retrieval/ranks.py",
        "class _Direction:",
        "def _protocols(pairs, grid, twins, device):\n"
        "    return [Protocol(image, text, grid, twins, device) for image, text in pairs.protocols]\n\n\n"
        "class _Direction:",
    ),
)


class Lab:
    """A repository with commits to certify, which is the working folder."""

    def __init__(self, project: Project):
        self.project = project

    def git(self, *arguments: str) -> str:
        return self.project.run("git", *arguments).strip()

    def edit(self, file: str, old: str, new: str) -> None:
        self.project.edit(f"src/rsitr/{file}", old, new)

    def commit(self, base: str, *edits: Edit) -> str:
        """A commit of some edits on top of another one, checked out."""
        self.git("checkout", "--quiet", "--detach", base)
        for edit in edits:
            self.edit(*edit)
        return self.commit_all()

    def commit_all(self) -> str:
        """A commit of what was edited."""
        self.git("commit", "--quiet", "--all", "--message", "edit")
        self.share_schemas()
        return self.git("rev-parse", "HEAD")

    def share_schemas(self) -> None:
        """Give a commit the schemas of BASE: to make them takes seconds, and no edit here changes what they allow."""
        known = self.project.schemas()
        if not known.exists():
            shutil.copy2(next(known.parent.glob("methods-*.json")), known)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, schema_cache: dict[str, Any]) -> Iterator[Lab]:
    """The repository, with the data of scenes-b; its first commit is tagged BASE. Slow: it draws the scenes."""
    project = copy_sources(tmp_path_factory.mktemp("repository"))
    shutil.copytree(ROOT / "workflow", project.path / "workflow", dirs_exist_ok=True)
    shutil.copy2(ROOT / "requirements.lock", project.path)
    params: dict[str, Any] = json.loads(json.dumps(TINY))
    params["experiments"]["tiny"]["matrix"] = [
        {"datasets": ["scenes-b"], "methods": list(METHODS), "seeds": [0]},
        {"datasets": ["scenes-a"], "methods": ["chance"], "seeds": [0]},
    ]
    params["experiments"]["tiny"]["settings"]["methods"] = VARIANTS
    project.params(params)
    lab = Lab(project)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project.path)
        for edit in SPECIAL:
            lab.edit(*edit)
        schemas = project.schemas()
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        project.schemas().parent.mkdir()
        shutil.copy2(schemas, project.schemas())
        for command in ("fetch", "build"):
            project.run_warm("rsitr", "data", command, "scenes-b")
        lab.git("init", "--quiet")
        lab.git("add", "--all")
        lab.git("commit", "--quiet", "--message", "BASE")
        lab.git("tag", "BASE")
        warm_replays(patch)
        for name, value in project.environment.items():
            patch.setenv(name, value)
        yield lab


Certified = tuple[dict[str, Verdict], int]


def run(base: str, only: tuple[str, ...]) -> Certified:
    verdicts, added = Certification(base, "tiny", only=only).certify()
    return {verdict.name: verdict for verdict in verdicts}, added


def move_by_protocol(lab: Lab) -> None:
    """Move a function from one module to another that the first one imports from."""
    path = lab.project.path / "src/rsitr/retrieval/ranks.py"
    text = path.read_text(encoding="utf-8")
    start = text.index("def by_protocol(")
    end = text.index("def _twins(")
    path.write_text(text[:start] + text[end:], encoding="utf-8")
    lab.edit(
        "retrieval/ranks.py",
        "import Duplicates, ProtocolRanks, Ranks",
        "import Duplicates, ProtocolRanks, Ranks, by_protocol",
    )
    with (path.parent / "recall.py").open("a", encoding="utf-8") as file:
        file.write("\n\n" + text[start:end].rstrip() + "\n")


# A refactor


@pytest.fixture(scope="module")
def refactored(lab: Lab) -> Certification:
    """A commit that renames, moves, and takes a helper out."""
    lab.git("checkout", "--quiet", "--detach", "BASE")
    move_by_protocol(lab)
    lab.edit("retrieval/ranks.py", "_twins(", "_twins_of(")
    lab.commit_all()
    moved = Certification("BASE", "tiny")
    assert moved.wanted == {}, "what is renamed and moved has the hash that it had"
    for edit in TAKEN_OUT:
        lab.edit(*edit)
    lab.commit_all()
    return Certification("BASE", "tiny", only=[CHANCE, VSE])


def test_a_refactor_keeps_records_current(lab: Lab, refactored: Certification) -> None:
    old, new = refactored.plans
    params = load_params()
    specs = {}
    for name in (CHANCE, VSE):
        _, experiment, dataset, method, seed = name.split("/")
        spec = spec_of(params, CellId(experiment, dataset, method, int(seed)))
        # This process has the sources of the project; the repository has its own.
        code = {part: sha for part, sha in new[name]["identities"].items() if part != PARAMETERS}
        specs[name] = spec.model_copy(update={"code": code})
        before = old[name]["identities"] | {PARAMETERS: spec.params_sha}
        write_json(spec.record_file, Record(**spec.cell._asdict(), identities=before))
        assert specs[name].configuration == new[name]["configuration"]
    for spec in specs.values():
        assert Present().stale(spec) == ["code of evaluation", "code"]
    assert refactored.wanted == {name: ["trained", "scored"] for name in (CHANCE, VSE)}

    refactored.replay()
    verdicts = refactored.judge()

    assert verdicts == [Verdict(name, "certified") for name in (CHANCE, VSE)]
    assert refactored.ledger.add(refactored.certificates(verdicts)) == 4
    for spec in specs.values():
        assert Present().stale(spec) == []
    commits = lab.git("rev-parse", "BASE"), refactored.head.commit
    assert [(row.kind, row.part, row.base, row.head) for row in Ledger.read().rows] == [
        ("replay", part, *commits) for part in ("trained", "scored") * 2
    ]
    again = Certification("BASE", "tiny", only=[CHANCE, VSE])
    again.plans = refactored.plans
    assert again.wanted == {}, "certified once"


def test_a_forged_row_is_named_and_not_used(
    lab: Lab, refactored: Certification, capsys: pytest.CaptureFixture[str]
) -> None:
    """As if somebody had changed what a certificate is about."""
    old, new = refactored.plans
    text = FILE.read_text(encoding="utf-8") if FILE.is_file() else ""
    shas = [each[VSE]["identities"]["scored"] for each in (old, new)]
    row = ["replay", "scored", new[VSE]["configuration"], *shas, "base", "head", "evidence", "0123456789abcdef"]
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(",".join(Certificate._fields) + "\n" + ",".join(row) + "\n", encoding="utf-8")
    try:
        found = Certification("BASE", "tiny", only=[VSE])
        found.plans = refactored.plans
        assert found.wanted == {VSE: ["trained", "scored"]}
        problem = f"{FILE}, line 2 does not agree with its seal: it was edited, and is not used"
        assert found.ledger.problems == [problem]
        assert capsys.readouterr().err == f"{problem}\n"
    finally:
        FILE.write_text(text, encoding="utf-8")


# What a replay shows

OTHERWISE = (CHANCE, VSE, VSEPP, LINEAR, ADAM, COSINE)


@pytest.fixture(scope="module")
def different(lab: Lab) -> tuple[str, Certified]:
    """A commit after which each cell computes something else, some of them late in a real run, and what came of it."""
    head = lab.commit(
        "BASE",
        ("methods/vse.py", "attention_dropout: float = Field(0.2", "attention_dropout: float = Field(0.3"),
        ("nn/losses.py", "    positive = scores.diagonal()\n", "    positive = scores.diagonal() * 0.5\n"),
        ("methods/chance.py", "WIDTH = 64", "WIDTH = 63"),
        ("stages/course.py", "    return 1 - done if", "    return max(1 - done, 0.05) if"),
        (
            "stages/train.py",
            '        self.optimizer.load_state_dict(state["optimizer"])\n',
            '        if self.phase.optimizer != "adam":\n'
            '            self.optimizer.load_state_dict(state["optimizer"])\n',
        ),
        ("retrieval/tiles.py", "slice(t, min(t + block, n_texts))", "slice(max(t - 1, 0), min(t + block, n_texts))"),
    )
    return head, run("BASE", OTHERWISE)


def test_a_changed_default_is_named(different: tuple[str, Certified]) -> None:
    _, (verdicts, added) = different
    assert verdicts[VSE] == Verdict(VSE, "different", "attention_dropout is 0.3 instead of 0.2")
    assert added == 0


@pytest.mark.parametrize(
    ("name", "difference"),
    [
        pytest.param(VSEPP, r"loss 1: \d\.\d+ became \d\.\d+", id="formula"),
        pytest.param(CHANCE, r"encodings 1: [0-9a-f]{60} became [0-9a-f]{60}", id="constant"),
        pytest.param(LINEAR, r"course 1: [0-9a-f]{60} became [0-9a-f]{60}", id="tail of the learning rate"),
        # The third step comes after the interruption: its loss is the same, and that of the fourth is not.
        pytest.param(ADAM, r"loss 4: \d\.\d+ became \d\.\d+", id="resume"),
        pytest.param(COSINE, r"ranks in small tiles 1: [0-9a-f]{60} became [0-9a-f]{60}", id="border of tiles"),
    ],
)
def test_the_first_number_that_differs_is_named(different: tuple[str, Certified], name: str, difference: str) -> None:
    verdict = different[1][0][name]
    assert verdict.state == "different"
    assert re.fullmatch(difference, verdict.reason)


def test_a_killed_certification_continues(lab: Lab, different: tuple[str, Certified]) -> None:
    head, before = different
    lab.git("checkout", "--quiet", "--detach", head)
    [place] = PLACE.glob(f"*-{head[:12]}")
    files = sorted(place.glob("*/scenes-b/out/cells*.json"))
    assert len(files) == 3 * len(OTHERWISE)
    gone = [path for path in files if path.parts[-4] == "head" or path.name.endswith("chance+0.json")]
    gone = [path for path in gone if path.parts[-4] != "again"]
    kept = {path: path.stat().st_mtime_ns for path in files if path not in gone}
    assert len(gone) == len(OTHERWISE) + 1
    for path in gone:
        path.unlink()

    assert run("BASE", OTHERWISE) == before

    assert sorted(place.glob("*/scenes-b/out/cells*.json")) == files
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


# What a replay cannot show


@pytest.fixture(scope="module")
def unknown(lab: Lab) -> Certified:
    """A commit whose changes do not act in a replay, and with it a cell that differs by itself and one without data."""
    lab.commit(
        "BASE",
        ("methods/vse.py", "if batch.epoch > 50", "if batch.epoch > 60"),
        ("stages/alarms.py", "COLLAPSED, COLLAPSED_EPOCHS = 0.999, 3", "COLLAPSED, COLLAPSED_EPOCHS = 0.999, 4"),
        (
            "methods/chance.py",
            "        return F.normalize(",
            "        if len(images) == 10**6:\n            images = images.flip(0)\n        return F.normalize(",
        ),
    )
    return run("BASE", (CHANCE, VSE, VSEPP, NOISY, ABSENT))


def test_nothing_of_this_is_certified(unknown: Certified) -> None:
    verdicts, added = unknown
    assert {verdict.state for verdict in verdicts.values()} == {"refused"}
    assert len(verdicts) == 5
    assert added == 0


def test_a_limit_of_epochs_is_named(unknown: Certified) -> None:
    assert unknown[0][VSE].reason == "trained: a limit changed (50, 60), and may act later than a replay lasts"


def test_a_constant_that_acts_late_is_named(unknown: Certified) -> None:
    reason = "rsitr.stages.alarms.COLLAPSED_EPOCHS has another value, and acts wherever it is used"
    assert unknown[0][VSEPP].reason == f"trained: {reason}"


def test_a_branch_that_never_runs_is_named(unknown: Certified) -> None:
    lines = Path("src/rsitr/methods/chance.py").read_text(encoding="utf-8").splitlines()
    line = lines.index("            images = images.flip(0)") + 1
    assert unknown[0][CHANCE].reason == f"trained: methods/chance.py:{line} of HEAD is changed and did not run"


def test_what_differs_by_itself_is_named(unknown: Certified) -> None:
    reason = unknown[0][NOISY].reason
    assert re.fullmatch(r"two replays of BASE differ by themselves: loss 1: \d+\.\d+ became \d+\.\d+", reason)


def test_data_that_is_not_here_is_named(unknown: Certified) -> None:
    reason = unknown[0][ABSENT].reason
    assert reason.startswith("it cannot be replayed (base): ")
    assert str(Path.cwd() / Paths.dataset("scenes-a")) in reason


# What is refused before anything is replayed


def refused(base: str) -> str:
    with pytest.raises(RsitrError) as error:
        Certification(base, "tiny")
    return str(error.value)


def test_base_has_to_be_a_commit(lab: Lab) -> None:
    lab.git("checkout", "--quiet", "--detach", "BASE")
    assert refused("no-commit") == "no-commit is not a commit: name one as git does, e.g. HEAD~3"
    assert refused("BASE:src") == "BASE:src is not a commit: name one as git does, e.g. HEAD~3"


@pytest.mark.parametrize("name", ["src/rsitr/errors.py", "params.yaml", "requirements.lock", "src/rsitr/new.py"])
def test_changes_have_to_be_committed(lab: Lab, name: str) -> None:
    lab.git("checkout", "--quiet", "--detach", "BASE")
    path = Path(name)
    before = path.read_bytes() if path.is_file() else None
    path.write_bytes((before or b"") + b"# edited\n")
    try:
        reason = refused("BASE")
    finally:
        path.unlink() if before is None else path.write_bytes(before)
    assert reason.startswith("there are uncommitted changes, and a certificate is about commits:\n")
    assert reason.endswith(f" {name}")
    assert reason.count("\n") == 1


def test_base_has_to_have_a_replay(lab: Lab) -> None:
    lab.git("checkout", "--quiet", "--detach", "BASE")
    lab.git("rm", "--quiet", "src/rsitr/pipeline/replay.py")
    lab.git("commit", "--quiet", "--message", "older")
    older = lab.git("rev-parse", "HEAD")
    lab.git("checkout", "--quiet", "--detach", "BASE")
    assert (
        refused(older) == f"{older[:12]} has no sources that can be replayed: name a later commit, in a clone of rsitr"
    )


def test_the_libraries_of_both_trees_have_to_be_those_that_are_here(lab: Lab) -> None:
    version = locked(ROOT / "requirements.lock")["numpy"]
    lab.git("checkout", "--quiet", "--detach", "BASE")
    lock = Path("requirements.lock")
    text = lock.read_text(encoding="utf-8")
    assert f"numpy=={version}" in text
    lock.write_text(text.replace(f"numpy=={version}", "numpy==1.0.1"), encoding="utf-8")
    lab.git("commit", "--quiet", "--all", "--message", "another numpy")
    reason = refused("BASE")
    assert reason.startswith(f"requirements.lock has changed (numpy {version} -> 1.0.1): one environment cannot replay")
    assert refused("HEAD") == (
        f"the libraries here are not those of requirements.lock (numpy {version} instead of 1.0.1): run `make env`"
    )


def test_a_tree_that_was_edited_is_not_replayed(lab: Lab) -> None:
    lab.git("checkout", "--quiet", "--detach", "BASE")
    tree = Certification("BASE", "tiny").head
    path = tree.folder / "src/rsitr/errors.py"
    text = path.read_text(encoding="utf-8")
    path.write_text(text + "# edited\n", encoding="utf-8")
    folder = PLACE / "trees" / tree.commit[:12]
    try:
        assert refused("BASE") == (f"{folder} has been edited: remove it with `git worktree remove --force {folder}`")
    finally:
        path.write_text(text, encoding="utf-8")


def test_an_item_that_is_not_in_both_trees_is_left_out(lab: Lab) -> None:
    lab.git("checkout", "--quiet", "--detach", "BASE")
    found = Certification("BASE", "tiny", only=[VSE])
    item = {"identities": {"scored": "A"}, "configuration": "c", "entries": {}}
    other = item | {"identities": {"scored": "B"}}
    found.plans = ({VSE: item, "old": item, CHANCE: item}, {VSE: other, "new": other, CHANCE: other})
    assert found.wanted == {VSE: ["scored"]}


def test_libraries_that_are_not_those_of_the_lock_file_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One is missing here, one is of another version, one is as it should be; no lock names one that is here."""
    (tmp_path / "requirements.lock").write_text("nltk==1.0\nnumpy==2.0\ntorch==3.0\n", encoding="utf-8")
    here = {"numpy": "2.1", "scipy": "4.0", "torch": "3.0"}
    monkeypatch.setattr(certify, "PACKAGES", ["nltk", "numpy", "scipy", "timm", "torch"])
    monkeypatch.setattr(certify, "installed", lambda name: here.get(name, ""))
    tree = Tree("0" * 40, tmp_path)
    with pytest.raises(RsitrError) as refused:
        check_libraries(tree, tree)
    assert str(refused.value) == (
        "the libraries here are not those of requirements.lock (nltk not installed instead of 1.0, "
        "numpy 2.1 instead of 2.0): run `make env`"
    )
