"""What a replay (``rsitr certify``) and a rehearsal (``rsitr rehearse``) compute in seconds instead of hours.

Both run the real code on little data: some images of each split, an epoch for each phase, small batches.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any, NamedTuple

from rsitr.params.ids import JOINT, CleanId
from rsitr.records.cell import Spec, TuningSpec
from rsitr.records.paths import Paths
from rsitr.records.pretraining import PretrainingSpec
from rsitr.records.prior import PriorSpec


class Killed(BaseException):
    """Training or evaluation stops here, as if its process had been killed."""


class Size(NamedTuple):
    """How much of a training is run."""

    batch: int = 32
    """Largest batch."""
    selecting: int = 16
    """Most images that choose the epoch."""
    decay: bool = True
    """A second epoch where nothing but the learning rate changes after the first."""


REPLAYED = Size()


def shortened(spec: Spec, size: Size) -> dict[str, Any]:
    """Settings of a cell that take the place of its own: an epoch for each phase, small batches."""
    from rsitr.methods.base import TrainingConfig
    from rsitr.stages.setup import configuration as of

    config = of(spec)
    if not isinstance(config, TrainingConfig):
        return {}
    changed: dict[str, Any] = {"batch_size": min(config.batch_size, size.batch)}
    late = getattr(config, "all_negatives_epochs", 0)
    if late:
        changed["all_negatives_epochs"] = 1
    if config.max_steps is not None:
        changed["max_steps"] = None
    if config.phases:
        changed["phases"] = [phase.model_dump(mode="json") | {"epochs": 1} for phase in config.phases]
    else:
        # An epoch before and one after what changes from epoch to epoch.
        changed["epochs"] = 2 if late or (size.decay and config.schedule in ("step", "plateau")) else 1
    if config.schedule == "step":
        changed["step_epochs"] = 1
    if config.selection_images:
        changed["selection_images"] = min(config.selection_images, size.selecting)
    return changed


def short_cell(spec: Spec, size: Size = REPLAYED) -> Spec:
    """A cell with shortened training, and what it rests on likewise; a tuning has been shortened by itself."""
    settings = shortened(spec, size)
    changed = {
        "settings": spec.settings | settings,
        "own": (*spec.own, *settings),
        "teacher": spec.teacher and short_cell(spec.teacher, size),
        "prior": spec.prior and short_prior(spec.prior, size),
        "pretraining": spec.pretraining and short_pretraining(spec.pretraining, size),
    }
    return spec.model_copy(update=changed)


def short_tuning(spec: TuningSpec, size: Size = REPLAYED, trials: int = 2) -> TuningSpec:
    """A tuning of few trials with shortened training, without the settings that make it short."""
    space = {name: domain for name, domain in spec.space.items() if name not in shortened(spec.base, size)}
    return spec.model_copy(update={"base": short_cell(spec.base, size), "space": space, "trials": trials})


def short_prior(spec: PriorSpec, size: Size = REPLAYED) -> PriorSpec:
    """A prior with shortened training: an epoch of small batches."""
    whole = spec.prior.settings
    short = whole.model_copy(update={"epochs": 1, "batch_size": min(size.batch, whole.batch_size)})
    return spec.model_copy(update={"prior": spec.prior.model_copy(update={"settings": short})})


def short_pretraining(spec: PretrainingSpec, size: Size = REPLAYED, steps: int = 4) -> PretrainingSpec:
    """A shortened pretraining: an epoch of few small batches, and its prior likewise."""
    batch = min(size.batch, spec.settings.batch_size)
    short = {"epochs": 1, "batch_size": batch, "samples_per_epoch": steps * batch, "workers": 0}
    prior = spec.prior and short_prior(spec.prior, size)
    return spec.model_copy(update={"settings": spec.settings.model_copy(update=short), "prior": prior})


class SmallData(ABC):
    """What artefacts read, made in this folder from small canonical tables."""

    @abstractmethod
    def canonical(self, dataset: str) -> None:
        """Write the canonical table of a dataset, unless it is here."""

    def near_duplicates(self, pair: tuple[str, str]) -> None:
        """The table of near duplicates of two datasets whose canonical tables are here."""
        from rsitr.dedup.near_duplicates import write_near_duplicates
        from rsitr.dedup.thumbnails import write_thumbnails

        for name in pair:
            if not Paths.thumbnails(name).is_file():
                write_thumbnails(Paths.dataset(name), Paths.thumbnails(name))
        first, second = pair
        write_near_duplicates(Paths.thumbnails(first), Paths.thumbnails(second), Paths.near_duplicates(first, second))

    def shards(self, spec: PretrainingSpec) -> None:
        """The clean table of a pretraining's dataset, and its shards where the dataset has its own."""
        from rsitr.dedup.clean import write_clean
        from rsitr.pretraining.shards import write_training_shards

        table = Paths.clean(CleanId(spec.dataset))
        self.canonical(spec.dataset)
        if not table.is_file():
            write_clean(CleanId(spec.dataset))
        if spec.shards and not (folder := Path(spec.shards[0]).parent).is_dir():
            write_training_shards(table, folder)
            (shard,) = folder.iterdir()
            shard.rename(spec.shards[0].replace("*", "0000"))

    def clean(self, spec: Spec) -> None:
        """The clean table that a cell reads, the keywords and the similarity of its captions."""
        from rsitr.captions.keyword_table import build_keywords
        from rsitr.dedup.clean import write_clean
        from rsitr.dedup.joint import build_joint

        self.canonical(spec.dataset)
        if not spec.clean.is_file():
            members = JOINT.get(spec.split_protocol, ())
            for member in members:
                self.canonical(member)
            if spec.dedup == "copies":
                for pair in combinations_with_replacement(sorted({spec.dataset, *members}), 2):
                    self.near_duplicates(pair)
            if members:
                build_joint(spec.split_protocol, spec.dedup)
            write_clean(spec.clean_id, listed=False)
        if not spec.keywords.is_file():
            build_keywords(Paths.dataset(spec.dataset), spec.keywords)
        self._similarity(spec)

    def matrix(self, measure: str, captions: Any, path: Path) -> None:
        """How similar captions are by a measure."""
        from rsitr.captions.similarity import write_matrix

        write_matrix(measure, captions, path)

    def _similarity(self, spec: Spec) -> None:
        """The matrices that a dynamic margin reads."""
        from rsitr.captions.margin import weights_of
        from rsitr.captions.similarity import CaptionSet
        from rsitr.datasets.splits import load_splits
        from rsitr.stages.setup import configuration

        config: Any = configuration(spec)
        if getattr(config, "margin_type", "") != "dynamic":
            return
        train = load_splits(spec.clean)[0]["train"]
        for measure in weights_of(config.prior, config.prior_bleu):
            self.matrix(measure, CaptionSet.of(train.captions, train.image_of), spec.similarity / f"{measure}.npy")
