"""Croissant 1.0, JSON-LD that describes the files and records of an imagefolder: mlcommons.org/croissant/1.0.

Each split is a record set that joins the rows of its ``metadata.parquet`` with its image files. The checksum of every
image is a field, since Croissant states checksums of single files and not of sets of files.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rsitr.datasets import get_dataset
from rsitr.datasets.exports.card import LICENCES, homepage, hub_licence
from rsitr.datasets.exports.pictures import SUFFIXES
from rsitr.datasets.table import DatasetFacts

Json = dict[str, Any]

_TERMS = (
    *("citeAs", "column", "equivalentProperty", "extract", "field", "fileObject", "fileProperty", "fileSet", "format"),
    *("includes", "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet", "references", "regex"),
    *("repeated", "replace", "samplingRate", "separator", "source", "subField", "transform"),
)
CONTEXT: Json = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    **{term: f"cr:{term}" for term in _TERMS},
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
}
"""What the terms of the specification mean (its appendix "JSON-LD context")."""
_ROLES = {"train": "cr:TrainingSplit", "validation": "cr:ValidationSplit", "test": "cr:TestSplit"}
_FIELDS = {
    "image_id": "Name of the image in the dataset",
    "class_name": "Scene class; empty where the dataset states none",
    "captions": "Sentences that describe the image",
    "keywords": "Keywords of the image",
    "sha256": "SHA-256 of the image file",
}
_PAPER = re.compile(r"(?P<authors>[^']+), '.+?', .*?\b(?P<year>(19|20)\d\d)\b")
"""How citations of datasets begin: A. Author, B. Author, 'Title', Journal, 2026."""
_REPEATED = ("captions", "keywords")


def croissant(facts: DatasetFacts, splits: Sequence[str], folder: Path) -> Json:
    """The description of the imagefolder in ``folder``, for its ``croissant.json``."""
    citation, spdx = get_dataset(facts.name).citation, LICENCES.get(hub_licence(facts.licence))
    about: Json = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "name": facts.title,
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "description": f"{facts.title}: remote sensing images with their captions and classes.",
        "license": f"https://spdx.org/licenses/{spdx}.html" if spdx else facts.licence,
        "citeAs": citation,
        "identifier": facts.data_sha,
        "keywords": ["remote sensing", "image-text retrieval"],
    }
    about |= {"url": link} if (link := homepage(facts)) else {}
    if paper := _PAPER.match(citation):
        about["creator"] = [
            {"@type": "sc:Person", "name": name} for name in paper["authors"].removesuffix(" et al.").split(", ")
        ]
        about["datePublished"] = paper["year"]
    distribution = [entry for split in splits for entry in (_metadata_file(split, folder), _images(split))]
    return about | {"distribution": distribution, "recordSet": [_split_names(splits), *map(_records, splits)]}


def _metadata_file(split: str, folder: Path) -> Json:
    place = f"{split}/metadata.parquet"
    content = (folder / place).read_bytes()
    return {
        "@type": "cr:FileObject",
        "@id": place,
        "name": place,
        "contentUrl": place,
        "contentSize": f"{len(content)} B",
        "encodingFormat": "application/x-parquet",
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def _images(split: str) -> Json:
    patterns = [f"{split}/*{suffix}" for kind in ("JPEG", "PNG") for suffix in SUFFIXES[kind]]
    return {
        "@type": "cr:FileSet",
        "@id": f"{split}/images",
        "name": f"{split}/images",
        "encodingFormat": ["image/jpeg", "image/png"],
        "includes": patterns,
    }


def _split_names(splits: Sequence[str]) -> Json:
    """The enumeration of the splits, as the specification has it (section "Splits")."""
    return {
        "@type": "cr:RecordSet",
        "@id": "splits",
        "name": "splits",
        "dataType": "cr:Split",
        "key": {"@id": "splits/name"},
        "field": [
            {"@type": "cr:Field", "@id": "splits/name", "name": "splits/name", "dataType": "sc:Text"},
            {"@type": "cr:Field", "@id": "splits/url", "name": "splits/url", "dataType": "sc:URL"},
        ],
        "data": [{"splits/name": split, "splits/url": _ROLES[split]} for split in splits],
    }


def _records(split: str) -> Json:
    lines, images = {"fileObject": {"@id": f"{split}/metadata.parquet"}}, {"fileSet": {"@id": f"{split}/images"}}
    joined = _field(split, "file_name", "Name of the image file", lines | {"extract": {"column": "file_name"}})
    joined["references"] = images | {"extract": {"fileProperty": "filename"}}
    image = _field(split, "image", "The image", images | {"extract": {"fileProperty": "content"}}, "sc:ImageObject")
    which = _field(split, "split", "Split of the image", lines | {"extract": {"column": "split"}})
    texts = [_field(split, name, said, lines | {"extract": {"column": name}}) for name, said in _FIELDS.items()]
    return {
        "@type": "cr:RecordSet",
        "@id": split,
        "name": split,
        "key": {"@id": f"{split}/file_name"},
        "field": [joined, image, which, *texts],
    }


def _field(split: str, name: str, description: str, source: Json, kind: str = "sc:Text") -> Json:
    field = {"@type": "cr:Field", "@id": f"{split}/{name}", "name": f"{split}/{name}", "description": description}
    return field | {"dataType": kind, "source": source} | ({"repeated": True} if name in _REPEATED else {})
