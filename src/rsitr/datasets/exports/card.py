"""README.md of an export: a dataset card as the Hugging Face Hub reads it, YAML first and then what a reader asks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from rsitr.datasets import get_dataset, registry
from rsitr.datasets.exports.pictures import Row
from rsitr.datasets.table import DatasetFacts

NAMES = {"train": "train", "val": "validation", "test": "test"}
"""What the Hub calls the splits."""
LICENCES = {
    "apache-2.0": "Apache-2.0",
    "mit": "MIT",
    **{name: name.upper() for name in ("cc-by-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0", "cc-by-sa-4.0", "cc0-1.0")},
}
"""The Hub's identifier -> SPDX's, of licences that their usual spelling leads to, such as CC BY 4.0."""
NOT_STATED = "none stated"
LANGUAGE = "en"
"""Of every caption in the registered datasets."""
_SIZES = {10**3: "n<1K", 10**4: "1K<n<10K", 10**5: "10K<n<100K", 10**6: "100K<n<1M", 10**7: "1M<n<10M"}
_RULES = {
    "copies": "pixels agree, also of a turned or cropped image (rule `copies`)",
    "remoteclip": "64-bit perceptual hashes within Hamming distance 2, which crops escape (rule `remoteclip`)",
}


class Leak(NamedTuple):
    """How many test images have a near duplicate in another split of their dataset."""

    rule: str
    """That defines near duplicates."""
    split: str
    near: int | None
    """None if it was not measured."""
    of: int
    """Readable test images."""


class Made(NamedTuple):
    """An export, as its card describes it."""

    form: str
    splits: Mapping[str, Sequence[Row]]
    """The exported rows."""
    folder: Path
    encoded_again: int
    left_out: str
    """How much was left out, by reason; empty if nothing was."""


def card(facts: DatasetFacts, made: Made, leaks: Sequence[Leak]) -> str:
    """The text of the card. A rule of which ``leaks`` says nothing was not measured."""
    header = yaml.safe_dump(metadata(facts, made), sort_keys=False, allow_unicode=True)
    dataset = get_dataset(facts.name)
    images = sum(map(len, made.splits.values()))
    sections = {
        "Splits": _table(made.splits),
        "Near duplicates of test images": _near_duplicates(facts.name, made.splits, leaks),
        "Images": "\n".join(
            [
                f"- The bytes of their file: {images - made.encoded_again}.",
                f"- PNGs of what the pipeline sees, because programs read the file differently: {made.encoded_again}.",
                f"- Left out: {made.left_out or 'none'}.",
            ]
        ),
        "Licence, citation and origin": "\n".join(
            [
                f"- Licence: {facts.licence}",
                f"- Cite: {dataset.citation}",
                f"- Homepage: {homepage(facts) or 'none'}",
                f"- Origin: {facts.origin}; canonical table {facts.data_sha}",
                f"- Exported with `rsitr data export {facts.name} --format {made.form}`",
            ]
        ),
    }
    body = "\n\n".join(f"## {title}\n\n{text}" for title, text in sections.items())
    return f"---\n{header}---\n\n# {facts.title}\n\n{body}\n"


def metadata(facts: DatasetFacts, made: Made) -> dict[str, Any]:
    """The YAML of the card."""
    rows = [row for chosen in made.splits.values() for row in chosen]
    described, classified = any(row["captions"] for row in rows), any(row["class_name"] for row in rows)
    tasks = ["image-to-text", "text-to-image"] * described
    tasks += ["image-classification", "zero-shot-image-classification"] * classified
    found: dict[str, Any] = {"pretty_name": facts.title, "license": hub_licence(facts.licence)}
    if found["license"] == "other":
        found["license_name"] = re.sub(r"[^a-z0-9.]+", "-", facts.licence.lower()).strip("-")
        found |= {"license_link": link} if (link := homepage(facts)) else {}
    found |= {"language": [LANGUAGE]} if described and facts.name in registry() else {}
    found |= {"task_categories": tasks, "task_ids": ["image-captioning"] * described}
    found["size_categories"] = [next((name for limit, name in _SIZES.items() if len(rows) < limit), "n>10M")]
    found["tags"] = ["remote-sensing", *["image-text-retrieval"] * described, *["synthetic"] * facts.synthetic]
    found["configs"] = _configs(made)
    if made.form == "huggingface":
        found["dataset_info"] = _counts(made)
    return {key: value for key, value in found.items() if value != []}


def hub_licence(licence: str) -> str:
    """The Hub's identifier of a licence: ``unknown`` if none is stated, ``other`` for terms that have none."""
    if licence == NOT_STATED:
        return "unknown"
    spelt = licence.lower().replace(" ", "-")
    return spelt if spelt in LICENCES else "other"


def homepage(facts: DatasetFacts) -> str:
    """Of the dataset where it came from; empty if it has none."""
    bundles = get_dataset(facts.name).bundles
    return next((bundle.homepage for bundle in bundles if bundle.origin == facts.origin), bundles[0].homepage)


_PATTERNS = {
    "huggingface": {"default": "{name}/**"},
    "webdataset": {"default": "{split}-*.tar"},
    "clip-benchmark": {"default": "{split}/*.tar"},
    "karpathy": {},
    "mteb": {
        "i2t-corpus": "captions/{name}.parquet",
        "i2t-queries": "images/{name}.parquet",
        "i2t-qrels": "i2t-qrels/{name}.parquet",
        "t2i-corpus": "images/{name}.parquet",
        "t2i-queries": "captions/{name}.parquet",
        "t2i-qrels": "t2i-qrels/{name}.parquet",
    },
}
"""By layout and configuration, the files of a split that the library datasets loads; none in one JSON of all splits."""


def _configs(made: Made) -> list[dict[str, Any]]:
    def files(pattern: str) -> list[dict[str, str]]:
        return [
            {"split": NAMES[split], "path": pattern.format(split=split, name=NAMES[split])} for split in made.splits
        ]

    return [{"config_name": name, "data_files": files(pattern)} for name, pattern in _PATTERNS[made.form].items()]


def _counts(made: Made) -> dict[str, Any]:
    """What the library datasets checks after loading, and the Hub shows before."""
    splits = []
    for split, rows in made.splits.items():
        size = sum(file.stat().st_size for file in (made.folder / NAMES[split]).iterdir())
        splits.append({"name": NAMES[split], "num_bytes": size, "num_examples": len(rows)})
    return {"splits": splits, "dataset_size": sum(split["num_bytes"] for split in splits)}


def _table(splits: Mapping[str, Sequence[Row]]) -> str:
    lines = ["| split | images | captions |", "|:--|--:|--:|"]
    for split, rows in splits.items():
        texts = [text for row in rows for text in row["captions"] if text]
        lines.append(f"| {NAMES[split]} | {len(rows)} | {len(texts)} |")
    return "\n".join(lines)


def _near_duplicates(name: str, splits: Mapping[str, Sequence[Row]], leaks: Sequence[Leak]) -> str:
    if "test" not in splits:
        return "There is no test split."
    lines = [
        f"- {leak.near} of {leak.of} test images have one in {NAMES[leak.split]}: {_RULES[leak.rule]}."
        for leak in leaks
        if leak.near is not None
    ]
    measured = {leak.rule for leak in leaks if leak.near is not None}
    if unknown := [f"`{rule}`" for rule in _RULES if rule not in measured]:
        commands = f"`rsitr dedup thumbnails {name}` and `rsitr dedup pairs {name}`"
        lines.append(f"- Not measured by rule {' and '.join(unknown)}. To know, run {commands} and export again.")
    return "\n".join([*lines, "", "No near duplicate was removed."])
