"""The training set of a joint protocol: the train splits of several datasets without the test images of any of them.

RET-2 and RET-3 are built this way (RemoteCLIP, section III). The paper's rule covers only test images, so near
duplicates shared by two train splits stay in both; ``shared`` counts them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import combinations_with_replacement
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pyarrow as pa

from rsitr.datasets.canonical import data_sha
from rsitr.datasets.protocols import Protocol, get_protocol, joint_protocols
from rsitr.datasets.table import CLEAN_SCHEMA, DatasetFacts, read_table
from rsitr.dedup.clean import PROTOCOLS as RULES
from rsitr.dedup.clean import usable
from rsitr.dedup.groups import Groups, image_groups
from rsitr.dedup.pairs import current_near_duplicates
from rsitr.errors import DatasetError, ParamsError
from rsitr.records.parquet import write_table
from rsitr.records.paths import Paths

DUPLICATE = "near duplicate of a test image"
"""Reason for an image that the rule removes."""
SCHEMA = pa.schema(
    [
        pa.field("dataset", pa.string()),
        *(CLEAN_SCHEMA.field(name) for name in ("image_id", "path", "class_name", "captions", "keywords", "sha256")),
        *(CLEAN_SCHEMA.field(name) for name in ("duplicate_group", "keep", "reason")),
        pa.field("because", pa.list_(pa.string())),
    ]
)
"""One row per image of the union. ``path`` is relative to its dataset's root; no caption is blank.

Near duplicates under the rule share a ``duplicate_group``. ``because`` lists the test images, as dataset/image_id, that
exclude an image.
"""
# What a method can see of an image, as in ``rsitr.dedup.clean``.
SEEN = ["dataset", "image_id", "class_name", "captions", "keywords", "sha256", "keep", "reason"]


class JointFacts(NamedTuple):
    """What the parquet header says about a joint training set."""

    name: str
    """The split protocol."""
    rule: str
    datasets: tuple[str, ...]
    """The members in the protocol's order."""
    roots: tuple[str, ...]
    """Folder of each member's images; ``path`` is relative to it."""
    parent_shas: tuple[str, ...]
    """Data hash of each member's canonical table."""
    absent: tuple[str, ...]
    """Members without local images: nothing of them is kept, and nothing was compared with them."""
    data_sha: str
    """Hash of what a method can see of the rows."""


class Removed(NamedTuple):
    """Images that the rule removes. A member without local images excludes none, which says nothing about it."""

    because: Counter[tuple[str, str]]
    """By (dataset of the image, dataset of the test image); an image with test images in several counts for each."""
    total: Counter[str]
    """By dataset of the image; each image once."""


def joint_protocol(name: str) -> Protocol:
    """The joint protocol called ``name``; raises ``ParamsError`` for a protocol that is not joint or is unknown."""
    protocol = get_protocol(name)
    if not protocol.joint:
        known = ", ".join(joint_protocols())
        raise ParamsError(f"split protocol {name} trains on one dataset at a time: the joint ones are {known}")
    return protocol


def join(
    name: str, rule: str, tables: Mapping[str, Path], near_duplicates: Iterable[Path] = ()
) -> tuple[pd.DataFrame, JointFacts]:
    """The joint training set of a protocol under a rule: the columns of ``SCHEMA``, in the protocol's order.

    An image is removed if its group (``rsitr.dedup.groups``) under ``remoteclip`` or ``copies`` holds a test image that
    can be evaluated; under ``none`` every image stays. ``tables`` maps at least each member to its canonical parquet;
    ``copies`` are the tables within and between the members, which only the rule ``copies`` reads. Other datasets are
    ignored: a chain through one of them does not count.

    Raises ``ParamsError`` for an unknown rule or a protocol that is not joint, and ``DatasetError`` if a table is
    missing or near duplicates were found in other data.
    """
    protocol = joint_protocol(name)
    if rule not in RULES:
        raise ParamsError(f"unknown de-duplication rule {rule!r}: the known ones are {', '.join(RULES)}")
    members = {member: read_table(tables[member]) for member in protocol.datasets if member in tables}
    facts = {member: facts for member, (_, facts) in members.items()}
    frames = {member: table.to_pandas() for member, (table, _) in members.items()}
    official = {member: dict(zip(frame["image_id"], frame["split"], strict=True)) for member, frame in frames.items()}
    union = protocol.training_set(official)
    absent = tuple(member for member, frame in frames.items() if frame["problem"].ne("").all())
    groups: Groups = {}
    if rule != "none":
        present = [member for member in frames if member not in absent]
        found = _between_members(present, facts, near_duplicates) if rule == "copies" else []
        groups = image_groups(rule, {member: tables[member] for member in frames}, found)
    everything = pd.concat([frame.assign(dataset=member) for member, frame in frames.items()], ignore_index=True)
    chosen = _marked(everything, groups).set_index(["dataset", "image_id"], drop=False).loc[union]
    frame = chosen[SCHEMA.names].reset_index(drop=True)
    # Two members may use the same image id, and rows are hashed in the order of ids.
    seen = frame[SEEN].assign(image_id=frame["dataset"] + "/" + frame["image_id"])
    roots, shas = (tuple(getattr(fact, field) for fact in facts.values()) for field in ("root", "data_sha"))
    return frame, JointFacts(name, rule, tuple(frames), roots, shas, absent, data_sha(seen))


