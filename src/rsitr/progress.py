"""Progress of long work: a bar on a terminal, an occasional line in a log file."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

LOG_SECONDS = 20


def by_reason(counts: Mapping[str, int]) -> str:
    """What was left out: ``2 x missing image, 1 x flat``, the most frequent first; empty for nothing."""
    ordered = sorted(counts.items(), key=lambda each: -each[1])
    return ", ".join(f"{count:,} x {reason}" for reason, count in ordered)


class Progress:
    """Counts steps of a known total and shows the rate and the time left; safe to use in a log file."""

    def __init__(self, title: str, total: int, done: int = 0):
        self.title, self.total, self.done = title, total, done
        self._started = self._logged = time.monotonic()
        self._first = done
        self._bar: Bar | None = None
        if sys.stderr.isatty():
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
            times = (TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("{task.fields[note]}"))
            self._bar = Bar(*columns, *times, console=Console(stderr=True))
            self._task = self._bar.add_task(title, total=total, completed=done, note="")

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def advance(self, note: str = "", steps: int = 1) -> None:
        """One more step, or several; ``note`` is shown next to the count."""
        self.done += steps
        if self._bar:
            self._bar.update(self._task, completed=self.done, note=note)
        elif time.monotonic() - self._logged >= LOG_SECONDS or self.done == self.total:
            self._logged = time.monotonic()
            each = (self._logged - self._started) / (self.done - self._first)
            left = each * (self.total - self.done)
            print(
                f"{self.title} {self.done}/{self.total} {note} {each:.3f} s/step, {left / 60:.1f} min left",
                file=sys.stderr,
                flush=True,
            )

    def say(self, text: str) -> None:
        """Print a line without breaking the bar."""
        if self._bar:
            self._bar.console.print(text, highlight=False)
        else:
            print(text, file=sys.stderr, flush=True)
