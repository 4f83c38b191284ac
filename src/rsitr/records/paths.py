"""Where the files of cells, priors, datasets and tables are, relative to the project's folder."""

from __future__ import annotations

from pathlib import Path

from rsitr.params.ids import EXTERNAL, PRETRAINING, SCENES, CellId, CleanId, NamedId, TuningId, TwoStageId


class Paths:
    """Where the files of cells and datasets lie, relative to the project's folder."""

    @staticmethod
    def checkpoint(cell: CellId) -> Path:
        """Folder of ``model.safetensors``, ``train.json``, ``bundle.json``, ``README.md`` and, while it runs, what a
        killed training or evaluation continues from: ``resume.pt`` and ``scores.pt``."""
        return Path("checkpoints", cell.path)

    @staticmethod
    def cell(cell: CellId) -> Path:
        """Folder of ``cell.json``, ``ranks.parquet``, ``top.parquet`` and ``history.csv``."""
        return Path("results/cells", cell.path)

    @staticmethod
    def external(dataset: str) -> Path:
        """Folder of what others have made for a dataset, each in a folder like that of a cell."""
        return Path("results", EXTERNAL, dataset)

    @staticmethod
    def prior_weights(prior: NamedId) -> Path:
        """The backbone of a scene classifier; during training, ``resume.pt`` is next to it."""
        return Path("checkpoints", SCENES, prior.path, "model.safetensors")

    @staticmethod
    def prior(prior: NamedId) -> Path:
        """Folder of ``scenes.json`` and ``left_out.csv``."""
        return Path("results", SCENES, prior.path)

    @staticmethod
    def pretrained_weights(wanted: NamedId) -> Path:
        """A pretrained CLIP; next to it are how its training went and, during training, ``resume.pt``."""
        return Path("checkpoints", PRETRAINING, wanted.path, "model.safetensors")

    @staticmethod
    def two_stage(wanted: TwoStageId) -> Path:
        """The record of a two-stage retrieval."""
        return Path("results/two_stage", wanted.path, "two_stage.json")

    @staticmethod
    def tuning(wanted: TuningId) -> Path:
        """The record of a tuning."""
        return Path("results/tuning", wanted.path, "tuning.json")

    @staticmethod
    def trials(wanted: TuningId) -> Path:
        """Folder of what a killed tuning continues from: ``trials.json``, and of the trial that was running its
        ``resume.pt``."""
        return Path(".rsitr/tuning", wanted.path)

    @staticmethod
    def study(cell: CellId) -> Path:
        """Folder of ``study.json`` and ``failures.csv``."""
        return Path("results/peder", cell.path)

    @staticmethod
    def raw(name: str) -> Path:
        """Folder of the fetched files and the receipt ``source.json``."""
        return Path("data/raw", name)

    @staticmethod
    def extracted(name: str) -> Path:
        """Folder of the extracted files."""
        return Path("data/extracted", name)

    @staticmethod
    def tables(experiment: str) -> Path:
        """Folder of an experiment's tables and figures."""
        return Path("results/tables", experiment)

    @staticmethod
    def site(experiment: str) -> Path:
        """Folder of an experiment's site."""
        return Path("results/site", experiment)

    @staticmethod
    def overlaps(experiment: str) -> Path:
        """Of each dataset, how many test images are nearly in what the experiment trains on."""
        return Path("results/tables", experiment, "leakage.training.csv")

    @staticmethod
    def dataset(name: str) -> Path:
        """The canonical table."""
        return Path("data/canonical", name, "dataset.parquet")

    @staticmethod
    def clean(wanted: CleanId) -> Path:
        """A clean table."""
        return Path("data/canonical", wanted.dataset, f"clean-{wanted.name}.parquet")

    @staticmethod
    def similarity(clean: CleanId) -> Path:
        """Folder of ``<measure>.npy``: how similar the training captions of a clean table are."""
        return Path("data/similarity", clean.dataset, clean.name)

    @staticmethod
    def keywords(name: str) -> Path:
        """Keywords of every image."""
        return Path("data/keywords", f"{name}.parquet")

    @staticmethod
    def thumbnails(name: str) -> Path:
        """Every image of a dataset at a small size."""
        return Path("data/thumbnails", f"{name}.parquet")

    @staticmethod
    def near_duplicates(first: str, second: str) -> Path:
        """Pairs of near duplicates between two datasets, or inside one; the names come in alphabetical order."""
        return Path("data/near_duplicates", min(first, second), max(first, second) + ".parquet")

    @staticmethod
    def near_duplicates_shard(first: str, second: str, shard: int, shards: int) -> Path:
        """One shard of the pairs between two datasets."""
        return Path("data/near_duplicates", min(first, second), max(first, second), f"{shard}-of-{shards}.parquet")

    @staticmethod
    def joint(protocol: str, rule: str) -> Path:
        """The training set of a joint protocol after de-duplication by a rule."""
        return Path("data/joint", f"{protocol}-{rule}.parquet")
