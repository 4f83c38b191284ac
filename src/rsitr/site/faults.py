"""Faults of the captions of the datasets that are here, counted; nothing quotes a caption."""

from __future__ import annotations

from rsitr.captions.audit import audit, summarise
from rsitr.datasets.table import read_table
from rsitr.pipeline.report import Material
from rsitr.site.models import Sheet
from rsitr.site.scripts import Folder

COLUMNS = ("fault", "train captions", "val captions", "test captions", "images")


def sheet(material: Material, folder: Folder) -> Sheet:
    """The faults of every dataset of the experiment that is here, as a table of its own."""
    tables = []
    for name, path in material.canonical.items():
        lines = summarise(audit(read_table(path)[0].to_pandas(), name))
        rows = [[[line.meaning], *([str(n)] for n in line.captions.values()), [str(line.images)]] for line in lines]
        tables.append({"name": name, "columns": [*COLUMNS], "rows": rows})
    caption = "Faults of captions, as `rsitr data audit` lists them one by one. Nothing is changed because of them."
    found = Sheet(name="audit", caption=caption, source="the canonical tables here")
    if tables:
        found.file = folder.pack("tables/audit", {"tables": tables, "notes": {}})
    return found
