"""``rsitr pretrain``: contrastive pre-training on webdataset shards."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rsitr.cli.reported import reported


@reported
def pretrain(
    spec: Annotated[Path, typer.Argument(help="A YAML file (rsitr.pretraining.spec says what is in it).")],
) -> None:
    """Pre-train a CLIP model on webdataset shards in one process; continues a run that was interrupted.

    On several GPUs: torchrun --nproc-per-node N -m rsitr.pretraining SPEC
    """
    from rsitr.pretraining.loop import pretrain as run
    from rsitr.pretraining.spec import load_spec

    wanted = load_spec(spec)
    record = run(wanted)
    left_out = ", ".join(f"{count} x {problem}" for problem, count in record.skipped.items())
    print(
        f"{wanted.out}: {record.steps} steps, loss {record.history[-1].loss:.4f}, "
        f"{record.samples_per_second:.1f} samples/s" + (f", left out: {left_out}" if left_out else "")
    )
