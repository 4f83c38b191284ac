"""Snakemake's rounds of planning: one timer at a time."""

from __future__ import annotations

import threading

from rsitr.pipeline.scheduler import one_round_at_a_time


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
