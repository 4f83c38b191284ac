"""``rsitr`` and ``python -m rsitr``: the command line."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from rsitr.stages.warm import COMMANDS, STAGES, Forked, wait

WITH_TORCH = ("dedup", "pairs")
"""A command that needs torch, which takes longer to import than most comparisons take."""


def main(arguments: list[str]) -> None:
    """Run a command in this process."""
    from rsitr.cli import app

    app(arguments, prog_name="rsitr")


def command() -> None:
    """Run the command of this process, in a fork where Snakemake has begun it: only its jobs state their threads."""
    arguments, threads = sys.argv[1:], os.environ.get("OMP_NUM_THREADS", "")
    libraries = (STAGES, COMMANDS) if (*arguments[:2],) == WITH_TORCH else (COMMANDS,)
    for program in libraries:
        with suppress(OSError):
            fork = Forked(COMMANDS, threads, arguments, os.environ, program)
            break
    else:
        main(arguments)
        return
    status = wait(fork)
    sys.exit(status if status >= 0 else 128 - status)


if __name__ == "__main__":
    command()
