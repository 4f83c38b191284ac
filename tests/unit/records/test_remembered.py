"""What follows from the sources is found out once, and a cache never gives another answer."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rsitr.records import identity, remembered
from rsitr.records.code import PACKAGE, Sources
from rsitr.records.identity import code_sha
from rsitr.records.remembered import cache_file

ENTRIES = ("rsitr.retrieval.recall.ceiling",)


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., list[str]]]:
    """``ask(*keys)`` as a process of its own asks; the answers counted on from ``answer-0``."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found: list[str] = []

    def find() -> str:
        found.append(f"answer-{len(found)}")
        return found[-1]

    def process(*keys: str, digest: str = "d" * 64) -> list[str]:
        remembered._known.cache_clear()
        return [remembered.remembered("code", digest, key, find) for key in keys]

    yield process
    remembered._known.cache_clear()


def test_processes_share_what_they_found(ask):
    assert ask("a", "b", "a") == ["answer-0", "answer-1", "answer-0"]
    assert ask("b", "c", "a") == ["answer-1", "answer-2", "answer-0"]
    assert ask("a", digest="e" * 64) == ["answer-3"]


def test_a_line_that_is_not_whole_is_found_out_again(ask):
    ask("a", "b")
    path = cache_file("code", "d" * 64, ".txt")
    first, second = path.read_text(encoding="utf-8").splitlines()
    path.write_bytes(f"{first.replace('answer-0', 'answer-7')}\n{second[:-3]}".encode() + b"\xff")
    assert ask("a") == ["answer-2"]  # its line follows the cut one directly, and is lost with it
    assert ask("a", "b") == ["answer-3", "answer-4"]
    assert ask("a", "b") == ["answer-3", "answer-4"]


def test_a_cache_that_cannot_be_written_costs_time_alone(ask, tmp_path):
    (tmp_path / "rsitr").write_text("a file", encoding="utf-8")
    assert ask("a", "a") == ["answer-0", "answer-0"]
    assert ask("a") == ["answer-1"]


def test_what_nobody_used_for_a_month_goes(ask):
    ask("a")
    ask("a", digest="e" * 64)
    old, recent = (cache_file("code", letter * 64, ".txt") for letter in "de")
    other = cache_file("methods", "d" * 64, ".json")
    other.write_text("{}", encoding="utf-8")
    month_ago = time.time() - 31 * 86_400
    for path in (old, other):
        os.utime(path, (month_ago, month_ago))
    ask("a", digest="f" * 64)
    assert (old.exists(), recent.exists(), other.exists()) == (False, True, True)


def test_an_identity_is_remembered_for_the_sources_and_the_versions(ask, monkeypatch):
    ask("a")
    reads = []
    reach = Sources.reach
    monkeypatch.setattr(Sources, "reach", lambda self, *entries: reads.append(entries) or reach(self, *entries))
    plain = code_sha.__wrapped__

    def sha() -> str:
        remembered._known.cache_clear()
        return plain(ENTRIES, Sources(PACKAGE), None)

    first = sha()
    assert (sha(), len(reads)) == (first, 1)
    monkeypatch.setattr(identity, "installed", lambda package: "0.1")
    assert sha() != first
    assert len(reads) == 2


def test_the_digest_covers_every_file_and_its_place(tmp_path):
    def digest(**files: str) -> str:
        folder = tmp_path / str(len(list(tmp_path.iterdir()))) / "toy"
        for name, text in files.items():
            path = folder / name.replace("_", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_suffix(".csv" if "table" in name else ".py").write_text(text, encoding="utf-8")
        return Sources(folder).digest

    found = [digest(a="1", table="2"), digest(a="1", table="3"), digest(a="2", table="2"), digest(b_a="1", table="2")]
    assert len(set(found)) == 4
    assert digest(a="1", table="2") == found[0]
