"""The graph of an experiment whose files are in a storage, where machines share no folder."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

from rsitr.datasets.imported import imported
from rsitr.datasets.protocols import joint_protocols
from rsitr.errors import ParamsError
from rsitr.pipeline.targets import Graph, names
from rsitr.records.artefact import ArtefactSpec
from rsitr.records.paths import Paths
from rsitr.records.pretraining import PretrainingSpec
from rsitr.records.provenance import sha256_json


class Stored(Graph):
    """What Snakemake has to know of such an experiment.

    It alone looks into the storage. A job finds there what its rule names, and nothing else, and what is in this folder
    says nothing about it. Whether an artefact is outdated follows from what Snakemake remembers of the job.
    """

    def __init__(self, config: dict[str, Any], *, local: bool = True):
        """As ``Graph``. Raises ``ParamsError`` for data that only this machine has, too."""
        super().__init__(config, local=local)
        lost = {*imported()}.intersection(self.experiment.datasets)
        lost |= {spec.dataset for spec in self.specs.values() if isinstance(spec, PretrainingSpec) and spec.shards}
        if lost and not local:
            raise ParamsError(
                f"{', '.join(sorted(lost))} was imported, or is read from shards, and no rule puts either into a "
                "storage: run it where machines share a folder"
            )

    @cached_property
    def outdated(self) -> dict[str, ArtefactSpec]:
        """All of them: whether there is one, Snakemake sees."""
        return self.specs

    @cached_property
    def unfetched(self) -> list[str]:
        """None: weights that were fetched here are not there."""
        return []

    @cached_property
    def forced(self) -> list[str]:
        """None: ``expected`` tells what is outdated."""
        return []

    @property
    def site(self) -> str:
        """The folder, with all that it holds."""
        return Path(super().site).parent.as_posix()

    @property
    def shown(self) -> list[str]:
        """Captions and pictures of every dataset."""
        return self.with_images(*names(map(Paths.dataset, self.experiment.datasets)), *self.clean)

    def left(self) -> str:
        """Nothing: the next run looks by itself."""
        return ""

    def expected(self, item: str) -> str:
        """Hash of what params.yaml and the code say of an artefact."""
        return sha256_json(self.specs[item].identities)

    def results(self, *kinds: str) -> list[str]:
        """Every file next to the records, and the records."""
        specs = (spec for spec in self.specs.values() if spec.kind in kinds)
        return names(path for spec in specs for path in spec.outputs if path.parts[0] == "results")

    def with_images(self, *files: str) -> list[str]:
        """Inputs, and the folders of the images that canonical and clean tables among them tell of."""
        return [*files, *names(map(Paths.extracted, _told_of(files)))]


def _told_of(files: Iterable[str]) -> list[str]:
    found: list[str] = []
    for folder, dataset, name in (Path(file).parts[-3:] for file in files if file.count("/") > 1):
        if folder == "canonical":
            joint = (members for each, members in joint_protocols().items() if name.startswith(f"clean-{each}-"))
            found += [dataset, *(member for members in joint for member in members)]
    return found
