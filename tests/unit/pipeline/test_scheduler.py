"""What Snakemake is told besides the Snakefile: one round of planning at a time, and which results are outdated."""

from __future__ import annotations

import threading

import pytest

from rsitr.pipeline.scheduler import force, one_round_at_a_time


class Rounds:
    """Of a scheduler what its timers touch; each of the first rounds asks for ``more`` further ones."""

    def __init__(self, more: int = 0, rounds: int = 1):
        self._open_jobs = self
        self.more, self.left = more, rounds
        self.begun = 0
        self.over = threading.Event()

    def release(self) -> None:
        self.begun += 1
        self.left -= 1
        if self.left == 0:
            self.over.set()
        for _ in range(self.more if self.left > 0 else 0):
            later(self, 0.01)


def later(rounds: Rounds, delay: float) -> None:
    from snakemake.scheduling.job_scheduler import JobScheduler

    one_round_at_a_time()
    JobScheduler._schedule_reevalutation(rounds, delay)


def finish(rounds: Rounds) -> int:
    assert rounds.over.wait(timeout=30)
    for timer in threading.enumerate():
        if isinstance(timer, threading.Timer):
            timer.join()
    return rounds.begun


def test_many_requests_make_one_round() -> None:
    rounds = Rounds()
    for _ in range(5):
        later(rounds, 0.05)
    assert finish(rounds) == 1


def test_rounds_that_ask_for_more_go_on_and_do_not_multiply() -> None:
    rounds = Rounds(more=3, rounds=4)
    later(rounds, 0.01)
    assert finish(rounds) == 4


@pytest.fixture
def dag(monkeypatch: pytest.MonkeyPatch) -> type:
    """Snakemake's graph, of which only its creation is looked at; ``asked`` is what the command line forces."""
    import snakemake.api  # noqa: F401  # its modules import each other, and this is one that may come first
    from snakemake.dag import DAG

    def begin(self, asked: object = None) -> None:
        if asked is not None:
            self.forcefiles = asked

    monkeypatch.setattr(DAG, "__init__", begin)
    return DAG


def test_outdated_results_are_forced_with_those_that_the_command_names(dag: type) -> None:
    force(["b.json", "c.json"])
    assert dag({"a.json"}).forcefiles == {"a.json", "b.json", "c.json"}


def test_another_snakemake_is_refused_instead_of_leaving_results_outdated(dag: type) -> None:
    force(["b.json"])
    for asked in (None, ["a.json"]):
        with pytest.raises(RuntimeError, match="cannot be told which results are outdated"):
            dag(asked)
