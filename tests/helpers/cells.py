"""Cells of the tiny project, trained in this process."""

from __future__ import annotations

from rsitr.params import load_params
from rsitr.params.ids import CellId
from rsitr.pipeline.specs import spec_of
from rsitr.stages.train import train


def train_cell(method: str) -> None:
    """As `rsitr train tiny/scenes-b/METHOD/0` does in a process of its own."""
    train(spec_of(load_params(), CellId("tiny", "scenes-b", method, 0)))
