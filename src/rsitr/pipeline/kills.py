"""How a replay kills what it runs and lets it continue: training inside an epoch, an evaluation between two blocks."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from rsitr.stages.small import Killed

KILLED_AT = 3
"""The step of a training that does not come back from its first run."""

Trace = list[tuple[str, str]]
"""What a replay has seen, in order: of what it is, and the text or hash of its bits."""


def spoil(folder: Path) -> None:
    """Begin a training with nothing but a damaged state to continue from."""
    shutil.rmtree(folder, ignore_errors=True)  # left by a replay that was killed
    folder.mkdir(parents=True)
    (folder / "resume.pt").write_bytes(bytes(range(256)))


@contextmanager
def recorded(trainer: Any, trace: Trace) -> Iterator[None]:
    """Save after every step, write down every loss, and kill the first run in the middle of an epoch."""
    from rsitr.stages import steps

    step, count = trainer.train_step, 0

    def noted(self: Any, *arguments: Any) -> float:
        nonlocal count
        count += 1
        if count == KILLED_AT:
            raise Killed
        loss = step(self, *arguments)
        trace.append(("loss", float(loss).hex()))
        return loss

    with patch.object(steps, "SAVE_SECONDS", -1), patch.object(trainer, "train_step", noted):
        yield


@contextmanager
def killed_while_scoring(scoring: Any) -> Iterator[None]:
    """Keep scores after every block, and kill an evaluation that does when it has kept some for the first time."""
    write, died = scoring.Kept.write, False

    def killed(self: Any, *arguments: Any) -> None:
        nonlocal died
        write(self, *arguments)
        if not died:
            died = True
            raise Killed

    with patch.object(scoring, "KEEP_SECONDS", -1), patch.object(scoring.Kept, "write", killed):
        yield


def twice(run: Callable[[], Any]) -> Any:
    """Run until it is killed, then run again, which has to continue."""
    try:
        return run()
    except Killed:
        return run()
