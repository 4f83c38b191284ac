"""The process of `steps.py` that trains: ``steps_worker.py DATASET/METHOD [last phase]``, questions on standard input.

``train N`` answers with the seconds of the next N steps, ``count 1`` with the floating-point operations of one, and
``multiply 0`` with the rate of a product of matrices. It runs in the tree of an earlier commit, too, and uses nothing
that only the present one has.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from rsitr.dedup.clean import write_clean
from rsitr.params import load_params
from rsitr.pipeline.specs import find, open_params
from rsitr.stages import train
from rsitr.stages.setup import build_method, device_of, load_data

SIDE = 2048
"""Of the matrices that are multiplied."""


def trainer_of(item: str, last: bool) -> train.Trainer:
    """The training of a cell of `laptop` with seed 0, at its beginning or at that of its last phase."""
    params = open_params(load_params().model_dump() | {"experiment": "laptop"})
    spec: Any = find(params, f"cells/laptop/{item}/0")
    if not spec.clean.is_file():
        write_clean(spec.clean_id, listed=False)
    data = load_data(spec)
    device = device_of(spec)
    trainer = train.Trainer(build_method(spec, data), data, spec, device, Path(tempfile.mkdtemp(), "state.pt"), {})
    if last:
        epoch = trainer.epochs - trainer.config.course[-1].epochs
        trainer.start_phase(epoch)
        trainer.step = epoch * trainer.steps_per_epoch
    return trainer


def batches_of(trainer: train.Trainer) -> Iterator[tuple[np.ndarray, Tensor]]:
    """Captions and images of one batch after another, epoch after epoch."""
    for epoch in range(trainer.step // trainer.steps_per_epoch, 10**6):
        train.train_what_learns(trainer.method)
        batches = train.sample_order(trainer.train, trainer.config, trainer.seed, epoch)
        yield from zip(
            batches, trainer.inputs.batches([trainer.train.image_of[batch] for batch in batches], epoch), strict=True
        )


def main() -> None:
    """Answer until nobody asks."""
    trainer = trainer_of(sys.argv[1], sys.argv[2] != "")
    batches = batches_of(trainer)
    first = trainer.step

    def step() -> float:
        begun = time.process_time()
        trainer.train_step(*next(batches))
        trainer.step = first  # so that the schedule does not end
        return time.process_time() - begun

    matrix = torch.randn(SIDE, SIDE)
    for line in sys.stdin:
        question, number = line.split()
        if question == "train":
            answer: Any = [step() for _ in range(int(number))]
        elif question == "count":
            with FlopCounterMode(display=False) as counter:
                step()
            answer = counter.get_total_flops()
        else:
            begun = time.process_time()
            matrix @ matrix
            answer = 2 * SIDE**3 / (time.process_time() - begun)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
