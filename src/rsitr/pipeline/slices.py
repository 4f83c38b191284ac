"""What a replay computes in seconds instead of hours: some images of each split, an epoch for each phase."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from rsitr.errors import Damaged
from rsitr.params import Params
from rsitr.pipeline.inputs import measures
from rsitr.records.cell import Spec
from rsitr.records.paths import Paths
from rsitr.records.prior import PriorSpec

IMAGES = {"train": 128, "val": 32, "test": 32}
"""Of each split of a slice."""
CLASSED = 256
"""Images of a set that has classes and no captions."""
BATCH = 32


def shortened(spec: Spec) -> dict[str, Any]:
    """Settings by which a cell is replayed instead of its own: an epoch for each phase, small batches."""
    from rsitr.methods.base import TrainingConfig
    from rsitr.stages.setup import configuration as of

    config = of(spec)
    if not isinstance(config, TrainingConfig):
        return {}
    changed: dict[str, Any] = {"batch_size": min(config.batch_size, BATCH)}
    late = getattr(config, "all_negatives_epochs", 0)
    if late:
        changed["all_negatives_epochs"] = 1
    if config.phases:
        changed["phases"] = [phase.model_dump(mode="json") | {"epochs": 1} for phase in config.phases]
    else:
        # An epoch before and one after what changes from epoch to epoch.
        changed["epochs"] = 2 if late or config.schedule == "step" else 1
    if config.schedule == "step":
        changed["step_epochs"] = 1
    if config.selection_images:
        changed["selection_images"] = min(config.selection_images, IMAGES["val"] // 2)
    return changed


def write_slice(table: Path, out: Path) -> None:
    """Some rows of a canonical table: of each split so many, evenly over those that can be used."""
    import numpy as np

    from rsitr.datasets.canonical import data_sha
    from rsitr.datasets.table import read_table
    from rsitr.records.parquet import write_table

    rows, facts = read_table(table)
    listed = rows.select(["split", "problem", "captions"]).to_pylist()
    captioned = any(row["captions"] for row in listed)
    chosen: list[int] = []
    for split, count in IMAGES.items():
        places = [place for place, row in enumerate(listed) if row["split"] == split]
        usable = [place for place in places if not listed[place]["problem"]] or places
        wanted = count if captioned else CLASSED
        if usable:
            chosen += [usable[k] for k in np.unique(np.linspace(0, len(usable) - 1, wanted).astype(int))]
    some = rows.take(sorted(chosen))
    write_table(some, facts._replace(data_sha=data_sha(some.to_pandas())), out)


class SlicedData:
    """What artefacts read, in this folder: slices of the data below ``root``, and what is made from them."""

    def __init__(self, params: Params, root: Path):
        self.params, self.root = params, root
        self.sliced: set[str] = set()
        self.met: set[str] = set()

    def canonical(self, dataset: str, dedup: str = "none") -> None:
        """A slice of a dataset's canonical table, and what is made from it."""
        if dataset in self.sliced:
            return
        self.sliced.add(dataset)
        extracted = Path("data/extracted")
        if not extracted.exists():
            extracted.parent.mkdir(parents=True, exist_ok=True)
            extracted.symlink_to((self.root / extracted).resolve())
        write_slice(self.root / Paths.dataset(dataset), Paths.dataset(dataset))
        if dedup == "copies":
            self.near_duplicates((dataset, dataset))

    def near_duplicates(self, pair: tuple[str, str]) -> None:
        """The table of near duplicates of two datasets whose slices are here."""
        from rsitr.dedup.near_duplicates import write_near_duplicates
        from rsitr.dedup.thumbnails import write_thumbnails

        for name in pair:
            if not Paths.thumbnails(name).is_file():
                write_thumbnails(Paths.dataset(name), Paths.thumbnails(name))
        first, second = pair
        write_near_duplicates(Paths.thumbnails(first), Paths.thumbnails(second), Paths.near_duplicates(first, second))

    def clean(self, spec: Spec) -> None:
        """The cleaned view that a cell reads, the keywords and the similarity of its captions."""
        from rsitr.captions.keyword_table import build_keywords
        from rsitr.datasets.table import read_table
        from rsitr.dedup.clean import write_clean

        self.canonical(spec.dataset, spec.dedup)
        if not spec.clean.is_file():
            write_clean(Paths.dataset(spec.dataset), spec.dedup, spec.clean)
        if self.first("damaged table"):
            damage(spec.clean)
            with suppress(Damaged):
                read_table(spec.clean)
            write_clean(Paths.dataset(spec.dataset), spec.dedup, spec.clean)
        if not spec.keywords.is_file():
            build_keywords(Paths.dataset(spec.dataset), spec.keywords)
        self._similarity(spec)

    def _similarity(self, spec: Spec) -> None:
        """The matrices that a dynamic margin reads."""
        from rsitr.captions.similarity import CaptionSet, write_matrix
        from rsitr.datasets.splits import load_splits

        for name in measures(self.params, spec.cell):
            train, matrix = load_splits(spec.clean)[0]["train"], spec.similarity / f"{name}.npy"
            captions = CaptionSet.of(train.captions, train.image_of)
            write_matrix(name, captions, matrix)
            if self.first("damaged matrix"):
                damage(matrix)
                write_matrix(name, captions, matrix)

    def first(self, what: str) -> bool:
        """Whether something that takes time and does the same everywhere has not been replayed yet."""
        first = what not in self.met
        self.met.add(what)
        return first


def short_cell(spec: Spec) -> Spec:
    """A cell as it is replayed, with what it rests on."""
    teacher, prior = spec.teacher and short_cell(spec.teacher), spec.prior and short_prior(spec.prior)
    changed = {"settings": spec.settings | shortened(spec), "teacher": teacher, "prior": prior}
    return spec.model_copy(update=changed)


def short_prior(spec: PriorSpec) -> PriorSpec:
    """A prior as it is replayed: an epoch of small batches."""
    whole = spec.prior.settings
    short = whole.model_copy(update={"epochs": 1, "batch_size": min(BATCH, whole.batch_size)})
    return spec.model_copy(update={"prior": spec.prior.model_copy(update={"settings": short})})


def damage(path: Path) -> None:
    """Zero the end of a file."""
    content = path.read_bytes()
    path.write_bytes(content[:-64] + bytes(64))
