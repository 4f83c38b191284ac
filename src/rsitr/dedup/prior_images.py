"""Which images a scene classifier learns from, which its accuracy is measured on, and which are left out, and why."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from rsitr.datasets.table import read_facts, read_table
from rsitr.dedup.groups import Groups, image_groups
from rsitr.dedup.pairs import current_near_duplicates
from rsitr.errors import DatasetError, Unsupported
from rsitr.params import Prior
from rsitr.progress import by_reason
from rsitr.records.paths import Paths
from rsitr.records.prior import PriorSpec
from rsitr.records.provenance import sha256_json

OTHER_SPLIT = "not in train"


class SceneImage(NamedTuple):
    """A picture with its scene class."""

    dataset: str
    image_id: str
    path: Path
    sha256: str
    class_name: str


class Selection(NamedTuple):
    """The images of a prior, each part in the order of datasets and image ids."""

    train: list[SceneImage]
    held_out: list[SceneImage]
    left_out: list[tuple[SceneImage, str]]
    """Images of the training splits that are not used, each with the reason."""
    unseen: tuple[str, ...]
    """Classes of the datasets of which no image is trained on: they have images of another split, or were left out."""
    synthetic: bool

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that are learned, in alphabetical order; sets that call a class alike share it."""
        return tuple(sorted({image.class_name for image in self.train}))

    @property
    def reasons(self) -> dict[str, int]:
        """How many images were left out for which reason, by dataset and reason."""
        return dict(Counter(f"{image.dataset}: {reason}" for image, reason in self.left_out))

    @property
    def data_sha(self) -> str:
        """Hash of the images that are learned from and of those that are held out, with their classes."""
        parts = (self.train, self.held_out)
        return sha256_json(
            [[[each.dataset, each.image_id, each.sha256, each.class_name] for each in part] for part in parts]
        )


def select(spec: PriorSpec) -> Selection:
    """The images of a prior, from the canonical tables and the tables of near duplicates that lie here.

    Raises ``DatasetError`` when a table is missing or of other data, when a dataset states no class, and when fewer
    than two classes are left; ``Unsupported`` when a set has no image at hand: neither can one then learn from it, nor
    keep a prior clear of its test images.
    """
    prior = spec.prior
    near = near_test_images(prior)
    used: list[SceneImage] = []
    left_out: list[tuple[SceneImage, str]] = []
    named: set[str] = set()
    for dataset in dict.fromkeys(prior.datasets):
        found = _with_reasons(spec, dataset, near)
        named |= {image.class_name for image, _ in found}
        train = [(image, reason) for image, reason in found if reason != OTHER_SPLIT]
        usable = [image for image, reason in train if not reason]
        left = [(image, reason) for image, reason in train if reason]
        if not usable:
            why = by_reason(Counter(reason for _, reason in left))
            raise Unsupported(f"no usable images in train of {dataset}: {why or 'it has none'}")
        used += usable
        left_out += left
    learned = {image.class_name for image in used}
    if len(learned) < 2:
        raise DatasetError(
            f"{spec.path} has images of {len(learned)} scene class only: name further datasets in "
            f"experiments.{spec.experiment}.priors.{spec.name}.datasets"
        )
    drawn = _held_out(used, prior)
    return Selection(
        train=[image for image in used if image not in drawn],
        held_out=[image for image in used if image in drawn],
        left_out=left_out,
        unseen=tuple(sorted(named - learned - {""})),
        synthetic=any(read_facts(Paths.dataset(name)).synthetic for name in prior.datasets),
    )


def _with_reasons(spec: PriorSpec, dataset: str, near: dict[tuple[str, str], str]) -> list[tuple[SceneImage, str]]:
    """Every image of a dataset in the order of image ids, with the reason why it is not used; empty when it is."""
    table, facts = read_table(Paths.dataset(dataset))
    found = []
    for row in table.to_pylist():
        path = Path(facts.root) / row["path"]
        image = SceneImage(dataset, row["image_id"], path, row["sha256"], row["class_name"])
        found.append((image, _reason(image, row["split"], row["problem"], near)))
    if not any(image.class_name for image, _ in found):
        raise DatasetError(
            f"{dataset} states no scene class for any image: name a dataset with classes in "
            f"experiments.{spec.experiment}.priors.{spec.name}.datasets"
        )
    return sorted(found, key=lambda pair: pair[0].image_id)


def _reason(image: SceneImage, split: str, problem: str, near: dict[tuple[str, str], str]) -> str:
    if split != "train":
        return OTHER_SPLIT
    if not problem and not image.class_name:
        return "no class"
    return problem or near.get(image[:2], "")


def near_test_images(prior: Prior) -> dict[tuple[str, str], str]:
    """(dataset, image id) of each image of a prior's datasets that is a near duplicate of a test image -> the reason.

    The test images are those of ``without``; chains of near duplicates run through all splits of all sets of the prior.
    """
    if not prior.without:
        return {}
    groups = _groups(prior)
    tests: dict[int, str] = {}
    for name in prior.without:
        table = read_table(Paths.dataset(name))[0].select(["image_id", "split", "problem"]).to_pylist()
        ids = [row["image_id"] for row in table if row["split"] == "test" and not row["problem"]]
        if not ids:
            raise Unsupported(f"no test images of {name} at hand: whether the prior is clear of them cannot be known")
        for image_id in ids:
            if (number := groups.get((name, image_id))) is not None:
                tests.setdefault(number, f"near duplicate in {name} test")
    return {image: tests[number] for image, number in groups.items() if image[0] in prior.datasets and number in tests}


def _groups(prior: Prior) -> Groups:
    names = sorted({*prior.datasets, *prior.without})
    tables = {name: Paths.dataset(name) for name in names}
    shas = {name: read_facts(path).data_sha for name, path in tables.items()}
    near_duplicates = [Paths.near_duplicates(*pair) for pair in prior.compared]
    for path in near_duplicates:
        current_near_duplicates(path, shas)
    return image_groups(prior.dedup, tables, near_duplicates)


def _held_out(images: Iterable[SceneImage], prior: Prior) -> set[SceneImage]:
    """The images that are not trained on: of each class its share, and never all of it.

    An image is drawn by a hash of the seed and its name, as those of the split protocols are.
    """
    by_class: dict[str, list[SceneImage]] = {}
    for image in images:
        by_class.setdefault(image.class_name, []).append(image)
    drawn: set[SceneImage] = set()
    for members in by_class.values():
        members.sort(
            key=lambda image: hashlib.sha256(f"{prior.seed}/{image.dataset}/{image.image_id}".encode()).digest()
        )
        drawn |= set(members[: min(round(len(members) * prior.settings.held_out), len(members) - 1)])
    return drawn
