"""Identities of code follow what is computed: not its layout, its names or its place, and only what is reached."""

from __future__ import annotations

from pathlib import Path

import pytest

from rsitr.records import identity
from rsitr.records.code import PACKAGE, Sources
from rsitr.records.identity import code_sha, installed, locked
from rsitr.stages.entries import SCORE, TRAIN

FILES = {
    "__init__": "",
    "train": '''
"""Training."""
import math
import numpy
from package.nn import losses
from package.words import WORDS

RATE = 0.1
"""Of every step."""

class Trainer:
    def step(self, batch):
        """One step."""
        total = losses.loss(batch) * RATE
        return total

    def never(self):
        return 1

def run(batch):
    from package.data import load
    print("training")
    if not batch:
        raise ValueError("no batch")
    return Trainer().step(load(batch)), WORDS

def other():
    return losses.unused()
''',
    "nn/__init__": "",
    "nn/losses": "import scipy\ndef loss(batch):\n    return sum(batch)\n\ndef unused():\n    return scipy.nothing()\n",
    "data": "from package.train import RATE\ndef load(batch):\n    return [RATE * part for part in batch]\n",
    "words": 'from pathlib import Path\nWORDS = Path(__file__).with_name("words.txt").read_text()\n',
}
RUN = ("package.train.run",)


def package(folder: Path, edits: dict[str, tuple[str, str]] | None = None, words: str = "a b") -> Sources:
    """A package of a few modules; ``edits`` replace a text in a file by another."""
    folder = folder / "package"
    for name, source in FILES.items():
        old, new = (edits or {}).get(name, ("", ""))
        assert old in source
        path = folder / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source.replace(old, new) if old else source, encoding="utf-8")
    (folder / "words.txt").write_text(words, encoding="utf-8")
    return Sources(folder)


def sha(sources: Sources, entries=RUN) -> str:
    return code_sha(entries, sources, None)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("train", "RATE = 0.1", "RATE = 0.2"),
        ("train", "return total", "return -total"),
        ("train", "if not batch", "if batch"),
        ("train", "raise ValueError", "raise KeyError"),
        ("nn/losses", "return sum(batch)", "return max(batch)"),
        ("data", "RATE * part", "RATE + part"),
        ("data", "RATE * part", "part * RATE"),
    ],
)
def test_what_is_computed_counts(name, old, new, tmp_path):
    assert sha(package(tmp_path / "a")) != sha(package(tmp_path / "b", {name: (old, new)}))


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("train", '"""Training."""', '"""Other words."""'),
        ("train", '"""One step."""', '"""Of a run."""'),
        ("train", '"""Of every step."""', ""),
        ("train", "RATE = 0.1\n", "RATE = 0.1  # why\n"),
        ("train", "losses.loss(batch) * RATE", "(losses.loss(batch)\n            * RATE)"),
        ("train", "total", "value"),
        ("train", "def step(self, batch):", "def step(self, batch: list[int]) -> int:"),
        ("train", '"no batch"', '"there is no batch"'),
        ("train", 'print("training")', 'print("begun")'),
        ("train", 'print("training")', "print(batch)"),
        ("train", "def other():", "def another():"),
        ("train", "return losses.unused()", "return 0"),
        ("train", "        return 1", "        return 2"),  # a method that nothing names
        ("train", "import math\n", ""),
        ("nn/losses", "return scipy.nothing()", "return scipy.something()"),
        ("data", "for part in batch", "for part in (batch)"),
    ],
)
def test_what_computes_nothing_and_what_is_not_reached_does_not_count(name, old, new, tmp_path):
    assert sha(package(tmp_path / "a")) == sha(package(tmp_path / "b", {name: (old, new)}))


def test_files_of_data_count_by_their_content(tmp_path):
    assert sha(package(tmp_path / "a")) != sha(package(tmp_path / "b", words="a b c"))
    losses = ("package.nn.losses.loss",)
    assert sha(package(tmp_path / "a"), losses) == sha(package(tmp_path / "b", words="a b c"), losses)


def test_a_definition_may_move_to_another_module_and_have_another_name(tmp_path):
    before = package(tmp_path / "a")
    after = package(
        tmp_path / "b",
        {"train": ("from package.nn import losses", "from package import sums as losses")},
    )
    text = FILES["nn/losses"]
    (after.package / "sums.py").write_text(text, encoding="utf-8")
    assert sha(before) == sha(after)
    assert sha(before, ("package.nn.losses.loss",)) == sha(after, ("package.sums.loss",))


def test_an_entry_that_does_not_exist_is_an_error(tmp_path):
    with pytest.raises(KeyError, match=r"package\.train\.walk is not in"):
        sha(package(tmp_path), ("package.train.walk",))


def test_libraries_count_where_they_are_reached_by_their_locked_versions(tmp_path):
    sources = package(tmp_path)
    used = ("package.nn.losses.unused",)

    def with_lock(entries, text):
        lock = tmp_path / f"{len(list(tmp_path.iterdir()))}.lock"
        lock.write_text(text, encoding="utf-8")
        return code_sha(entries, sources, lock)

    assert with_lock(used, "scipy==1.0\n") != with_lock(used, "scipy==2.0\n")
    assert with_lock(used, "scipy==1.0\n") == with_lock(used, "scipy==1.0\npandas==3.0\n")
    assert with_lock(RUN, "scipy==1.0\n") == with_lock(RUN, "scipy==2.0\n")


def test_without_a_lock_the_installed_versions_count(tmp_path, monkeypatch):
    sources = package(tmp_path)
    used = ("package.nn.losses.unused",)
    before = code_sha(used, sources, None)
    monkeypatch.setattr(identity, "installed", lambda package: "0.0.1")
    assert code_sha.__wrapped__(used, sources, None) != before
    assert code_sha.__wrapped__(RUN, sources, None) == code_sha(RUN, sources, None)


def test_a_lock_file_is_read_for_this_system(tmp_path):
    lock = tmp_path / "requirements.lock"
    lock.write_text(
        "# made by a tool\n"
        "numpy==2.4.6 \\\n    --hash=sha256:00\n"
        "Open_CLIP-torch==3.3.0\n"
        "colorama==0.4 ; sys_platform == 'no such system'\n"
        "torch==2.15.0 ; python_version >= '3'\n",
        encoding="utf-8",
    )
    assert locked(lock) == {"numpy": "2.4.6", "open-clip-torch": "3.3.0", "torch": "2.15.0"}
    assert locked(tmp_path / "none.lock") == {}


def test_versions_have_no_local_part():
    assert "+" not in installed("torch")
    assert installed("torch").count(".") == 2
    assert installed("no-such-package") == ""


def test_a_cell_depends_on_its_own_method_and_on_no_other():
    sources = Sources()
    reached = {key.module for key in sources.reach([*TRAIN, *SCORE, "rsitr.methods.vse.VSE"])}
    assert {"rsitr.methods.vse", "rsitr.methods.dual_encoder", "rsitr.nn.losses", "rsitr.stages.setup"} <= reached
    assert not {"rsitr.methods.vsepp", "rsitr.methods.clip", "rsitr.datasets.rsicd", "rsitr.cli"} & reached


def test_every_file_of_the_package_can_be_read():
    sources = Sources()
    names = [".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in PACKAGE.rglob("*.py")]
    modules = [name.removesuffix(".__init__") for name in names]
    assert len(sources.reach(modules)) > len(modules)
