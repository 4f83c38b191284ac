"""Split protocols by name: which images a paper trained, selected and tested on.

They all keep the official test split and differ in what they do with the rest. A protocol is a pure function of
the official splits and the dataset, so an assignment never has to be stored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rsitr.datasets.base import Source, Split
from rsitr.errors import DatasetError, ParamsError
from rsitr.params.ids import JOINT, CleanId

SWAN = "jaychempan/SWAN/1c3b2177075c57e4adfd67d18e14fd263a585ec4"
"""Of the authors (ICMR 2023)."""
VAL_LIST = "swan_val.txt"
"""Names of the val images, one line per caption; the other images outside test are train."""
TRAIN_SHARE = 0.8
"""Of the images outside test, in AMFMN's and SWAN's code."""

Splits = dict[str, Split]
"""Image id -> split, in the order of the table."""


@dataclass(frozen=True)
class Protocol:
    """A named way to split datasets."""

    name: str
    definition: str
    exact: bool
    """The authors' own list is used; otherwise their rule, with our own draws."""
    used_by: Mapping[str, str]
    """Dataset -> the papers that used it there."""
    assign: Callable[[str, Mapping[str, Split]], Splits]
    """Splits of ``(dataset, official splits)``."""
    datasets: tuple[str, ...] = ()
    """Those it is defined on; empty means any."""
    listed: bool = False
    """Where ``VAL_LIST`` is among a dataset's files, nothing is drawn."""

    @property
    def joint(self) -> bool:
        """Whether one training set is the union of the train splits of all its datasets."""
        return self.name in JOINT

    @property
    def dedup(self) -> str:
        """The rule by which the papers that use it leave out near duplicates."""
        return "remoteclip" if self.joint else "none"

    def defined_on(self, dataset: str) -> bool:
        """Whether the dataset can be split by this protocol."""
        return not self.datasets or dataset in self.datasets

    def check(self, dataset: str) -> None:
        """Raise ``ParamsError`` unless the protocol is defined on the dataset."""
        if not self.defined_on(dataset):
            known = ", ".join(self.datasets)
            raise ParamsError(f"split protocol {self.name} is not defined on {dataset}: use it on {known}")

    def is_exact(self, root: Path) -> bool:
        """Whether the authors' own lists are used, given the folder of a dataset's files."""
        return self.exact or (self.listed and (root / VAL_LIST).is_file())

    def splits(self, dataset: str, official: Mapping[str, Split], root: Path | None = None) -> Splits:
        """Splits of a dataset; raises ``ParamsError`` if the protocol is not defined on it.

        ``official`` maps every image to its official split. A protocol whose authors have a list draws by their rule
        where that is not under ``root``. Raises ``DatasetError`` when the list is of other images.
        """
        self.check(dataset)
        if root and self.listed and (root / VAL_LIST).is_file():
            return _listed(root / VAL_LIST, official)
        return self.assign(dataset, official)

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


def _with_val(official: Mapping[str, Split], val: Container[str]) -> Splits:
    """The official test split; of the other images, those in ``val`` are val and the rest is train."""
    return {
        image_id: "test" if split == "test" else "val" if image_id in val else "train"
        for image_id, split in official.items()
    }


def _listed(path: Path, official: Mapping[str, Split]) -> Splits:
    """The images outside test that a file names are val, the others train."""
    val = set(path.read_text(encoding="utf-8").split())
    if wrong := sorted(name for name in val if official.get(name, "test") == "test"):
        raise DatasetError(
            f"{path} names {len(wrong)} images that are not outside test ({', '.join(wrong[:3])}): "
            "delete it and fetch the dataset again"
        )
    return _with_val(official, val)


def _drawn(official: Mapping[str, Split], key: str, whole: Callable[[float], int], by_class: bool = False) -> Splits:
    """Of the images outside test, or of those of each class, the share whose hashes with ``key`` come first is train.

    A hash instead of a random generator, so that any program in any language draws the same images. ``whole`` makes the
    share a whole number. The class is the part of the name before the number.
    """
    pools: dict[str, list[str]] = {}
    for image_id, split in official.items():
        if split != "test":
            pools.setdefault(image_id.rpartition("_")[0] if by_class else "", []).append(image_id)
    val: set[str] = set()
    for pool in pools.values():
        pool.sort(key=lambda image_id: hashlib.sha256(f"{key}/{image_id}".encode()).digest())
        val |= set(pool[whole(len(pool) * TRAIN_SHARE) :])
    return _with_val(official, val)


