"""Data as scripts: a page that is opened as a file may run those next to it, and read nothing else."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel

GLOBAL = "RSITR"
PLAIN = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"})
"""So that no text ends the script that it is in."""


def as_script_json(value: Any) -> str:
    """JSON that may stand in a script, wherever the script stands."""
    plain = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":"), allow_nan=False).translate(PLAIN)


class Folder:
    """Where the scripts of a site are written."""

    def __init__(self, out: Path):
        self.out = out

    def write(self, key: str, value: Any) -> str:
        """Write a value as it is: what all pages need, or numbers, which gzip hardly packs. Returns its file."""
        return self._script(key, as_script_json(value))

    def pack(self, key: str, value: Any) -> str:
        """Write one that a page asks for, as JSON packed by gzip: a tenth of the bytes. Returns its file."""
        packed = gzip.compress(as_script_json(value).encode(), 6, mtime=0)
        return self._script(key, json.dumps(base64.b64encode(packed).decode()))

    def _script(self, key: str, text: str) -> str:
        file = f"data/{key}.js"
        path = self.out / file
        path.parent.mkdir(parents=True, exist_ok=True)
        # The folder is renamed as a whole when it is finished, so that no file needs care of its own.
        path.write_text(f"{GLOBAL}.put({as_script_json(key)},{text});\n", encoding="utf-8")
        return file
