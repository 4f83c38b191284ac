"""``torchrun --nproc-per-node 2 -m rsitr.pretraining SPEC``: every process that torchrun starts runs this."""

from __future__ import annotations

import sys
from pathlib import Path

from rsitr.errors import RsitrError
from rsitr.pretraining.loop import pretrain
from rsitr.pretraining.spec import load_spec

if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: torchrun --nproc-per-node 2 -m rsitr.pretraining SPEC")
    try:
        pretrain(load_spec(Path(sys.argv[1])))
    except (RsitrError, OSError) as error:
        sys.exit(f"rsitr: {error}")
