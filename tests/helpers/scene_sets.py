"""Made-up sets of scenes with classes, splits and copies known by hand, in the folders of a project."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
from PIL import Image

from rsitr.datasets.table import DATASET_SCHEMA, DatasetFacts
from rsitr.dedup.pairs import SCHEMA, NearDuplicateFacts, write_pairs
from rsitr.params import Prior
from rsitr.records.parquet import write_table
from rsitr.records.paths import Paths
from rsitr.records.prior import PriorSpec
from rsitr.records.provenance import sha256_file

COLOURS = {"red": (200, 30, 30), "green": (30, 160, 30), "blue": (30, 30, 200)}


def put_set(name: str, rows: list[tuple[str, ...]]) -> Path:
    """Write a canonical table; rows are image id, split, class and, if not empty, problem and fingerprint."""
    root = Paths.extracted(name)
    frame = pd.DataFrame(
        [
            {
                **{"image_id": image_id, "path": image_id, "split": split, "class_name": class_name, "keywords": []},
                **{"captions": ["a sentence"], "width": 1, "height": 1, "sha256": sha_of(root / image_id)},
                **{"fingerprint": (rest[1:] or [""])[0], "problem": (rest or [""])[0]},
            }
            for image_id, split, class_name, *rest in rows
        ]
    )
    facts = DatasetFacts(name, name, "generated", "none", True, root.as_posix(), f"sha of {name}")
    write_table(pa.Table.from_pandas(frame, DATASET_SCHEMA, preserve_index=False), facts, Paths.dataset(name))
    return Paths.dataset(name)


def sha_of(path: Path) -> str:
    """Hash of an image, where there is one."""
    return sha256_file(path) if path.is_file() else f"{path.name:0>64}"


def put_near_duplicates(first: str, second: str, pairs: tuple[tuple[str, str], ...] = (), first_sha: str = "") -> Path:
    """Write the table of near duplicates between two sets, or inside one."""
    blank = dict.fromkeys(SCHEMA.names, "") | dict.fromkeys(SCHEMA.names[6:], 0.9)
    frame = pd.DataFrame([blank | {"first": one, "second": other} for one, other in pairs], columns=SCHEMA.names)
    facts = NearDuplicateFacts(first, second, first_sha or f"sha of {first}", f"sha of {second}")
    write_pairs(frame.astype(dict.fromkeys(SCHEMA.names[6:], "float32")), facts, Paths.near_duplicates(first, second))
    return Paths.near_duplicates(first, second)


def prior_spec(**prior: object) -> PriorSpec:
    """The spec of the prior ``tiny/mine``."""
    return PriorSpec(
        experiment="tiny", name="mine", prior=Prior.model_validate(prior), threads=1, code={"code": "0" * 64}
    )


def draw_set(name: str, per_class: int = 6, size: int = 32) -> Path:
    """Draw pictures of one colour each, their class, of which no two are alike, and write their table."""
    root = Paths.extracted(name)
    root.mkdir(parents=True, exist_ok=True)
    rows = []
    for colour, values in COLOURS.items():
        for number in range(per_class):
            picture = Image.new("RGB", (size, size), values)
            picture.paste((250, 250, 250), (number, 2 * number, number + 4, 2 * number + 4))
            picture.save(root / f"{colour}_{number}.png")
            rows.append((f"{colour}_{number}.png", "train", colour))
    return put_set(name, rows)
