"""Split protocols by name: which images a paper trained, selected and tested on.

They all keep the official test split and differ in what they do with the rest. A protocol is a pure function of
the official splits, the dataset and a seed, so an assignment never has to be stored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rsitr.datasets.base import Source, Split
from rsitr.errors import DatasetError, ParamsError

SWAN = "jaychempan/SWAN/1c3b2177075c57e4adfd67d18e14fd263a585ec4"
"""Of the authors (ICMR 2023)."""
VAL_LIST = "swan_val.txt"
"""Names of the val images, one line per caption; the other images outside test are train."""
TRAIN_SHARE = 0.8
"""Of the images outside test, in AMFMN's and SWAN's code."""

Splits = dict[str, Split]
"""Image id -> split, in the order of the table."""
Assign = Callable[[str, Mapping[str, Split], int], Splits]


@dataclass(frozen=True)
class Protocol:
    """A named way to split datasets."""

    name: str
    definition: str
    exact: bool
    """The authors' own list is used; otherwise their rule, with our own draws."""
    used_by: Mapping[str, str]
    """Dataset -> the papers that used it there."""
    assign: Assign
    """Splits of ``(dataset, official splits, seed)``."""
    datasets: tuple[str, ...] = ()
    """Those it is defined on; empty means any."""
    joint: bool = False
    """One training set is the union of the train splits of all these datasets."""
    lists: Mapping[str, str] = field(default_factory=dict)
    """Dataset -> the authors' list of val images among its files; where it exists, nothing is drawn."""

    def defined_on(self, dataset: str) -> bool:
        """Whether the dataset can be split by this protocol."""
        return not self.datasets or dataset in self.datasets

    def is_exact(self, dataset: str, root: Path) -> bool:
        """Whether the authors' own lists are used, given the folder of the dataset's files."""
        return self.exact or (dataset in self.lists and (root / self.lists[dataset]).is_file())

    def splits(self, dataset: str, official: Mapping[str, Split], seed: int = 0, root: Path | None = None) -> Splits:
        """Splits of a dataset; raises ``ParamsError`` if the protocol is not defined on it.

        ``official`` maps every image to its official split; ``seed`` matters to protocols that draw because the
        authors' list is not under ``root``. Raises ``DatasetError`` when that list is of other images.
        """
        if not self.defined_on(dataset):
            known = ", ".join(self.datasets)
            raise ParamsError(f"split protocol {self.name} is not defined on {dataset}: use it on {known}")
        if root and not self.exact and self.is_exact(dataset, root):
            return _listed(root / self.lists[dataset], official)
        return self.assign(dataset, official, seed)

    def training_set(self, official: Mapping[str, Mapping[str, Split]]) -> list[tuple[str, str]]:
        """(dataset, image id) of everything that one model is trained on under a joint protocol.

        ``official`` holds the splits of each member. Images of a member's test split that appear among the training
        images of another are still in it: de-duplication removes them.
        """
        if missing := [dataset for dataset in self.datasets if dataset not in official]:
            raise DatasetError(f"{self.name} needs {', '.join(missing)} as well: build their tables first")
        return [
            (dataset, image_id)
            for dataset in self.datasets
            for image_id, split in self.splits(dataset, official[dataset]).items()
            if split == "train"
        ]


def val_list(dataset: str, size: int, sha256: str) -> Source:
    """SWAN's own list of the val images of a dataset, a file of ``size`` bytes."""
    url = f"https://raw.githubusercontent.com/{SWAN}/fix_data/{dataset}_precomp/val_filename_verify.txt"
    return Source(file=VAL_LIST, urls=(url,), bytes=size, sha256=sha256, optional=True)


def _holdout(dataset: str, official: Mapping[str, Split], seed: int) -> Splits:
    pool = [image_id for image_id, split in official.items() if split != "test"]
    train = _drawn(pool, int(len(pool) * TRAIN_SHARE), f"{seed}/{dataset}")
    return {image_id: _outside_test(split, image_id not in train) for image_id, split in official.items()}


def _swan(dataset: str, official: Mapping[str, Split], seed: int) -> Splits:
    """RSITMD's images are drawn class by class; the class is the part of the name before the number."""
    groups: dict[str, list[str]] = {}
    for image_id, split in official.items():
        if split != "test":
            groups.setdefault(image_id.rpartition("_")[0] if dataset == "rsitmd" else "", []).append(image_id)
    train: set[str] = set()
    for pool in groups.values():
        train |= _drawn(pool, round(len(pool) * TRAIN_SHARE), f"swan/{seed}/{dataset}")
    return {image_id: _outside_test(split, image_id not in train) for image_id, split in official.items()}


