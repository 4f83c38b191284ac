"""Which lines of the package run while something is replayed."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from rsitr.records.code import PACKAGE


class Coverage:
    """Which of some watched lines run, in any thread."""

    def __init__(self, watched: dict[str, list[list[int]]]):
        """``watched``: file of the package -> [first, last] line of each statement that is to be watched."""
        self.watched = {str(PACKAGE / name): spans for name, spans in watched.items()}
        self.ran: dict[str, set[int]] = {name: set() for name in self.watched}
        self._of: dict[str, dict[CodeType, set[int] | None]] = {name: {} for name in self.watched}

    def _lines(self, code: CodeType) -> set[int] | None:
        """The set that the lines of a function in a watched file go to, or None where no line of it is watched."""
        known = self._of[code.co_filename]
        if code not in known:
            own = {line for _, _, line in code.co_lines() if line}
            found = any(first <= line <= last for first, last in self.watched[code.co_filename] for line in own)
            known[code] = self.ran[code.co_filename] if found else None
        return known[code]

    def _call(self, frame: FrameType, event: str, argument: object) -> Callable[..., Any] | None:
        # Most calls are of libraries. Only the others are looked up: Python hashes all of a function each time.
        if frame.f_code.co_filename not in self.watched or (lines := self._lines(frame.f_code)) is None:
            return None

        def line(frame: FrameType, event: str, argument: object) -> Callable[..., Any]:
            lines.add(frame.f_lineno)
            return line

        return line(frame, event, argument)

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Watch while a block runs."""
        if not self.watched:
            yield
            return
        threading.settrace(self._call)
        sys.settrace(self._call)
        try:
            yield
        finally:
            sys.settrace(None)
            threading.settrace(None)  # type: ignore[arg-type]

    def seen(self) -> dict[str, list[list[int]]]:
        """The watched spans of which a line has run, by file of the package."""
        return {
            Path(name).relative_to(PACKAGE).as_posix(): [
                span for span in spans if any(span[0] <= line <= span[1] for line in self.ran[name])
            ]
            for name, spans in self.watched.items()
        }
