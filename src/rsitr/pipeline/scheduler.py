"""Keeping Snakemake's scheduler calm. The only place that reaches into Snakemake."""

from __future__ import annotations

import threading
from typing import Any


def one_round_at_a_time() -> None:
    """Let Snakemake plan anew once a second at most.

    It has a timer set after every round of planning, and a round made after every job that ends, so that each job adds
    a round a second for good: a third of a core, and a solver's process each time, after 60 jobs of Snakemake 9
    (snakemake/snakemake#3744). Other versions, where there is nothing to change, are left alone.
    """
    try:
        from snakemake.scheduling.job_scheduler import JobScheduler
    except ImportError:
        return
    if hasattr(JobScheduler, "_schedule_reevalutation"):
        JobScheduler._schedule_reevalutation = _set_one_timer


def _set_one_timer(self: Any, delay: float) -> None:
    if getattr(self, "_one_timer", None) is None:
        self._one_timer = threading.Timer(delay, _begin_round, [self])
        self._one_timer.start()


def _begin_round(self: Any) -> None:
    # The round may set the next timer before this one has ended.
    self._one_timer = None
    self._open_jobs.release()
