"""What the rehearsal of an artefact found: one JSON file each."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from rsitr.records.artefact import Outcome


class Course(BaseModel):
    """What decides how many steps a real training takes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: int
    """The most there may be."""
    max_steps: int | None = None
    """The most steps there may be, where that is stated instead."""
    batch_size: int
    samples: str
    """``captions`` or ``images``: what an epoch passes over."""


class Rehearsed(BaseModel):
    """Of one artefact. Times in seconds, memory in MiB."""

    model_config = ConfigDict(extra="forbid")

    item: str
    key: str = ""
    """Identity of its settings and of all code that took part."""
    outcome: Outcome = Outcome()
    """``skipped`` is what could not be rehearsed, with the reason."""
    parameters: int | None = None
    peak_memory_mib: int | None = None
    """Of training and evaluation, with batches of ``batch`` samples."""
    seconds: float = 0.0
    """Of its whole process."""
    batch: int | None = None
    """Samples of a rehearsed step."""
    step_seconds: float | None = None
    """Of a rehearsed training step, without reading the images; the median, the first left out."""
    course: Course | None = None
    """Of the real training; None where there is none."""

    @property
    def place(self) -> str:
        """File, line and function of an error, of this package as far as the traceback shows it; empty without one."""
        lines = [line.strip() for line in self.outcome.traceback.splitlines() if line.strip().startswith('File "')]
        own = [line for line in lines if line.startswith('File "rsitr')]
        return (own or lines or [""])[-1].removeprefix("File ")