def _listed(path: Path, official: Mapping[str, Split]) -> Splits:
    """The images outside test that a file names are val, the others train."""
    val = set(path.read_text(encoding="utf-8").split())
    if wrong := sorted(name for name in val if official.get(name, "test") == "test"):
        raise DatasetError(
            f"{path} names {len(wrong)} images that are not outside test ({', '.join(wrong[:3])}): "
            "delete it and fetch the dataset again"
        )
    return {image_id: _outside_test(split, image_id in val) for image_id, split in official.items()}


def _drawn(pool: list[str], count: int, key: str) -> set[str]:
    """The ``count`` images of a pool whose hashes with ``key`` come first.

    A hash instead of a random generator, so that any program in any language draws the same images.
    """
    return set(sorted(pool, key=lambda image_id: hashlib.sha256(f"{key}/{image_id}".encode()).digest())[:count])


def _without_val(dataset: str, official: Mapping[str, Split], seed: int) -> Splits:
    """RSITMD's authors split it into train and test only, so the val split in copies of it is part of train."""
    if dataset != "rsitmd":
        return dict(official)
    return {image_id: _outside_test(split, False) for image_id, split in official.items()}


def _outside_test(split: Split, val: bool) -> Split:
    return "test" if split == "test" else "val" if val else "train"


_MTGFE, _AMFMN, _PIR = "MTGFE 2023", "AMFMN 2022", "SWAN 2023; PIR 2023, 2024 (the same counts)"
_RET2, _RET3 = ("rsicd", "rsitmd"), ("rsicd", "rsitmd", "ucm")

PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            name="official",
            definition="as the annotation states it; RSITMD's authors give train and test only, and copies of it carry "
            "a val split drawn from train",
            exact=True,
            used_by={"rsicd": _MTGFE, "rsitmd": f"{_MTGFE}, without val", "ucm": _MTGFE, "sydney": _MTGFE},
            assign=lambda dataset, official, seed: dict(official),
        ),
        Protocol(
            name="swan",
            definition="official train and val together, re-split at 80:20, on RSITMD within each class; by the "
            "authors' lists (github.com/jaychempan/SWAN, fix_data) where they were fetched with the dataset, otherwise "
            "by our own draws, one for each seed, here seed 0; the paper swaps the val and test counts of RSITMD",
            exact=False,
            used_by=dict.fromkeys(_RET2, _PIR),
            assign=_swan,
            lists=dict.fromkeys(_RET2, VAL_LIST),
            datasets=_RET2,
        ),
        Protocol(
            name="amfmn-holdout",
            definition="official train and val together, re-split at 80:20 in each of 5 repetitions, as in AMFMN's "
            "code; its draws were not seeded, so these are ours, one for each seed, here seed 0; the paper states "
            "80:10:10",
            exact=False,
            used_by=dict.fromkeys(_RET2, f"{_AMFMN}; GaLR 2022") | dict.fromkeys(("ucm", "sydney"), _AMFMN),
            assign=_holdout,
            datasets=("rsicd", "rsitmd", "ucm", "sydney"),
        ),
        Protocol(
            name="ret-2",
            definition="one training set from the authors' train splits of RSICD and RSITMD, before de-duplication",
            exact=True,
            used_by=dict.fromkeys(_RET2, "GeoRSCLIP 2023; PIR-CLIP 2024"),
            assign=_without_val,
            datasets=_RET2,
            joint=True,
        ),
        Protocol(
            name="ret-3",
            definition="one training set from the authors' train splits of RSICD, RSITMD and UCM-Captions, before "
            "de-duplication",
            exact=True,
            used_by=dict.fromkeys(_RET3, "RemoteCLIP 2023; PIR-CLIP 2024"),
            assign=_without_val,
            datasets=_RET3,
            joint=True,
        ),
    )
}
"""Every split protocol by name."""


def get_protocol(name: str) -> Protocol:
    """The split protocol called ``name``; raises ``ParamsError`` that lists the known ones."""
    if name not in PROTOCOLS:
        raise ParamsError(f"unknown split protocol {name!r}: the known ones are {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


def joint_protocols(datasets: Sequence[str] | None = None) -> dict[str, tuple[str, ...]]:
    """The split protocols that train one model on several datasets, by name, with their members.

    With ``datasets`` given, only those whose members are all among them.
    """
    joint = {name: protocol.datasets for name, protocol in PROTOCOLS.items() if protocol.joint}
    return {name: members for name, members in joint.items() if datasets is None or {*members} <= {*datasets}}
