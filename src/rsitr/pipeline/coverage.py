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
        self._of: dict[CodeType, set[int] | None] = {}

    def _lines(self, code: CodeType) -> set[int] | None:
        """The set that a function's lines go to, or None for a function without a watched line."""
        if code not in self._of:
            spans = self.watched.get(code.co_filename, [])
            own = {line for _, _, line in code.co_lines() if line}
            found = any(first <= line <= last for first, last in spans for line in own)
            self._of[code] = self.ran[code.co_filename] if found else None
        return self._of[code]

    def _call(self, frame: FrameType, event: str, argument: object) -> Callable[..., Any] | None:
        lines = self._lines(frame.f_code)
        if lines is None:
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
