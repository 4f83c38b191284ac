"""``rsitr`` and ``python -m rsitr``: the command line."""

from __future__ import annotations

import os
import sys

from rsitr.stages.warm import COMMANDS, Forked, wait


def main(arguments: list[str]) -> None:
    """Run a command in this process."""
    from rsitr.cli import app

    app(arguments, prog_name="rsitr")


def command() -> None:
    """Run the command of this process, in a fork where Snakemake has begun it: only its jobs state their threads."""
    try:
        fork = Forked(COMMANDS, os.environ.get("OMP_NUM_THREADS", ""), sys.argv[1:], os.environ)
    except OSError:
        main(sys.argv[1:])
    else:
        status = wait(fork)
        sys.exit(status if status >= 0 else 128 - status)


if __name__ == "__main__":
    command()
