"""What Snakemake cannot be told in a Snakefile. The only place that reaches into it."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any


def one_round_at_a_time() -> None:
    """Let Snakemake re-plan at most once a second.

    It sets a timer after every round of planning, and runs a round after every job that ends, so each job permanently
    adds a round per second: after 60 jobs of Snakemake 9, a third of a core and a solver process each time
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
    # The round may set the next timer before it has ended.
    self._one_timer = None
    self._open_jobs.release()


def force(files: Iterable[str]) -> None:
    """Let every job run that makes one of some files, where it is part of the graph.

    `--forcerun` does the same, but makes targets of the files, whatever was asked for. Raises ``RuntimeError`` for a
    version of Snakemake in which this has no place.
    """
    from snakemake.dag import DAG

    forced, begin = set(files), DAG.__init__

    def begin_forced(self: Any, *arguments: Any, **options: Any) -> None:
        begin(self, *arguments, **options)
        if not isinstance(getattr(self, "forcefiles", None), set):
            raise RuntimeError("this version of Snakemake cannot be told which results are outdated: use 9.27")
        self.forcefiles.update(forced)

    DAG.__init__ = begin_forced


LINKS = (
    'mkdir -p "$RSITR_HOME/results" "$RSITR_HOME/data"; '
    "for each in params.yaml requirements.lock results/certificates.csv data/raw; do "
    '[ -L "$RSITR_HOME/$each" ] || ln -s "$PWD/$each" "$RSITR_HOME/$each" 2> /dev/null || [ -L "$RSITR_HOME/$each" ]; '
    "done; "
)
"""What gives the folder of a job what the workflow's own has: of two jobs at once, either may be the first."""


def local_copies(workflow: Any) -> str:
    """The folder of the local copies of a storage's files, in which they have the places that the rules say."""
    prefix = workflow.storage_settings.default_storage_prefix or ""
    query = f"{prefix.rstrip('/')}/params.yaml" if prefix else "params.yaml"
    return str(workflow.storage_registry.default_storage_provider.object(query).local_path().parent)
