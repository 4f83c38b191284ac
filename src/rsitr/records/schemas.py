"""The JSON schemas of params.yaml and of the records, for editors and other programs."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel

from rsitr.params import Params
from rsitr.records.cell import Record
from rsitr.records.files import write_json
from rsitr.records.tuning import TuningRecord
from rsitr.records.two_stage import TwoStageRecord

MODELS: dict[str, type[BaseModel]] = {
    "params": Params,
    "cell": Record,
    "two_stage": TwoStageRecord,
    "tuning": TuningRecord,
}
"""Of params.yaml, and of the records that are called so."""


def write_schemas() -> list[Path]:
    """Write them below ``workflow/schemas``."""
    written = []
    for name, model in MODELS.items():
        path = Path("workflow/schemas", f"{name}.schema.json")
        write_json(path, model.model_json_schema())
        written.append(path)
    return written
