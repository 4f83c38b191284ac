"""From a name to a canonical table: fetch the files, extract them, parse them."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from rsitr.datasets import get_dataset
from rsitr.datasets.archives import extract
from rsitr.datasets.canonical import build_dataset
from rsitr.datasets.fetch import fetch_any
from rsitr.datasets.table import DatasetFacts

RECEIPT = "source.json"
ARCHIVES = (".zip", ".rar", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")


def fetch_dataset(name: str, raw: Path, mirror: Path | None) -> Path:
    """Fetch the files of a dataset into ``raw`` and return the receipt that lists them and their origin."""
    dataset = get_dataset(name)
    generated = [bundle for bundle in dataset.bundles if bundle.origin == "generated"]
    bundle, files = (generated[0], []) if generated else fetch_any(dataset.bundles, raw, mirror=mirror)
    receipt = raw / RECEIPT
    receipt.parent.mkdir(parents=True, exist_ok=True)
    content = {"origin": bundle.origin, "licence": bundle.licence, "files": sorted(file.name for file in files)}
    receipt.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return receipt


def build(name: str, receipt: Path, root: Path, out: Path) -> DatasetFacts:
    """Extract (or generate) the files of a dataset under ``root`` and write its canonical table to ``out``."""
    dataset = get_dataset(name)
    source = json.loads(receipt.read_text(encoding="utf-8"))
    root.mkdir(parents=True, exist_ok=True)
    if source["origin"] == "generated":
        dataset.prepare(root)
    for name_of_file in source["files"]:
        file = receipt.parent / name_of_file
        if file.name.endswith(ARCHIVES) and not dataset.packed:
            extract(file, root)
        else:
            _place(file, root / file.name)
    return build_dataset(dataset, root, source["origin"], source["licence"], out)


def _place(file: Path, target: Path) -> None:
    """The same file under another name; a copy only where there are no links, since shards may fill the disk."""
    target.unlink(missing_ok=True)
    try:
        os.link(file, target)
    except OSError:
        shutil.copyfile(file, target)
