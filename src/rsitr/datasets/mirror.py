"""The local mirror: a folder of dataset and weight files that the environment variable ``RSITR_MIRROR`` names."""

from __future__ import annotations

import os
from pathlib import Path


def mirror_dir() -> Path | None:
    """The folder that ``RSITR_MIRROR`` names, or None."""
    value = os.environ.get("RSITR_MIRROR")
    return Path(value).expanduser() if value else None