def _between_members(
    present: list[str], facts: Mapping[str, DatasetFacts], near_duplicates: Iterable[Path]
) -> list[Path]:
    """The tables of near duplicates within and between members, all of which must exist."""
    shas = {member: fact.data_sha for member, fact in facts.items()}
    read = {path: current_near_duplicates(path, shas)[1] for path in near_duplicates}
    found = {tuple(sorted((of.first, of.second))): path for path, of in read.items()}
    for pair in combinations_with_replacement(sorted(present), 2):
        if pair not in found:
            table = Paths.near_duplicates(*pair)
            raise DatasetError(f"the near duplicates of {pair[0]} in {pair[1]} are needed: build {table}")
    return [path for pair, path in found.items() if set(pair) <= set(facts)]


def _marked(frame: pd.DataFrame, groups: Groups) -> pd.DataFrame:
    """All images of the members with their groups, and the reason for each that training may not use."""
    images = list(zip(frame["dataset"], frame["image_id"], strict=True))
    frame, reason = usable(frame)
    # An image without near duplicates is its own group.
    frame["duplicate_group"] = [groups.get(image, len(groups) + row) for row, image in enumerate(images)]
    tests = frame[(reason == "") & (frame["split"] == "test")].groupby("duplicate_group").groups
    frame["because"] = [
        [] if why else sorted("/".join(images[row]) for row in tests.get(group, ()))
        for group, why in zip(frame["duplicate_group"], reason, strict=True)
    ]
    frame["reason"] = reason.where(frame["because"].map(len) == 0, DUPLICATE)
    frame["keep"] = frame["reason"] == ""
    return frame


def removed(frame: pd.DataFrame) -> Removed:
    """How many images of a joint training set the rule removed, by their dataset and by the test set."""
    out = frame[frame["reason"] == DUPLICATE]
    because = Counter(
        (dataset, test_set)
        for dataset, tests in zip(out["dataset"], out["because"], strict=True)
        for test_set in {test.partition("/")[0] for test in tests}
    )
    return Removed(because, Counter(out["dataset"]))


def shared(frame: pd.DataFrame) -> Counter[str]:
    """By dataset: how many of its remaining images have a near duplicate that remains in the train split of another."""
    kept = frame[frame["keep"]]
    datasets = kept.groupby("duplicate_group")["dataset"].transform("nunique")
    return Counter(kept.loc[datasets > 1, "dataset"])


def build_joint(protocol: str, rule: str) -> tuple[JointFacts, list[str]]:
    """Write the joint training set of a protocol under a rule, from its members' tables; the errors are ``join``'s.

    Returns its facts, and why each image of the union is left out; empty for one that is kept.
    """
    members = joint_protocol(protocol).datasets
    pairs = combinations_with_replacement(members, 2)
    near_duplicates = [path for path in (Paths.near_duplicates(*pair) for pair in pairs) if path.is_file()]
    frame, facts = join(protocol, rule, {name: Paths.dataset(name) for name in members}, near_duplicates)
    write_table(pa.Table.from_pandas(frame, SCHEMA, preserve_index=False), facts, Paths.joint(protocol, rule))
    return facts, frame["reason"].tolist()
