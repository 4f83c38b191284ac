"""The JSON schemas of params.yaml and of the records, for editors and other programs."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel

from rsitr.params import Params
from rsitr.records.cell import Record
from rsitr.records.two_stage import TwoStageRecord

MODELS: dict[str, type[BaseModel]] = {"params": Params, "cell": Record, "two_stage": TwoStageRecord}
"""Of params.yaml, of ``cell.json`` and of ``two_stage.json``."""


def write_schemas() -> list[Path]:
    """Write them below ``workflow/schemas``."""
    written = []
    for name, model in MODELS.items():
        path = Path("workflow/schemas", f"{name}.schema.json")
        path.write_text(json.dumps(model.model_json_schema(), indent=1, sort_keys=True) + "\n", encoding="utf-8")
        written.append(path)
    return written