def _without_val(dataset: str, official: Mapping[str, Split]) -> Splits:
    """RSITMD's authors split it into train and test only, so the val split in copies of it is part of train."""
    return _with_val(official, ()) if dataset == "rsitmd" else dict(official)


_MTGFE, _AMFMN, _PIR = "MTGFE 2023", "AMFMN 2022", "SWAN 2023; PIR 2023, 2024 (the same counts)"
_RSICD_RSITMD = ("rsicd", "rsitmd")

PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            name="official",
            definition="as the annotation states it; RSITMD's authors give train and test only, and copies of it carry "
            "a val split drawn from train",
            exact=True,
            used_by={"rsicd": _MTGFE, "rsitmd": f"{_MTGFE}, without val", "ucm": _MTGFE, "sydney": _MTGFE},
            assign=lambda dataset, official: dict(official),
        ),
        Protocol(
            name="swan",
            definition="official train and val together, re-split at 80:20, on RSITMD within each class; by the "
            "authors' lists (github.com/jaychempan/SWAN, fix_data) where they were fetched with the dataset, otherwise "
            "by a draw of our own; the paper swaps the val and test counts of RSITMD",
            exact=False,
            used_by=dict.fromkeys(_RSICD_RSITMD, _PIR),
            assign=lambda dataset, official: _drawn(official, f"swan/0/{dataset}", round, dataset == "rsitmd"),
            listed=True,
            datasets=_RSICD_RSITMD,
        ),
        Protocol(
            name="amfmn-holdout",
            definition="official train and val together, re-split at 80:20 in each of 5 repetitions, as in AMFMN's "
            "code; its draws were not seeded, so that all our cells read one draw of ours; the paper states 80:10:10",
            exact=False,
            used_by=dict.fromkeys(_RSICD_RSITMD, f"{_AMFMN}; GaLR 2022") | dict.fromkeys(("ucm", "sydney"), _AMFMN),
            assign=lambda dataset, official: _drawn(official, f"0/{dataset}", int),
            datasets=("rsicd", "rsitmd", "ucm", "sydney"),
        ),
        Protocol(
            name="ret-2",
            definition="one training set from the authors' train splits of RSICD and RSITMD, before de-duplication",
            exact=True,
            used_by=dict.fromkeys(JOINT["ret-2"], "GeoRSCLIP 2023; PIR-CLIP 2024"),
            assign=_without_val,
            datasets=JOINT["ret-2"],
        ),
        Protocol(
            name="ret-3",
            definition="one training set from the authors' train splits of RSICD, RSITMD and UCM-Captions, before "
            "de-duplication",
            exact=True,
            used_by=dict.fromkeys(JOINT["ret-3"], "RemoteCLIP 2023; PIR-CLIP 2024"),
            assign=_without_val,
            datasets=JOINT["ret-3"],
        ),
    )
}
"""Every split protocol by name."""
PAPER_SPLITS = {"amfmn2022": "amfmn-holdout", "mtgfe2023": "official", "pir2024": "swan"}
"""Paper -> the protocol that its own models were trained with, but for those of joint training sets."""
NO_VAL = "mtgfe2023"
"""Which trained on RSITMD's val split as well (MTGFE, section 4.3)."""


def get_protocol(name: str) -> Protocol:
    """The split protocol called ``name``; raises ``ParamsError`` that lists the known ones."""
    if name not in PROTOCOLS:
        raise ParamsError(f"unknown split protocol {name!r}: the known ones are {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


def joint_protocols(datasets: Sequence[str] | None = None) -> dict[str, tuple[str, ...]]:
    """The split protocols that train one model on several datasets, by name, with their members.

    With ``datasets`` given, only those whose members are all among them.
    """
    return {name: members for name, members in JOINT.items() if datasets is None or {*members} <= {*datasets}}


def differences(paper: str, variant: str, clean: CleanId) -> list[str]:
    """How training on a clean table differs from what a paper did for one of its rows, in words; empty if it does not.

    ``variant`` is the row's in published.csv. Nothing is known about the splits of a paper outside ``PAPER_SPLITS``.
    """
    joint = variant.removeprefix("train=").lower()
    published = PROTOCOLS.get(joint if joint in JOINT else PAPER_SPLITS.get(paper, ""))
    found = []
    if published and published.name != clean.split_protocol:
        found.append(f"trained with the split protocol {clean.split_protocol} instead of {published.name}")
    elif published and clean.dataset == "rsitmd" and (published.joint or paper == NO_VAL):
        found.append("trained without the images of the val split")
    rule = published.dedup if published else "none"
    if clean.dedup != rule:
        found.append(f"trained with the de-duplication rule {clean.dedup} instead of {rule}")
    return found
